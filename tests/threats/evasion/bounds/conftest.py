"""Networks of every kind that has linear rules, and the sets that they are bounded over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from modelward.threats.evasion.bounds.backward import least
from modelward.threats.evasion.bounds.cascade import Cascade, Method
from modelward.threats.evasion.bounds.enclosure import Ball, Enclosure
from modelward.threats.evasion.bounds.inputs import Source
from modelward.threats.evasion.bounds.margins import Margins, answered
from modelward.threats.evasion.bounds.propagate import propagate, traced
from modelward.threats.evasion.bounds.refine import refiner
from modelward.threats.evasion.bounds.rows import Rows
from modelward.threats.evasion.bounds.slopes import ascend

SHAPE = (2, 6, 6)


class Net(nn.Module):
    """Any function of an image, with a few layers to use."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.norm = nn.BatchNorm2d(4)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.1, 2)
        self.small = nn.Linear(54, 8)
        with torch.random.fork_rng():  # the weights of the older layers stay as they were
            self.more()
        self.one, self.two, self.three = nn.Linear(12, 6), nn.Linear(12, 6), nn.Linear(12, 6)
        with torch.no_grad():
            self.head = nn.Linear(self.eval().function(self, torch.zeros(1, *SHAPE)).numel(), 3)

    def more(self):
        self.up = nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1)
        self.group, self.instance, self.rms = nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.RMSNorm([3, 6])
        self.slopes = nn.PReLU(4)
        for part in (self.group, self.rms, self.slopes):
            part.weight.data.uniform_(0.2, 1.5)
        self.turned = nn.TransformerEncoderLayer(12, 2, 8, activation="gelu", norm_first=True)
        self.several = nn.TransformerEncoder(nn.TransformerEncoderLayer(12, 2, 8, batch_first=True), 1)

    def forward(self, x):
        return self.head(self.function(self, x).flatten(1))


def sequence_first(n, x):
    """Torch's own layer, and attention written out with heads joined to the batch."""
    tokens = x.reshape(x.shape[0], 6, 12).transpose(0, 1)
    tokens = 0.02 * n.turned(tokens) + tokens
    heads = tokens.reshape(6, x.shape[0] * 2, 6).transpose(0, 1)
    mixed = torch.bmm(torch.softmax(torch.bmm(heads, heads.transpose(1, 2)) / 30, dim=-1), heads)
    return (tokens + mixed.transpose(0, 1).reshape(6, x.shape[0], 12)).mean(0)


def attention(n, x):
    tokens = x.reshape(x.shape[0], 6, 12)
    q, k, v = n.one(tokens), n.two(tokens), n.three(tokens)
    mixed = torch.softmax(q @ k.transpose(-1, -2) / 6**0.5, dim=-1) @ v
    return functional.relu(mixed + q)


