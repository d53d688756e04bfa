from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds.enclosure import Affine, Ball, Enclosure, rounding
from modelward.threats.evasion.bounds.inputs import enclosed
from modelward.threats.evasion.bounds.margins import lower_margins
from modelward.threats.evasion.bounds.propagate import propagate, traced
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat

IMAGE = (2, 6, 6)


class Net(nn.Module):
    """Any function of the input, with a few parameters to use."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.linear = nn.Linear(72, 5)
        self.wide = nn.Linear(6, 4)
        self.matrix = nn.Parameter(torch.randn(6, 4))
        self.register_buffer("shift", torch.randn(6))
        self.norm = nn.BatchNorm2d(2)
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x):
        x = self.function(self, x)
        return x.flatten(1)


def features(x):
    return x.flatten(1)


# Everything that has a rule, alone behind an affine layer or two so that arguments cross zero.
OPERATIONS = {
    "linear": lambda n, x: n.linear(features(x)),
    "linear on a middle axis": lambda n, x: n.wide(x),
    "functional linear": lambda n, x: functional.linear(x, n.wide.weight, n.wide.bias),
    "matmul": lambda n, x: x @ n.matrix + 0.3,
    "torch.matmul": lambda n, x: torch.matmul(x, n.matrix),
    "addmm": lambda n, x: torch.addmm(n.wide.bias, x[:, 0, 0], n.matrix),
    "conv": lambda n, x: n.conv(x),
    "conv strided": lambda n, x: functional.conv2d(x, n.conv.weight, None, 2, (1, 0), dilation=2),
    "conv1d": lambda n, x: functional.conv1d(x.flatten(2), n.conv.weight[:, :, 0], n.conv.bias),
    "batch norm": lambda n, x: n.norm(x),
    "add constants": lambda n, x: 2.0 - (x + n.shift) * 3 / 7,
    "residual": lambda n, x: x + torch.relu(x) - 0.5 * torch.tanh(x),
    "add alpha": lambda n, x: torch.add(x, torch.relu(x), alpha=-2),
    "product": lambda n, x: x * torch.sigmoid(x) * n.shift,
    "relu": lambda n, x: functional.relu(x - 0.2),
    "leaky": lambda n, x: functional.leaky_relu(x - 0.2, 0.1),
    "elu": lambda n, x: functional.elu(x - 0.2),
    "sigmoid": lambda n, x: torch.sigmoid(4 * x),
    "tanh": lambda n, x: x.tanh(),
    "gelu": lambda n, x: functional.gelu(3 * x - 1),
    "gelu tanh": lambda n, x: functional.gelu(3 * x - 1, approximate="tanh"),
    "silu": lambda n, x: functional.silu(3 * x - 1),
    "hardswish": lambda n, x: functional.hardswish(6 * x - 2),
    "hardsigmoid": lambda n, x: functional.hardsigmoid(6 * x - 2),
    "softplus": lambda n, x: functional.softplus(30 * x),
    "erf exp": lambda n, x: torch.exp(torch.erf(x)),
    "clamp": lambda n, x: torch.clamp(x, 0.1, 0.7) + x.clamp(max=0.3),
    "abs neg": lambda n, x: -(x - 0.3).abs(),
    "square": lambda n, x: (x - 0.3) ** 2 + torch.square(x),
    "sqrt": lambda n, x: torch.sqrt(x * 0 + 2 + torch.relu(x)),
    "maximum": lambda n, x: torch.maximum(x, n.shift) + torch.minimum(x, torch.tanh(x)),
    "max pool": lambda n, x: functional.max_pool2d(x, 2, stride=1, padding=1),
    "avg pool": lambda n, x: functional.avg_pool2d(x, 2, padding=1),
    "adaptive": lambda n, x: functional.adaptive_avg_pool2d(x, (1, 2)),
    "mean sum": lambda n, x: x.mean((2, 3)) + torch.sum(x, dim=(-1, -2)),
    "amax": lambda n, x: torch.amax(x, (2, 3)) - x.amin(dim=(2, 3)),
    "pad": lambda n, x: functional.pad(x, (1, 2, 0, 1), value=0.1),
    "pad reflect": lambda n, x: functional.pad(x, (1, 1, 0, 2), mode="reflect"),
    "cat": lambda n, x: torch.cat([x, torch.relu(x)], dim=1),
    "stack": lambda n, x: torch.stack([x, -x], 2),
    "shapes": lambda n, x: (
        x.permute(0, 2, 1, 3).reshape(x.shape[0], -1, 4).transpose(1, 2).unsqueeze(1).squeeze(1).contiguous()
    ),
    "view": lambda n, x: x.view(x.size(0), -1).float(),
    "slices": lambda n, x: x[:, :, 1:4, ::2] + x[:, 0:1, :3, :3],
    "narrow": lambda n, x: torch.narrow(x, 2, 1, 3) + torch.select(x, 1, 0)[:, None, :3],
    "index": lambda n, x: torch.index_select(x, 3, torch.tensor([1, 1, 0])),
    "softmax": lambda n, x: functional.softmax(n.linear(features(x)) * 2, dim=1),
    "log softmax": lambda n, x: torch.log_softmax(x, dim=-1),
    "dropout": lambda n, x: functional.dropout(x, 0.5, training=n.training),
}

LAYERS = {
    "Conv1d": nn.Sequential(nn.Flatten(2), nn.Conv1d(2, 4, 3, stride=2)),
    "Conv2d groups": nn.Conv2d(2, 4, 3, padding="same", groups=2),
    "Conv2d reflect": nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
    "BatchNorm1d": nn.Sequential(nn.Flatten(2), nn.BatchNorm1d(2)),
    "pools": nn.Sequential(nn.MaxPool2d(2, 1), nn.AvgPool2d(2, 1), nn.AdaptiveAvgPool2d(1)),
    "AdaptiveMaxPool2d": nn.AdaptiveMaxPool2d(2),
    "activations": nn.Sequential(
        nn.LeakyReLU(0.2), nn.ELU(), nn.Tanh(), nn.Sigmoid(), nn.Softplus(), nn.ReLU6()
    ),
    "valleys": nn.Sequential(nn.Hardtanh(), nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.GELU("tanh")),
    "nn shapes": nn.Sequential(
        nn.ZeroPad2d(1), nn.ConstantPad2d(1, 0.3), nn.Flatten(), nn.Unflatten(1, (2, -1))
    ),
    "quiet": nn.Sequential(nn.Identity(), nn.Dropout(), nn.Dropout2d(), nn.ReLU(inplace=True)),
    "nn softmax": nn.Sequential(nn.Flatten(), nn.Linear(72, 4), nn.Softmax(dim=1)),
    "nn log softmax": nn.Sequential(nn.Flatten(), nn.Linear(72, 4), nn.LogSoftmax(dim=-1)),
}


def network(name, seed):
    torch.manual_seed(seed)
    if name in LAYERS:
        body = LAYERS[name]
        for part in body.modules():
            if isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Linear)):
                part.reset_parameters()
        net = nn.Sequential(body, nn.Flatten())
    else:
        net = Net(OPERATIONS[name])
    for part in net.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.running_mean.uniform_(-2, 2)
            part.running_var.uniform_(0.01, 3)
            part.weight.data.uniform_(-2, 2)
            part.bias.data.uniform_(-2, 2)
    return net.eval()


def inside(x, norm, eps, random):
    """Points of the ball, most of them on its surface, in float32."""
    noise = torch.randn((60, *x.shape[1:]), generator=random)
    if norm == "linf":
        noise = torch.where(torch.rand(60, generator=random).reshape(-1, 1, 1, 1) < 0.5, noise.sign(), noise)
        return x + eps * (1 - 1e-6) * noise.clamp(-1, 1)
    sparse = torch.rand(noise.shape, generator=random) < torch.rand((60, 1, 1, 1), generator=random)
    noise = noise * sparse + 1e-9
    return x + eps * (1 - 1e-6) * noise / noise.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)


def start(x, norm, eps):
    low, high = (x - eps).double(), (x + eps).double()
    form = Ball(x.double(), torch.ones_like(low), torch.zeros_like(low), eps) if norm == "l2" else None
    return Enclosure(low, high, form)


@pytest.mark.parametrize("name", [*OPERATIONS, *LAYERS])
@settings(max_examples=5, deadline=None)
@given(
    norm=st.sampled_from(["linf", "l2"]),
    seed=st.integers(0, 2**32),
    eps=st.sampled_from([1e-6, 1e-2, 0.3]),
)
def test_bounds_hold_what_the_network_computes(name, norm, seed, eps):
    net = network(name, seed)
    random = torch.Generator().manual_seed(seed)
    x = torch.rand((2, *IMAGE), generator=random)
    with torch.no_grad():
        bounds = propagate(traced(net), start(x, norm, eps))
        for i in range(2):
            seen = net(inside(x[i : i + 1], norm, eps, random)).double()
            assert (bounds.lower[i] <= seen).all()
            assert (seen <= bounds.upper[i]).all()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32), eps=st.sampled_from([1e-3, 0.03, 0.2]), norm=st.sampled_from(["linf", "l2"])
)
def test_margins_of_random_deep_nets_hold(seed, eps, norm):
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    choices = [nn.ReLU(), nn.GELU(), nn.Tanh(), nn.SiLU(), nn.LeakyReLU(0.3)]
    picks = torch.randint(len(choices), (3,), generator=random)
    layers = [nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3), choices[picks[0]], nn.Conv2d(3, 3, 3), choices[picks[1]]]
    tail = [[], [nn.Softmax(dim=1)], [nn.LogSoftmax(dim=1)]][int(picks[2]) % 3]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, 4), *tail).eval()
    x = torch.rand((2, *IMAGE), generator=random)
    target = torch.tensor([0, 3])
    with torch.no_grad():
        bounds = lower_margins(propagate(traced(net), start(x, norm, eps)), target)
        for i in range(2):
            seen = net(inside(x[i : i + 1], norm, eps, random)).double()
            margin = seen[:, target[i], None] - seen
            margin[:, target[i]] = torch.inf
            assert (bounds[i] <= margin.amin(dim=0)).all()


def test_a_linear_layer_is_bounded_exactly_in_both_norms():
    weight, bias = torch.tensor([[3.0, -4.0], [0.0, 1.0]]), torch.tensor([0.5, 0.0])
    layer = nn.Linear(2, 2)
    layer.load_state_dict({"weight": weight, "bias": bias})
    x, target = torch.tensor([[1.0, 1.0]]), torch.tensor([0])
    with torch.no_grad():
        cube = propagate(traced(nn.Sequential(layer)), start(x, "linf", 0.1))
        ball = propagate(traced(nn.Sequential(layer)), start(x, "l2", 0.1))
        # s_0 = 3 - 4 + 0.5 = -0.5 +- 0.1 * (3 + 4) in Linf, +- 0.1 * 5 in L2
        torch.testing.assert_close(cube.lower[0, 0].item(), -1.2, atol=1e-5, rtol=0)
        torch.testing.assert_close(ball.lower[0, 0].item(), -1.0, atol=1e-5, rtol=0)
        # s_0 - s_1 = 3 x - 5 y + 0.5: the shared direction is bounded once, not twice
        margin = [lower_margins(bounds, target)[0, 1].item() for bounds in (cube, ball)]
    assert margin[0] == pytest.approx(-1.5 - 0.8, abs=1e-5)
    assert margin[1] == pytest.approx(-1.5 - 0.1 * np.sqrt(34), abs=1e-5)


def test_bias_added_after_a_product_keeps_the_fold():
    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 4))
            self.bias = nn.Parameter(torch.randn(4))

        def forward(self, x):
            return x @ self.weight + self.bias

    x = torch.rand(2, 3)
    with torch.no_grad():
        bounds = propagate(traced(Split()), start(x, "linf", 0.1))
    assert isinstance(bounds.form, Affine)
    assert bounds.form.roundings == 1


def test_repeated_entries_do_not_share_the_ball_twice():
    """Four copies of one entry move together: their sum moves by 4 eps, and not by 2 eps as four entries may."""

    class Repeat(nn.Module):
        def __init__(self, how):
            super().__init__()
            self.how = how
            self.sum = nn.Linear(4, 1)
            nn.init.ones_(self.sum.weight)
            nn.init.zeros_(self.sum.bias)

        def forward(self, x):
            return self.sum(self.how(x))

    ways = (
        lambda x: x.expand(x.shape[0], 4),
        lambda x: x + torch.zeros(4),
        lambda x: x * torch.ones(4),
        lambda x: torch.index_select(x, 1, torch.tensor([0, 0, 0, 0])),
        lambda x: torch.cat([x, x, x, x], 1),
    )
    for how in ways:
        with torch.no_grad():
            bounds = propagate(traced(Repeat(how)), start(torch.zeros(1, 1), "l2", 0.5))
        assert bounds.upper.item() >= 2.0
        assert bounds.lower.item() <= -2.0


def test_float32_rounding_is_inside_the_bounds_where_exact_arithmetic_is_not():
    """Sums that cancel: float32 loses what float64 keeps, at radius zero."""
    layer = nn.Linear(4000, 1)
    torch.manual_seed(0)
    weight = torch.randn(1, 4000)
    layer.load_state_dict({"weight": weight, "bias": torch.zeros(1)})
    x = 1e4 + torch.rand(1, 4000)
    with torch.no_grad():
        bounds = propagate(traced(nn.Sequential(layer)), Enclosure(x.double(), x.double()))
        exact = (x.double() * weight.double()).sum()
        computed = layer(x).double()
    assert computed.item() != exact.item()
    assert bounds.lower.item() <= computed.item() <= bounds.upper.item()
    assert bounds.lower.item() <= exact.item() <= bounds.upper.item()
    assert rounding(torch.tensor(1.0), 4000) < 1e-3


@pytest.mark.parametrize(
    ("forward", "named"),
    [
        (lambda x: torch.sort(x, 1)[0], "sort"),
        (lambda x: torch.cumsum(x, 1), "cumsum"),
        (lambda x: x.sin(), "sin"),
        (lambda x: x - x.mean(0), "over the batch"),
        (lambda x: x - x.mean(), "over the batch"),
        (lambda x: x.permute(1, 0), "one row of scores"),
        (lambda x: x[:1], "across the batch"),
        (lambda x: torch.cat([x, x]), "along the batch"),
        (lambda x: x @ x, "matrix product"),
        (lambda x: 1 / (x - 0.5), "reciprocal of a value that may be 0"),
        (lambda x: 2.0**x, "exponent depends on the input"),
        (lambda x: x**2.5, "power of 2.5"),
        (lambda x: torch.sqrt(x - 5), "square root"),
        (lambda x: x.half(), "half"),
        (lambda x: x.to(torch.float16), "float16"),
        (lambda x: functional.leaky_relu(x, -0.1), "negative slope"),
        (lambda x: functional.dropout(x, training=True), "training"),
        (lambda x: torch.softmax(x, 0), "softmax"),
        (lambda x: x[:, torch.tensor([True, False, True, False])], "indexing"),
        (lambda x: x.sum(1), "one row of scores"),
        (lambda x: functional.gelu(x, approximate="other"), "gelu"),
    ],
)
def test_what_has_no_sound_rule_is_refused_by_name(forward, named):
    class One(nn.Module):
        def forward(self, x):
            return forward(x)

    x = torch.rand(4, 4)
    with torch.no_grad(), pytest.raises(OperatorUnsupported, match=named):
        propagate(traced(One()), start(x, "linf", 0.1))


def test_layers_without_a_rule_are_refused_by_name():
    with pytest.raises(OperatorUnsupported, match="Hardshrink"):
        propagate(traced(nn.Sequential(nn.Hardshrink())), start(torch.rand(1, 4), "linf", 0.1))


def test_a_model_that_branches_on_values_cannot_be_traced():
    class Branch(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(OperatorUnsupported, match="cannot be traced"):
        traced(Branch())


def test_tracing_leaves_the_mode_alone():
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    net.train()
    net[0].eval()
    traced(net)
    assert [part.training for part in net.modules()] == [True, False, True]


def test_the_first_enclosure_covers_the_conversion_to_float32(room):
    points = room.data(np.array([[0.1, 1 / 3]]), [0])
    for norm in ("linf", "l2"):
        within = reach(points, Threat(norm, 1e-9))
        first = enclosed(within, np.arange(1))
        seen = torch.as_tensor(points.x, dtype=torch.float32).double()
        assert (first.lower <= seen).all()
        assert (seen <= first.upper).all()
    assert isinstance(first.form, Ball)
    assert ((first.form.centre - seen).abs() <= first.form.blur).all()


def test_immutable_columns_are_fixed_in_the_enclosure(room):
    points = room.table([[0.5, 0.5], [0.0, 0.0], [1.0, 1.0]], [0] * 3, ["real"] * 2, immutable=(1,))
    first = enclosed(reach(points, Threat("l2", 0.2)), np.arange(1))
    assert (first.upper - first.lower)[0, 0] == pytest.approx(0.4)
    assert (first.upper - first.lower)[0, 1] == pytest.approx(0, abs=1e-12)
    assert first.form.scale[0].tolist() == [1.0, 0.0]
