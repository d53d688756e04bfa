"""Windows, work limits and proof kinds: what saves time must not change what is true."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from modelward.threats.evasion.bounds import refine as module
from modelward.threats.evasion.bounds.backward import least, order
from modelward.threats.evasion.bounds.branch import Effort
from modelward.threats.evasion.bounds.curves import Shape, bent
from modelward.threats.evasion.bounds.enclosure import Enclosure
from modelward.threats.evasion.bounds.inputs import Source
from modelward.threats.evasion.bounds.propagate import propagate, traced
from modelward.threats.evasion.bounds.refine import entries, refiner
from modelward.threats.evasion.bounds.rows import Known, Rows
from modelward.threats.evasion.bounds.steps import Rectified
from modelward.threats.evasion.bounds.windows import Window


def second_layer(lab, name, norm="linf"):
    """The argument of the last ReLU of a convolutional network."""
    seen = []

    def note(x, sign_only):
        seen.append(x)
        return x

    net = lab.network(name, 1)
    x = torch.rand((2, *lab.shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        propagate(traced(net), lab.around(x, norm, 0.05), note)
    return seen


@pytest.mark.parametrize("name", ["relu", "leaky", "sigmoid", "batch norm", "dilated"])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("steps", [0, 3])
def test_windows_give_the_bounds_that_whole_images_give(lab, monkeypatch, name, norm, steps):
    value = second_layer(lab, name, norm)[1]
    places = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(0, 24, 5), indexing="ij"), -1).reshape(
        -1, 2
    )
    monkeypatch.setattr(module, "_receptive", lambda x: 1)  # small windows whatever the plane
    assert module._local(value)
    with torch.no_grad():
        windowed = entries(value, places, Known(), steps=steps)
        monkeypatch.setattr(module, "_local", lambda x: False)
        whole = entries(value, places, Known(), steps=steps)
    for one, other in zip(windowed, whole, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("ascent", [0, 1, 3])
def test_no_value_of_a_large_image_leaves_the_bounds_of_its_windows(lab, ascent):
    """Lines drawn for another window than the coefficients once proved points that have a counterexample."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, 1, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 4, 3)]
    net = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    x, random = torch.rand((1, 1, 12, 12)), torch.Generator().manual_seed(1)
    refine, seen = refiner(lambda rows: True, ascent), []

    def note(value, sign_only):
        seen.append(refine(value, sign_only))
        return seen[-1]

    low, high = (x - 0.06).clamp(0, 1).double(), (x + 0.06).clamp(0, 1).double()
    with torch.no_grad():
        propagate(traced(net), lab.around(x, "linf", 0.06), note)
        corners = torch.where(torch.rand((4000, 1, 12, 12), generator=random) < 0.5, low, high).float()
        values = [net[:1](corners), net[:3](corners), net[:5](corners)]
        starts = torch.autograd.functional.jacobian(lambda z: net[:3](z).flatten(), x)
        steep = torch.where(starts.reshape(-1, 1, 12, 12) > 0, high, low).float()
        values[1] = torch.cat([values[1], net[:3](steep)])
    bounds = {tuple(value.shape[1:]): value for value in seen}
    assert module._local(seen[1])
    for value in values:
        bound = bounds[tuple(value.shape[1:])]
        assert (value.double() >= bound.lower - 1e-6).all()
        assert (value.double() <= bound.upper + 1e-6).all()


def test_lines_of_another_window_are_never_used(lab):
    value = second_layer(lab, "relu")[1]
    (step,) = [s for s in order(value.step) if isinstance(s, Rectified)]
    place = torch.zeros(1, dtype=torch.int64)
    rows = Rows(place, torch.float32, window=Window(place, (6, 6)))
    rows.lines(step)
    a = torch.zeros((1, step.source.shape[1], 3, 3))
    with pytest.raises(AssertionError, match="another window"):
        step.pull(a, rows)


def test_residual_networks_are_not_cut_into_windows(lab):
    assert not any(module._local(value) for value in second_layer(lab, "residual")[1:])


def test_refined_bounds_lie_within_intervals_and_hold(lab):
    for name in ("deep relu", "residual", "tanh"):
        net = lab.network(name, 2)
        x = torch.rand((2, *lab.shape), generator=torch.Generator().manual_seed(0))
        first = lab.around(x, "linf", 0.05)
        booked = [0]

        def spend(rows, booked=booked):
            booked[0] += rows
            return True

        with torch.no_grad():
            plain = propagate(traced(net), first)
            fine = propagate(traced(net), first, refiner(spend, 2))
            tiny = propagate(traced(net), first, refiner(lambda rows: True, 2, 10.0))
            refused = propagate(traced(net), first, refiner(lambda rows: False, 2))
        assert booked[0] > 0
        assert (fine.lower >= plain.lower).all()
        assert (fine.upper <= plain.upper).all()
        assert float((fine.upper - fine.lower).sum()) < 0.97 * float((plain.upper - plain.lower).sum())
        torch.testing.assert_close(refused.lower, plain.lower)
        assert (tiny.lower >= plain.lower).all()


def test_what_intervals_bound_exactly_is_not_bounded_again(lab):
    booked = []
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 10), nn.ReLU(), nn.Linear(10, 3)).eval()
    x = torch.rand((2, *lab.shape))
    with torch.no_grad():
        propagate(traced(net), lab.around(x, "linf", 0.1), refiner(lambda rows: booked.append(rows) or True))
    assert not booked


