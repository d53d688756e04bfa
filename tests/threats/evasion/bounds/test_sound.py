"""No point of the set, sampled or searched, lies below a bound: for every layer, norm and method."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from modelward.errors import InputError
from modelward.numeric import rounding
from modelward.threats.evasion.bounds import backward
from modelward.threats.evasion.bounds.backward import least
from modelward.threats.evasion.bounds.propagate import propagate, traced
from modelward.threats.evasion.bounds.rows import Rows

EPS = {"linf": 0.03, "l2": 0.3, "l1": 0.6, "l0": 2.0, "patch": 4 / 36}
NORMS = tuple(EPS)


def admissible(x, norm, eps, random):
    """Float32 points of the set around one sample, most of them on its surface."""
    n, shape = 80, x.shape[1:]
    noise = torch.randn((n, *shape), generator=random)
    if norm == "linf":
        return (x + eps * (1 - 1e-6) * noise.sign()).clamp(0, 1)
    if norm in {"l2", "l1"}:
        sparse = torch.rand(noise.shape, generator=random) < torch.rand((n, 1, 1, 1), generator=random)
        noise = noise * sparse + 1e-9
        size = noise.flatten(1).norm(dim=1, p=2 if norm == "l2" else 1).reshape(-1, 1, 1, 1)
        return (x + eps * (1 - 1e-6) * noise / size).clamp(0, 1)
    wild = torch.rand((n, *shape), generator=random).round()
    changed = torch.zeros(n, *shape)
    if norm == "l0":
        flat = changed.flatten(1)
        for row in flat:
            row[torch.randperm(flat.shape[1], generator=random)[: int(eps)]] = 1
    else:
        side = round((eps * shape[1] * shape[2]) ** 0.5)
        for image in changed:
            i, j = (int(torch.randint(shape[1] - side + 1, (1,), generator=random)) for _ in range(2))
            image[:, i : i + side, j : j + side] = 1
    return torch.where(changed > 0, wild, x)


def test_bounds_hold_for_every_layer_and_norm(lab):
    certified = dict.fromkeys(NORMS, 0)
    for i, (name, norm) in enumerate(itertools.product(lab.nets, NORMS)):
        tail = [[], [nn.Softmax(1)], [nn.LogSoftmax(1)]][i % 3]
        net = lab.network(name, i, tail)
        random = torch.Generator().manual_seed(i)
        x = torch.rand((2, *lab.shape), generator=random)
        with torch.no_grad():
            target = net(x).argmax(dim=1)
            bound = lab.margins(net, x, target, norm, EPS[norm] / (1 if i % 2 else 2), ascent=i % 2)
            for j in range(2):
                seen = net(admissible(x[j : j + 1], norm, EPS[norm] / (1 if i % 2 else 2), random)).double()
                margin = seen[:, target[j], None] - seen
                margin[:, target[j]] = torch.inf
                assert (bound[j] <= margin.amin(dim=0)).all(), (name, norm)
        certified[norm] += int((bound.amin(dim=1) > 0).sum())
    assert all(certified.values()), certified  # or the test could not fail


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(("deep relu", "sigmoid", "residual", "max pool", "attention", "gelu", "larger")),
    seed=st.integers(0, 2**31),
    eps=st.sampled_from([1e-4, 0.01, 0.1]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_descent_finds_nothing_below_a_bound(lab, name, seed, eps, dtype):
    net = lab.network(name, seed)
    x = torch.rand((2, *lab.shape), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        target = net(x).argmax(dim=1)
    bound = lab.margins(net, x, target, "linf", eps, dtype=dtype, ascent=1)
    change = torch.zeros_like(x)
    for _ in range(12):
        change.requires_grad_()
        scores = net((x + change).clamp(0, 1))
        rival = scores.scatter(1, target[:, None], -torch.inf).amax(dim=1)
        margin = scores.gather(1, target[:, None])[:, 0] - rival
        assert (bound.amin(dim=1) <= margin.detach().double()).all()
        (slope,) = torch.autograd.grad(margin.sum(), change)
        change = (change.detach() - eps / 3 * slope.sign()).clamp(-eps * (1 - 1e-6), eps * (1 - 1e-6))


def test_coefficients_in_float32_give_up_little_and_never_gain(lab):
    """The bound in float32 is the one in float64 less what its rounding may have cost."""
    for name in lab.nets:
        net = lab.network(name, 3)
        x = torch.rand((2, *lab.shape), generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            target = net(x).argmax(dim=1)
            scores = propagate(traced(net), lab.around(x, "linf", 0.02))
            a = torch.zeros(2, 3)
            a[torch.arange(2), target] = 1.0
            a[torch.arange(2), (target + 1) % 3] = -1.0
            point = torch.arange(2)
            narrow = least(scores, a, Rows(point, torch.float32))
            wide = least(scores, a.double(), Rows(point, torch.float64))
            plain = least(scores, a, Rows(point, torch.float32), sound=False)
        assert (narrow <= wide).all(), name
        if name not in {"sequence first", "encoder"}:  # their softmax of unbounded scores has no finite lines
            assert (narrow < plain).all(), name
            assert (wide - narrow < 2e-2 * (1 + wide.abs())).all(), name


def test_sums_that_cancel_are_bounded_as_float32_computes_them(lab):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(500, 200), nn.ReLU(), nn.Linear(200, 2)).eval()
    with torch.no_grad():
        net[0].bias += 1e4
        net[2].weight *= 30
    x = torch.rand(3, 500)
    with torch.no_grad():
        target = net(x).argmax(dim=1)
        bound = lab.margins(net, x, target, "linf", 0.0).amin(dim=1)
        seen = net(x).double()
        exact = nn.Sequential(*net).double()(x.double())
        net.float()
        for scores in (seen, exact):
            margin = scores.gather(1, target[:, None])[:, 0] - scores.gather(1, 1 - target[:, None])[:, 0]
            assert (bound <= margin).all()
    assert not torch.equal(seen, exact)


def linear_margin(weight, x, norm, eps):
    """Least w . x' + 0.2 over the set, by the definition of each norm."""
    low, high = np.maximum(x - eps, 0), np.minimum(x + eps, 1)
    if norm == "linf":
        return float(np.where(weight > 0, weight * low, weight * high).sum())
    if norm == "l2":
        return float(weight @ x - eps * np.linalg.norm(weight))
    if norm == "l1":
        return float(weight @ x - eps * np.abs(weight).max())
    gain = np.where(weight > 0, weight * x, weight * (x - 1))
    if norm == "l0":
        return float(weight @ x - np.sort(gain)[::-1][: int(eps)].sum())
    image, side = gain.reshape(4, 4), round((eps * 16) ** 0.5)
    windows = [image[i : i + side, j : j + side].sum() for i in range(5 - side) for j in range(5 - side)]
    return float(weight @ x - max(windows))


