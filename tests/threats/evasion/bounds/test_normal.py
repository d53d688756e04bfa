"""Layer normalisation: known quotients, float32 as torch computes it, encoders, degenerate variances."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds.backward import least
from modelward.threats.evasion.bounds.enclosure import Enclosure
from modelward.threats.evasion.bounds.propagate import propagate, traced
from modelward.threats.evasion.bounds.refine import refiner
from modelward.threats.evasion.bounds.rows import Rows


class Block(nn.Module):
    """An encoder layer: attention and a GELU network, each with a residual; the norm before or after."""

    def __init__(self, width, first):
        super().__init__()
        self.width, self.first = width, first
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.one, self.two = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        for norm in (self.one, self.two):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, 0, 0.1)

    def attend(self, x):
        scores = self.query(x) @ self.key(x).transpose(-1, -2) / math.sqrt(self.width)
        return torch.softmax(scores, dim=-1) @ self.value(x)

    def wide(self, x):
        return self.down(functional.gelu(self.up(x)))

    def forward(self, x):
        if self.first:
            x = x + self.attend(self.one(x))
            return x + self.wide(self.two(x))
        x = self.one(x + self.attend(x))
        return self.two(x + self.wide(x))


class Encoder(nn.Module):
    """Tokens of 4 pixels, blocks, their mean, scores."""

    def __init__(self, blocks, first, width=8, classes=3):
        super().__init__()
        self.embed = nn.Linear(4, width)
        self.places = nn.Parameter(torch.randn(5, width) * 0.3)
        self.blocks = nn.Sequential(*(Block(width, first) for _ in range(blocks)))
        self.last, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x):
        tokens = self.blocks(self.embed(x) + self.places)
        return self.head(self.last(tokens).mean(1))


def encoder(seed, blocks=1, first=True):
    torch.manual_seed(seed)
    return Encoder(blocks, first).eval()


def tokens(seed, points=2):
    return torch.rand((points, 5, 4), generator=torch.Generator().manual_seed(seed))


def changes(x, norm, eps, count, random):
    """Float32 points on the surface of a ball around one sample."""
    noise = torch.randn((count, *x.shape[1:]), generator=random)
    if norm == "linf":
        return (x + eps * (1 - 1e-6) * noise.sign()).clamp(0, 1)
    size = noise.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.dim() - 1))
    return (x + eps * (1 - 1e-6) * noise / size).clamp(0, 1)


def enclosed(layer, low, high):
    with torch.no_grad():
        return propagate(traced(nn.Sequential(layer, nn.Flatten())), Enclosure(low.double(), high.double()))


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.1])
def test_a_single_input_has_its_own_quotients(eps):
    layer = nn.LayerNorm(4, eps=eps)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2.0, -1.0, 0.5]))
        layer.bias.copy_(torch.tensor([0.0, 1.0, 0.0, -1.0]))
    x = torch.tensor([[1.0, 2.0, 3.0, 6.0]])  # mean 3, variance (4 + 1 + 0 + 9) / 4 = 3.5
    found = enclosed(layer, x, x)
    truth = torch.tensor([-2.0, -2.0, 0.0, 1.5], dtype=torch.float64) / math.sqrt(3.5 + eps)
    truth = truth + torch.tensor([0.0, 1.0, 0.0, -1.0])
    assert (found.lower[0] <= truth).all()
    assert (truth <= found.upper[0]).all()
    assert float((found.upper - found.lower).max()) < 0.03
    assert (found.lower <= layer(x).double()).all()
    assert (layer(x).double() <= found.upper).all()


@pytest.mark.parametrize("d", [2, 3, 8, 50])
def test_no_quotient_exceeds_the_root_of_the_other_entries(d):
    """Whatever the box, |c_i| <= sqrt((d - 1) v)."""
    found = enclosed(nn.LayerNorm(d, eps=0.01), -torch.ones(1, d), torch.ones(1, d))
    assert float(found.upper.max()) <= math.sqrt(d - 1) * 1.02 + 0.02
    peak = -torch.ones(1, d)
    peak[0, 0] = 1
    assert float(found.upper[0, 0]) >= float(nn.LayerNorm(d, eps=0.01)(peak).detach()[0, 0])


def test_two_entries_are_bounded_by_the_difference():
    """With d = 2, y = (x_0 - x_1) / 2 / sqrt((x_0 - x_1)^2 / 4 + eps), which rises in x_0 - x_1."""
    low, high = torch.tensor([[0.4, 0.1]]), torch.tensor([[0.6, 0.2]])
    found = enclosed(nn.LayerNorm(2, eps=1e-2), low, high)
    ends = [half / math.sqrt(half**2 + 1e-2) for half in (0.1, 0.25)]
    assert float(found.upper[0, 0]) == pytest.approx(ends[1], abs=2e-3)
    assert float(found.lower[0, 1]) == pytest.approx(-ends[1], abs=2e-3)
    assert float(found.lower[0, 0]) > 0.4  # the other square is taken from its own interval here
    assert float(found.lower[0, 0]) <= ends[0] <= ends[1] <= float(found.upper[0, 0])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    d=st.sampled_from([1, 2, 3, 7, 16, 65]),
    width=st.sampled_from([0.0, 1e-6, 1e-3, 0.1, 1.0]),
    place=st.tuples(st.sampled_from([0.0, 1.0, -30.0, 1e3]), st.sampled_from([0.0, 1e-4, 1.0])),
    eps=st.sampled_from([1e-12, 1e-5, 1e-2]),
)
def test_no_corner_or_inner_point_leaves_the_interval(seed, d, width, place, eps):
    random = torch.Generator().manual_seed(seed)
    layer = nn.LayerNorm(d, eps=eps)
    with torch.no_grad():
        layer.weight.normal_(generator=random)
        layer.bias.normal_(generator=random)
    x = place[0] + place[1] * torch.randn((1, d), generator=random)
    low, high = x - width * torch.rand((1, d), generator=random), x + width
    found = enclosed(layer, low, high)
    share = torch.rand((200, d), generator=random)
    share[::2] = share[::2].round()
    inner = torch.minimum(torch.maximum(low + share * (high - low), low), high)
    with torch.no_grad():
        seen = layer(inner).double()
        wide = nn.LayerNorm(d, eps=eps).double()
        wide.load_state_dict(layer.state_dict())
        exact = wide(inner.double())
    for values in (seen, exact):
        assert (found.lower <= values).all()
        assert (values <= found.upper).all()


@pytest.mark.parametrize("offset", [0.0, 1.0, 7e3])
@pytest.mark.parametrize("eps", [1e-12, 1e-5, 1.0])
def test_equal_entries_are_divided_by_the_root_of_eps_alone(offset, eps):
    """The degenerate variance: what float32 makes of rounding lies inside, and larger eps make it small."""
    x = torch.full((1, 33), offset)
    layer = nn.LayerNorm(33, eps=eps)
    found = enclosed(layer, x, x)
    with torch.no_grad():
        seen = layer(x).double()
    assert (found.lower <= seen).all()
    assert (seen <= found.upper).all()
    assert (found.lower <= 0).all()
    assert (found.upper >= 0).all()
    if offset <= 1 and eps == 1:
        assert float(found.upper.max()) < 1e-3


def test_without_eps_equal_entries_have_no_bound():
    """0 / 0 is not a number, so nothing can be said."""
    found = enclosed(nn.LayerNorm(4, eps=0.0), torch.ones(1, 4), torch.ones(1, 4))
    assert found.lower.isinf().all()
    assert found.upper.isinf().all()


def test_squares_that_overflow_leave_no_bound():
    x = torch.tensor([[1e25, -1e25, 0.0, 1.0]])
    assert torch.isinf(enclosed(nn.LayerNorm(4), x, x).lower).all()


def test_routines_with_other_roundings_lie_inside_too():
    """Two passes, the mean of squares less the square of the mean, and scale and shift fused."""
    random = torch.Generator().manual_seed(0)
    for offset in (0.0, 3.0, -40.0):
        x = offset + torch.randn((64, 48), generator=random)
        found = enclosed(nn.LayerNorm(48), x, x)
        mean = x.mean(-1, keepdim=True)
        two = (x - mean).square().mean(-1, keepdim=True)
        one = (x.square().mean(-1, keepdim=True) - mean.square()).clamp_min(0)
        for variance in (two, one):
            factor = (variance + 1e-5).rsqrt()
            for seen in ((x - mean) * factor, x * factor + (-mean * factor), (x - mean) / (1 / factor)):
                assert (found.lower <= seen.double()).all()
                assert (seen.double() <= found.upper).all()


WAYS = {
    "layer": nn.LayerNorm(6),
    "without weights": nn.LayerNorm(6, elementwise_affine=False),
    "without bias": nn.LayerNorm(6, bias=False),
    "two axes": nn.LayerNorm((5, 6)),
}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_form_of_the_layer_is_bounded_linearly_too(lab, name, norm):
    random = torch.Generator().manual_seed(3)
    layer = WAYS[name]
    with torch.no_grad():
        for part in layer.parameters():
            part.normal_(generator=random)
    x = torch.rand((1, 5, 6), generator=random)
    net = nn.Sequential(layer, nn.Flatten()).eval()
    a = torch.randn((8, 30), generator=random)
    for eps in (1e-3, 0.05, 0.4):
        with torch.no_grad():
            scores = propagate(traced(net), lab.around(x, norm, eps))
            bound = least(scores, a, Rows(torch.zeros(8, dtype=torch.int64), torch.float32))
            seen = net(changes(x, norm, eps, 300, random)).double()
        assert (scores.lower <= seen).all()
        assert (seen <= scores.upper).all()
        assert (bound <= (seen @ a.double().T).amin(0)).all()
        plain = scores.lower.clamp_min(-1e9) @ a.clamp_min(0).double().T
        plain = plain + scores.upper.clamp_max(1e9) @ a.clamp_max(0).double().T
        if eps == 1e-3:
            assert (bound > plain[0]).all()  # the linear bounds know what the entries share


def test_functions_and_layers_agree(lab):
    class Function(nn.Module):
        def __init__(self, how):
            super().__init__()
            self.how, self.weight = how, nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))

        def forward(self, x):
            return self.how(x, self.weight)

    x = torch.rand((2, 3))
    layer = nn.LayerNorm(3, eps=1e-3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, -2.0, 0.5]))
        wanted = propagate(traced(nn.Sequential(layer)), lab.around(x, "linf", 0.1))
    for how in (
        lambda x, w: functional.layer_norm(x, (3,), w, eps=1e-3),
        lambda x, w: functional.layer_norm(x, (3,), eps=1e-3) * w,
        lambda x, w: torch.layer_norm(x, (3,), w, None, 1e-3),
    ):
        with torch.no_grad():
            found = propagate(traced(Function(how)), lab.around(x, "linf", 0.1))
        torch.testing.assert_close(found.lower, wanted.lower, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.upper, wanted.upper, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("how", "named"),
    [
        (lambda x: functional.layer_norm(x, (2, 3)), "other axes"),
        (lambda x: functional.layer_norm(x, (4,)), "other axes"),
        (lambda x: functional.layer_norm(x, (3,), eps=-1.0), "negative eps"),
        (lambda x: functional.layer_norm(x, (3,), x[0]), "across the batch|both depend"),
    ],
)
def test_other_uses_are_refused(how, named):
    class One(nn.Module):
        def forward(self, x):
            return how(x)

    x = torch.rand(2, 3).double()
    with torch.no_grad(), pytest.raises(OperatorUnsupported, match=named):
        propagate(traced(One()), Enclosure(x, x))


@pytest.mark.parametrize("first", [True, False], ids=["norm first", "norm last"])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.01), ("l2", 0.03), ("linf", 0.3)])
def test_no_change_of_an_encoder_falls_below_its_bound(lab, first, norm, eps):
    net = encoder(int(first), first=first)
    x = tokens(1)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        target = net(x).argmax(1)
        bound = lab.margins(net, x, target, norm, eps, steps=0)
    for i in range(2):
        start = changes(x[i : i + 1], norm, eps, 40, random)
        for _ in range(12):
            start = start.detach().requires_grad_()
            scores = net(start)
            own = scores[:, target[i], None]
            margin = (own - scores).double().detach()
            margin[:, target[i]] = torch.inf
            assert (bound[i] <= margin.amin(0)).all()
            rival = scores.scatter(1, target[i].expand(40, 1), -torch.inf).amax(1)
            (slope,) = torch.autograd.grad((own[:, 0] - rival).sum(), start)
            move = start.detach() - 0.3 * eps * slope.sign() - x[i]
            if norm == "linf":
                move = move.clamp(-eps * (1 - 1e-6), eps * (1 - 1e-6))
            else:
                size = move.flatten(1).norm(dim=1).clamp_min(1e-12).reshape(-1, 1, 1)
                move = move * (eps * (1 - 1e-6) / size).clamp_max(1)
            start = (x[i] + move).clamp(0, 1)


@pytest.mark.parametrize("first", [True, False], ids=["norm first", "norm last"])
def test_encoders_get_certificates_at_small_changes(lab, first):
    net = encoder(3, blocks=2, first=first)
    x = tokens(4, points=4)
    with torch.no_grad():
        target = net(x).argmax(1)
        found = lab.cascade(net, x, target, eps=1e-3, preset="quick")
        assert found.cheap(torch.arange(4))
        found.dear(torch.arange(4))
    assert (found.proved >= 0).sum() >= 3


def test_bounds_of_an_encoder_shrink_to_its_scores(lab):
    net, x = encoder(5), tokens(6)
    widths = []
    for eps in (1e-1, 1e-2, 1e-3, 1e-4):
        with torch.no_grad():
            scores = propagate(traced(net), lab.around(x, "linf", eps), refiner(lambda rows: True))
        widths.append(float((scores.upper - scores.lower).max()))
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.02