NETS = {
    "relu": lambda n, x: functional.relu(n.down(functional.relu(n.conv(x)))),
    "deep relu": lambda n, x: functional.relu(
        n.small(functional.relu(n.down(functional.relu(n.conv(x)))).flatten(1))
    ),
    "leaky": lambda n, x: functional.leaky_relu(n.down(functional.leaky_relu(n.conv(x), 0.1)), 0.2),
    "sigmoid": lambda n, x: torch.sigmoid(n.down(torch.sigmoid(3 * n.conv(x)))),
    "tanh": lambda n, x: torch.tanh(n.down(torch.tanh(2 * n.conv(x)))),
    "gelu": lambda n, x: functional.gelu(n.down(functional.gelu(2 * n.conv(x), approximate="tanh"))),
    "silu": lambda n, x: functional.silu(n.down(functional.silu(2 * n.conv(x)))),
    "batch norm": lambda n, x: functional.relu(n.down(functional.relu(n.norm(n.conv(x))))),
    "max pool": lambda n, x: functional.max_pool2d(functional.relu(n.conv(x)), 3, 2, 1),
    "average pool": lambda n, x: functional.relu(functional.avg_pool2d(torch.relu(n.conv(x)), 2) - 0.1),
    "residual": lambda n, x: functional.relu(n.wide(torch.relu(n.conv(x))) + n.conv(x)),
    "dilated": lambda n, x: functional.relu(n.down(torch.relu(n.wide(torch.relu(n.conv(x)))))),
    "concatenated": lambda n, x: torch.relu(torch.cat([n.conv(x), 0.5 * torch.relu(x)], 1) - 0.1),
    "piecewise": lambda n, x: (
        functional.hardtanh(n.conv(x)).clamp(max=0.4) + n.conv(x).abs() + functional.relu6(n.conv(x))
    ),
    "smooth": lambda n, x: (
        functional.softplus(n.conv(x)) + functional.elu(n.conv(x)) + torch.exp(0.3 * n.conv(x))
    ),
    "powers": lambda n, x: n.conv(x) ** 2 + torch.sqrt(torch.relu(n.conv(x)) + 0.2),
    "gated": lambda n, x: torch.sigmoid(n.conv(x)) * n.conv(x),
    "larger": lambda n, x: (
        torch.maximum(n.conv(x), n.wide(torch.relu(n.conv(x)))) + torch.minimum(n.conv(x), n.conv(x) * 2)
    ),
    "padded": lambda n, x: torch.relu(functional.pad(n.conv(x), (1, 0, 0, 1), value=0.2)).permute(0, 2, 3, 1),
    "sliced": lambda n, x: torch.relu(n.conv(x)[:, :, 1:5, ::2] - 0.1).mean(-1, keepdim=True),
    "attention": attention,
    "group norm": lambda n, x: torch.relu(n.group(n.conv(x)) + 0.5 * n.instance(n.conv(x))),
    "root mean square": lambda n, x: n.rms(n.one(x.reshape(-1, 6, 12)).reshape(-1, 2, 3, 6)),
    "transposed": lambda n, x: torch.relu(n.up(torch.relu(n.conv(x)))),
    "quotients": lambda n, x: (
        n.conv(x) / (torch.relu(n.conv(x)) + 1)
        + torch.log(torch.relu(n.conv(x)) + 0.5)
        + torch.rsqrt(torch.relu(n.conv(x)) + 0.5)
        + 1 / (1 + torch.log1p(torch.relu(n.conv(x))))
    ),
    "activations": lambda n, x: (
        functional.mish(n.conv(x)) + functional.selu(n.conv(x)) + functional.celu(n.conv(x), 0.7)
    ),
    "more activations": lambda n, x: (
        functional.softsign(n.conv(x))
        + functional.logsigmoid(n.conv(x))
        + functional.elu(n.conv(x), 0.5)
        + functional.tanhshrink(n.conv(x))
        + functional.softshrink(n.conv(x), 0.3)
        + n.slopes(n.conv(x))
    ),
    "parts": lambda n, x: (
        functional.glu(n.conv(x), 1) + n.conv(x).chunk(2, 1)[0] ** 3 + x.max(1)[0].unsqueeze(1)
    ),
    "chosen": lambda n, x: (
        torch.where(torch.eye(6) > 0, n.conv(x), -n.conv(x)).softmax(1)
        + n.conv(x)[:, [0, 2, 2, 1]].masked_fill(torch.eye(6) > 0, 0.3).flip(2)
    ),
    "sequence first": sequence_first,
    "encoder": lambda n, x: n.several(
        x.reshape(-1, 6, 12), mask=nn.Transformer.generate_square_subsequent_mask(6)
    ),
    "layer norm": lambda n, x: functional.gelu(functional.layer_norm(n.one(x.reshape(-1, 6, 12)), (6,))),
}


def network(name, seed, tail=None):
    torch.manual_seed(seed)
    net = Net(NETS[name]).eval()
    with torch.no_grad():
        for tensor in (net.conv.weight, net.down.weight, net.head.weight):
            tensor.mul_(1.5)
    return nn.Sequential(net, *(tail or [])).eval()


def around(x, norm, eps, *, lower=0.0, upper=1.0, scale=None):
    """Everything within a ball and the box [0, 1]."""
    wide = x.double()
    unit = torch.ones_like(wide) if scale is None else scale.double().expand_as(wide)
    reach = eps * unit if norm in {"linf", "l2", "l1"} else torch.full_like(unit, torch.inf)
    low, high = (wide - reach).clamp_min(lower), (wide + reach).clamp_max(upper)
    cells = torch.arange(x[0].numel()).reshape(x.shape[1:])
    plane = (1, 1)
    if norm == "patch":
        plane = tuple(x.shape[-2:])
        cells = cells[0].expand(x.shape[1:])
    blur = torch.zeros_like(wide)
    source = Source(
        norm=norm,
        eps=eps,
        lower=low,
        upper=high,
        origin=wide,
        scale=unit,
        blur=blur,
        cells=cells,
        plane=plane,
    )
    return Enclosure(low, high, Ball(wide, unit, blur, eps) if norm == "l2" else None, source)


def margins(net, x, target, norm, eps, *, steps=2, dtype=torch.float32, ascent=0, **box):
    """The best lower bounds that backward passes and ascent give."""
    with torch.no_grad():
        scores = propagate(traced(net), around(x, norm, eps, **box), refiner(lambda rows: True, ascent))
        found = Margins(scores, target, 0.0)
        pairs = found.lower.isfinite().nonzero()
        a = found.differences(pairs, dtype)
        rows = Rows(pairs[:, 0], dtype)
        found.improve(pairs, least(found.value, a, rows))
        if steps:
            ascend(found.value, a, rows, steps)
            found.improve(pairs, least(found.value, a, rows))
        return answered(scores, found.lower, target)


def cascade(net, x, target, *, norm="linf", eps=0.1, preset="standard", spend=None):
    method = Method(
        graph=traced(net),
        tolerance=0.0,
        preset=preset,
        spend=spend or (lambda forward=0, backward=0, bounds=0: True),
    )
    return Cascade(method, lambda index: around(x[index], norm, eps), target)


@pytest.fixture(scope="session")
def lab():
    return SimpleNamespace(
        nets=tuple(NETS), shape=SHAPE, network=network, around=around, margins=margins, cascade=cascade
    )
