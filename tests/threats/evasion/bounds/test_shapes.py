"""Functions of single entries, several results and parts: dense grids, known answers, and what is refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds import calls, functions, normal, shapes, sums
from modelward.threats.evasion.bounds.enclosure import Enclosure
from modelward.threats.evasion.bounds.operators import FUNCTIONS, LAYERS
from modelward.threats.evasion.bounds.propagate import propagate, traced

CURVES = {
    "mish": (shapes.mish, functional.mish, -12, 12),
    "selu": (shapes.selu, functional.selu, -12, 12),
    "celu": (partial(shapes.celu, alpha=0.3), partial(functional.celu, alpha=0.3), -6, 6),
    "celu, wide": (partial(shapes.celu, alpha=4.0), partial(functional.celu, alpha=4.0), -9, 9),
    "elu": (partial(calls.elu, alpha=0.4), partial(functional.elu, alpha=0.4), -9, 9),
    "softsign": (shapes.softsign, functional.softsign, -40, 40),
    "log sigmoid": (shapes.log_sigmoid, functional.logsigmoid, -60, 60),
    "tanhshrink": (shapes.tanhshrink, functional.tanhshrink, -9, 9),
    "softshrink": (partial(shapes.softshrink, lambd=0.7), partial(functional.softshrink, lambd=0.7), -4, 4),
    "hard swish": (functions.hardswish, functional.hardswish, -6, 6),
    "reciprocal": (shapes.reciprocal, torch.reciprocal, 0.02, 40),
    "reciprocal, negative": (shapes.reciprocal, torch.reciprocal, -40, -0.02),
    "inverse root": (shapes.inverse_root, torch.rsqrt, 1e-3, 60),
    "logarithm": (shapes.logarithm, torch.log, 1e-3, 90),
    "logarithm of 1 +": (shapes.logarithm_1p, torch.log1p, -0.99, 90),
    "exponential - 1": (shapes.exponential_m1, torch.expm1, -30, 12),
    "cube": (partial(shapes.powered, exponent=3), lambda z: z**3, -4, 4),
    "fourth": (partial(shapes.powered, exponent=4), lambda z: z**4, -4, 4),
    "root": (partial(shapes.powered, exponent=0.5), torch.sqrt, 0.0, 70),
    "inverse": (partial(shapes.powered, exponent=-1), torch.reciprocal, 0.05, 70),
}


@pytest.mark.parametrize("name", CURVES)
def test_no_value_in_float32_leaves_interval_or_lines(name):
    rule, function, least, most = CURVES[name]
    random = torch.Generator().manual_seed(len(name))
    ends = least + (most - least) * torch.rand((2000, 2), generator=random)
    ends[::5, 1] = ends[::5, 0]  # sets of one value
    ends[1::5, 1] = ends[1::5, 0] + 1e-4 * (most - least)
    ends = ends.clamp(least, most).sort(dim=1).values.double()
    x = Enclosure(ends[:, :1], ends[:, 1:])
    found = rule(x)
    share = torch.cat([torch.zeros(1), torch.ones(1), torch.rand(60, generator=random)]).double()
    inside = torch.lerp(x.lower, x.upper, share[None]).float()
    inside = inside.clamp(x.lower.float(), x.upper.float())
    seen = function(inside).double()
    assert (found.lower <= seen).all()
    assert (seen <= found.upper).all()
    exact = function(inside.double())
    wide = (found.upper - found.lower)[::5]
    spread = (found.upper.abs() + x.upper.abs() + 2)[::5]
    assert (wide <= 1e-3 * spread).all()  # a set of one value has hardly any width
    assert (exact >= found.lower).all()


LAYERED = {
    "groups": (nn.GroupNorm(2, 4), (4, 3, 3)),
    "one group": (nn.GroupNorm(1, 4, affine=False), (4, 5)),
    "instances": (nn.InstanceNorm2d(4, affine=True), (4, 3, 3)),
    "tracked instances": (nn.InstanceNorm1d(4, track_running_stats=True), (4, 7)),
    "root mean square": (nn.RMSNorm(6), (3, 6)),
    "over two axes": (nn.RMSNorm([3, 6], eps=1e-3, elementwise_affine=False), (3, 6)),
    "up": (nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), (4, 4, 3)),
    "up, groups": (nn.ConvTranspose2d(4, 6, 2, groups=2, dilation=2, bias=False), (4, 4, 3)),
    "up, 1d": (nn.ConvTranspose1d(4, 2, 4, 2, 1), (4, 6)),
    "up, 3d": (nn.ConvTranspose3d(2, 2, 2, 2), (2, 2, 2, 2)),
    "channel slopes": (nn.PReLU(4, init=0.3), (4, 3, 3)),
    "gate": (nn.GLU(1), (4, 3, 3)),
    "mirrored": (nn.ReflectionPad2d(1), (2, 3, 3)),
    "repeated": (nn.ReplicationPad2d((1, 0, 2, 1)), (2, 3, 3)),
    "pixels": (nn.PixelShuffle(2), (4, 3, 3)),
    "channels": (nn.ChannelShuffle(2), (4, 3, 3)),
    "softmax": (nn.Softmax(1), (4, 3, 3)),
    "hard sigmoid": (nn.Hardsigmoid(), (4, 3)),
}


@pytest.mark.parametrize("name", LAYERED)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_layers_stay_within_bounds(name, scale):
    layer, shape = LAYERED[name]
    torch.manual_seed(4)
    for part in layer.parameters():
        part.data.uniform_(-1.5, 1.5)
    for part in layer.buffers():
        if part.is_floating_point():
            part.uniform_(0.3, 2)
    net = nn.Sequential(layer, nn.Flatten()).eval()
    x = scale * torch.randn(6, *shape)
    radius = scale * torch.tensor([0, 1e-3, 0.01, 0.1, 0.5, 2.0]).reshape(-1, *[1] * len(shape))
    low, high = x.double() - radius, x.double() + radius
    low, high = low.float().double(), high.float().double()
    with torch.no_grad():
        found = propagate(traced(net), Enclosure(low, high))
        for kind in range(60):
            share = torch.rand(x.shape) if kind % 2 else (torch.rand(x.shape) < 0.5).float()
            seen = net((low + share * (high - low)).float().clamp(low.float(), high.float())).double()
            assert (found.lower <= seen).all()
            assert (seen <= found.upper).all()
    assert (found.upper - found.lower)[0].max() < 0.1 * max(1.0, scale)


def test_a_group_of_everything_is_layer_normalisation():
    x = torch.rand(3, 4, 5).double()
    box = Enclosure(x - 0.1, x + 0.1)
    one = normal.group_norm(box, 1)
    flat = normal.layer_norm(Enclosure(box.lower.flatten(1), box.upper.flatten(1)), None, None, 1e-5)
    torch.testing.assert_close(one.lower.flatten(1), flat.lower)
    torch.testing.assert_close(one.upper.flatten(1), flat.upper)


def test_the_largest_quotient_by_the_root_mean_square_is_attained():
    """Of two entries in [1, 2] and [3, 4]: x / sqrt((x^2 + y^2) / 2) is largest at x = 2, y = 3."""
    box = Enclosure(torch.tensor([[1.0, 3.0]]).double(), torch.tensor([[2.0, 4.0]]).double())
    found = normal.rms_norm(box, None, 0.0)
    assert float(found.upper[0, 0]) == pytest.approx(2 / (13 / 2) ** 0.5, rel=1e-4)
    assert float(found.lower[0, 0]) == pytest.approx(1 / (17 / 2) ** 0.5, rel=1e-4)


def test_instances_are_normalised_by_what_torch_takes():
    """Running statistics that are no longer tracked are not used in evaluation."""
    layer = nn.InstanceNorm1d(3, track_running_stats=True)
    layer.track_running_stats = False
    layer.running_mean.fill_(7.0)
    net, x = nn.Sequential(layer, nn.Flatten()).eval(), torch.rand(2, 3, 5)
    with torch.no_grad():
        found = propagate(traced(net), Enclosure(x.double(), x.double()))
        seen = net(x).double()
    assert ((found.lower <= seen) & (seen <= found.upper)).all()


def test_parts_are_what_torch_cuts():
    x = torch.rand(2, 7, 3).double()
    box = Enclosure(x, x + 1)
    for ours, theirs in (
        (calls.split(box, 3, 1), x.split(3, 1)),
        (calls.split(box, [2, 5], 1), x.split([2, 5], 1)),
        (calls.chunk(box, 3, 1), x.chunk(3, 1)),
        (calls.unbind(box, 2), x.unbind(2)),
    ):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one.lower, other)


REFUSED = {
    "a quotient through 0": (lambda x: 1 / x, "reciprocal of a value that may be 0"),
    "a logarithm of 0": (lambda x: torch.log(torch.relu(x)), "logarithm of a value that may be 0"),
    "log1p of less": (lambda x: torch.log1p(x - 2), "logarithm of a value that may be 0"),
    "an inverse root of 0": (torch.rsqrt, "inverse square root of a value"),
    "a fifth power": (lambda x: x**5, "a power of 5"),
    "a power of itself": (lambda x: x**x, "exponent depends on the input"),
    "whole division": (lambda x: torch.div(x, 3, rounding_mode="floor"), "a division of integers"),
    "a choice by the data": (lambda x: torch.where(x > 0, x, -x), "gt"),
    "a choice of infinities": (lambda x: torch.where(torch.eye(4) > 0, x, -torch.inf), "not finite"),
    "a mean per batch": (lambda x: x - x.mean(0), "a reduction over the batch"),
    "the whole extreme": (lambda x: x - x.max(), "an extreme over the batch"),
    "positions of extremes": (lambda x: torch.clamp(x[:, 0], x.max(1)[1]), "positions of extremes"),
    "parts of the batch": (lambda x: x.chunk(2, 0)[0], "a rearrangement across the batch"),
    "turned batch": (lambda x: x.flip(0), "a rearrangement across the batch"),
    "one point": (lambda x: x[1] + x, "a rearrangement across the batch"),
    "rolled points": (lambda x: x[:, :, [0]] + x[1:], "a rearrangement across the batch"),
    "a mask of points": (lambda x: x[[0, 0]], "a rearrangement across the batch"),
    "sines": (torch.sin, "sin"),
    "sorting": (lambda x: x.sort(1)[0], "sort"),
    "running sums": (lambda x: x.cumsum(1), "cumsum"),
    "rounding": (torch.round, "round"),
    "signs": (torch.sign, "sign"),
    "hard shrinking": (functional.hardshrink, "hardshrink"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_sound_rule_is_refused_in_one_sentence(name):
    function, words = REFUSED[name]

    class Net(nn.Module):
        def forward(self, x):
            return function(x).flatten(1)

    x = torch.rand(2, 4, 4).double() - 0.5
    with torch.no_grad(), pytest.raises(OperatorUnsupported, match=words) as caught:
        propagate(traced(Net()), Enclosure(x - 0.1, x + 0.1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: shapes.celu(x, -1.0),
        lambda x: shapes.softshrink(x, -1.0),
        lambda x: normal.group_norm(x, 3),
        lambda x: normal.rms_norm(x, None, -1.0),
        lambda x: shapes.gated(x, 0),
        lambda x: shapes.parametric(x, x),
        lambda x: shapes.chosen(x, x, x),
        lambda x: normal.rms_norm(Enclosure(torch.zeros(1, 5000), torch.ones(1, 5000)), None, 1.0),
        lambda x: sums.divide(1.0, x),
        lambda x: LAYERS[nn.InstanceNorm2d](nn.InstanceNorm2d(4), x),
    ],
)
def test_numbers_that_make_no_sense_are_refused(call):
    x = torch.rand(2, 4).double()
    with pytest.raises(OperatorUnsupported):
        call(Enclosure(x, x + 1))


def test_filling_with_infinity_leaves_the_interval_and_hides_nothing_else():
    x = torch.rand(2, 3, 3).double()
    mask = torch.eye(3) > 0
    found = shapes.filled(Enclosure(x, x + 1), mask, -float("inf"))
    assert found.step is None
    assert torch.isneginf(found.upper[:, mask]).all()
    torch.testing.assert_close(found.lower[:, ~mask], x[:, ~mask])
    finite = FUNCTIONS[torch.masked_fill](Enclosure(x, x + 1), mask, 2.0)
    torch.testing.assert_close(finite.lower[:, mask], torch.full((2, 3), 2.0).double(), atol=1e-5, rtol=0)