CURVES = {
    "sigmoid": (torch.sigmoid, Shape(torch.sigmoid, curvature=0.0963)),
    "tanh": (torch.tanh, Shape(torch.tanh, curvature=0.7699)),
    "gelu": (functional.gelu, Shape(functional.gelu, curvature=0.85)),
    "gelu tanh": (
        lambda x: functional.gelu(x, approximate="tanh"),
        Shape(lambda x: functional.gelu(x, approximate="tanh"), curvature=0.85),
    ),
    "silu": (functional.silu, Shape(functional.silu, curvature=0.501)),
    "erf": (torch.erf, Shape(torch.erf, curvature=0.9679)),
    "softplus": (functional.softplus, Shape(functional.softplus, curvature=0.2501)),
    "exp": (torch.exp, Shape(torch.exp, curvature=lambda low, high: high.exp())),
    "square": (torch.square, Shape(torch.square, curvature=2.0)),
    "abs": (torch.abs, Shape(torch.abs, kinks=(0.0,))),
    "clamp": (lambda x: x.clamp(-1, 0.5), Shape(lambda x: x.clamp(-1, 0.5), kinks=(-1.0, 0.5))),
}


@pytest.mark.parametrize("name", CURVES)
def test_lines_lie_on_their_side_and_near(name):
    function, shape = CURVES[name]
    random = torch.Generator().manual_seed(0)
    centre = 8 * torch.rand(400, generator=random, dtype=torch.float64) - 4
    half = 10 ** (4 * torch.rand(400, generator=random, dtype=torch.float64) - 4)
    x = Enclosure((centre - half)[:, None], (centre + half)[:, None])
    ends = function(torch.lerp(x.lower, x.upper, torch.linspace(0, 1, 2001, dtype=torch.float64)[None]))
    found = Enclosure(ends.amin(1, keepdim=True), ends.amax(1, keepdim=True))
    step = bent(found, x, shape, torch.zeros_like(x.lower)).step
    places = torch.lerp(x.lower, x.upper, torch.linspace(0, 1, 2001, dtype=torch.float64)[None])
    below = step.lines.below[0] * places + step.lines.below[1] - step.errors.runtime
    above = step.lines.above[0] * places + step.lines.above[1] + step.errors.runtime
    assert (below <= ends).all()
    assert (ends <= above).all()
    area = (above - below).mean(dim=1)
    assert (area <= (found.upper - found.lower)[:, 0] * 1.05 + 1e-9).all()


@pytest.mark.parametrize("name", [name for name in CURVES if isinstance(CURVES[name][1].curvature, float)])
def test_stated_curvatures_bound_the_second_derivative(name):
    x = torch.linspace(-9, 9, 200_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(CURVES[name][0](x).sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x)
    assert bend.abs().max() <= CURVES[name][1].curvature


def test_each_proof_has_one_kind_and_dearer_presets_prove_no_less(lab):
    torch.manual_seed(1)
    net = lab.network("deep relu", 6)
    x = torch.rand((24, *lab.shape), generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        target = net(x).argmax(dim=1)
        proved, kinds = [], set()
        for preset in ("quick", "standard", "thorough"):
            found = lab.cascade(net, x, target, eps=0.06, preset=preset)
            found.cheap(torch.arange(24))
            left = (found.proved < 0).nonzero()[:, 0]
            margins = found.dear(left)
            if preset == "thorough":
                found.search(margins, left, Effort(domains=100))
            proved.append(found.proved >= 0)
            kinds |= set(found.proved.tolist())
    assert (proved[0] <= proved[1]).all()
    assert int(proved[2].sum()) >= int(proved[1].sum()) > 0
    assert {1, 2, 3} <= kinds


def test_a_source_is_a_step_without_parents(lab):
    first = lab.around(torch.rand(1, 3), "l2", 0.1)
    assert isinstance(first.step, Source)
    assert first.step.parents == ()
    with pytest.raises(AssertionError):
        first.step.value()
    assert Rectified(first).errors.size.isfinite().all()


def relaxed(proof, index, dtype):
    """What one precision proves."""
    method = proof._method
    scores = propagate(method.graph, proof._enclose(index), refiner(method.book, dtype=dtype))
    margins = proof._margins(scores, index)
    pairs = margins.lower.isfinite().nonzero()
    margins.improve(pairs, least(margins.value, margins.differences(pairs, dtype), Rows(pairs[:, 0], dtype)))
    return margins


@pytest.mark.parametrize("name", ["deep relu", "residual", "max pool"])
def test_points_that_miss_their_proof_by_rounding_are_bounded_again_in_float64(lab, name):
    """The tolerance is such that the proof in float32 fails, and that in float64 just holds or just fails."""
    net, one = lab.network(name, 5), torch.zeros(1, dtype=torch.int64)
    x = torch.rand((1, *lab.shape), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        target = net(x).argmax(dim=1)
        proof = lab.cascade(net, x, target, eps=0.005, preset="quick")
        narrow, wide = (relaxed(proof, one, dtype) for dtype in (torch.float32, torch.float64))
        low, high = float(narrow.lower.min()), float(wide.lower.min())
        assert 0 < low < high
        for share, holds in ((-1.0, True), (0.5, True), (1.5, False)):
            wanted = low + share * (high - low)
            tolerance = wanted / 2 / float(wide.scores.largest.max().clamp_min(1))
            proof = lab.cascade(net, x, target, eps=0.005, preset="quick")
            proof._method = replace(proof._method, tolerance=tolerance)
            margins = proof.dear(one)
            assert bool(margins.certified) == holds
            assert int(proof.proved) == (1 if holds else -1)
            assert float(margins.lower.min()) <= high + 1e-9
            proof._method = replace(proof._method, spend=lambda **cost: False)
            assert proof._sharpen(margins, one) == holds  # nothing left to ask for, or refused