@pytest.mark.parametrize(
    ("norm", "eps"), [("linf", 0.2), ("l2", 0.1), ("l1", 0.05), ("l0", 3.0), ("patch", 0.25)]
)
def test_a_linear_model_is_bounded_exactly(lab, norm, eps):
    random = np.random.default_rng(5)
    for _ in range(10):
        weight, x = random.normal(size=16), 0.2 + 0.6 * random.random(16)
        layer = nn.Linear(16, 2, bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(np.stack([weight, np.zeros(16)])))
        net = nn.Sequential(nn.Flatten(), layer).eval()
        point = torch.tensor(x, dtype=torch.float32).reshape(1, 1, 4, 4)
        found = lab.margins(net, point, torch.tensor([0]), norm, eps)[0, 1].item()
        truth = linear_margin(weight, x, norm, eps)
        assert found <= truth + 1e-6
        assert found == pytest.approx(truth, abs=2e-3 if norm == "l2" else 5e-4)


def test_the_box_cuts_the_ball(lab):
    """At a corner of the box the L2 ball has few directions left: the bound knows both at once."""
    layer = nn.Linear(9, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([torch.tensor([1.0, *[-1.0] * 8]), torch.zeros(9)]))
    x = torch.tensor([[1.0, *[1.0] * 8]])  # the eight that would have to rise cannot
    found = lab.margins(nn.Sequential(layer).eval(), x, torch.tensor([0]), "l2", 0.9)[0, 1].item()
    assert found == pytest.approx(1.0 - 8.0 - 0.9, abs=2e-2)
    assert found <= 1.0 - 8.0 - 0.9


def test_backward_bounds_are_tighter_than_intervals(lab):
    gain = 0
    for seed in range(5):
        net = lab.network("deep relu", seed)
        x = torch.rand((4, *lab.shape), generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            target = net(x).argmax(dim=1)
            plain = lab.margins(net, x, target, "linf", 0.05, steps=0)
            better = lab.margins(net, x, target, "linf", 0.05, steps=10, ascent=5)
        assert (better >= plain - 1e-4).all()
        gain += float((better - plain).where(better.isfinite(), 0).sum())
    assert gain > 0.1


def test_layers_of_very_many_numbers_are_summed_in_float64_and_stay_sound(lab, monkeypatch):
    """A sum in float32 of 2**24 numbers has no bound on its rounding; beyond a limit it is taken in float64."""
    net = lab.network("deep relu", 1)
    x = torch.rand((3, *lab.shape), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        target = net(x).argmax(dim=1)
        plain = lab.margins(net, x, target, "linf", 0.05)
        asked = []
        monkeypatch.setattr(backward, "_MANY", 1)
        monkeypatch.setattr(
            backward, "gamma", lambda n, dtype: asked.append(dtype) or rounding.gamma(n, dtype)
        )
        double = lab.margins(net, x, target, "linf", 0.05)
        scores = net(x)
        truth = scores.gather(1, target[:, None]) - scores
    assert np.float64 in asked
    rivals = double.isfinite()
    assert rivals.sum() == rivals.numel() - len(x)
    assert (double[rivals] <= truth[rivals]).all()
    torch.testing.assert_close(double, plain, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError):
        rounding.gamma(2**24, np.float32)
    assert rounding.gamma(2**24, np.float64) < 1e-8
