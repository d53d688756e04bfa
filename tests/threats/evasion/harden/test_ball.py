"""The ball as tensors: membership by definition, and the steepest step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelward.threats.evasion.harden.ascent import climb
from modelward.threats.evasion.harden.ball import Ball

SEED = st.integers(0, 2**32 - 1)
NORM = st.sampled_from(["linf", "l2"])


def some(seed, norm, eps):
    random = np.random.default_rng(seed)
    unit = torch.from_numpy(random.choice([0.0, 0.5, 2.0], 6).astype(np.float32))
    around = Ball(norm=norm, eps=eps, lower=torch.zeros(6), upper=torch.ones(6), unit=unit)
    x = torch.from_numpy(random.uniform(-0.2, 1.2, (9, 6)).astype(np.float32))
    moved = torch.from_numpy(random.normal(0, 2, (9, 6)).astype(np.float32))
    return around, x, moved


def belongs(around, moved, x):
    """By the definition, in float64."""
    change, unit = (moved - x).double().numpy(), around.unit.double().numpy()
    assert (change[:, unit == 0] == 0).all()
    units = change[:, unit > 0] / unit[unit > 0]
    size = np.abs(units).max(1, initial=0) if around.norm == "linf" else np.sqrt((units**2).sum(1))
    assert (size <= around.eps + 1e-5).all()
    low, high = np.minimum(x.numpy(), 0), np.maximum(x.numpy(), 1)
    assert ((moved.numpy() >= low) & (moved.numpy() <= high)).all()


@given(SEED, NORM, st.floats(0.01, 1))
def test_everything_that_is_projected_belongs(seed, norm, eps):
    around, x, moved = some(seed, norm, eps)
    belongs(around, around.inside(moved, x), x)


@given(SEED, NORM, st.floats(0.01, 1))
def test_random_points_belong(seed, norm, eps):
    around, x, _ = some(seed, norm, eps)
    torch.manual_seed(seed)
    belongs(around, around.random(x), x)


@given(SEED, NORM, st.floats(0.01, 1))
def test_what_belongs_stays_where_it_is(seed, norm, eps):
    around, x, moved = some(seed, norm, eps)
    inside = around.inside(moved, x)
    assert torch.allclose(around.inside(inside, x), inside, atol=1e-5)


@given(SEED, NORM)
def test_no_step_of_the_same_length_rises_faster(seed, norm):
    """Over a linear function, against random steps of that length."""
    around, x, slope = some(seed, norm, 1.0)
    best = (around.step(slope, 0.1) * slope).sum(1)
    torch.manual_seed(seed)
    for _ in range(20):
        other = torch.randn_like(x)
        size = other.abs().amax(1) if norm == "linf" else other.norm(dim=1)
        other = 0.1 * other / size[:, None] * around.unit
        assert ((other * slope).sum(1) <= best + 1e-5).all()


def test_a_radius_is_scaled(build):
    assert build.square(eps=0.4).scaled(0.25).eps == pytest.approx(0.1)
    low, high = build.square(eps=0.4).scaled(0.0).limits(torch.tensor([[0.3, 0.6]]))
    assert torch.equal(low, high)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("steps", [1, 5, 20])
def test_the_attack_reaches_the_worst_case_of_a_linear_model(build, norm, steps):
    """The largest value of w.x over the ball is known; the box does not bind."""
    module = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[3.0, -4.0]]))
    x = torch.full((5, 2), 0.5)
    around = build.square(norm, 0.1)
    torch.manual_seed(0)
    moved = climb(module, lambda scores: scores[:, 0], (x, around.random(x)), around, steps)
    gain = (module(moved) - module(x)).detach()[:, 0]
    best = 0.1 * (7.0 if norm == "linf" else 5.0)
    assert (gain <= best + 1e-5).all()
    # One step of 1.25 eps from a random start reaches most of it, more steps all.
    assert (gain >= best * {1: 0.2, 5: 0.9, 20: 0.9}[steps]).all()


def test_the_attack_leaves_modes_and_statistics_alone():
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    around = Ball(norm="linf", eps=0.1, lower=torch.zeros(2), upper=torch.ones(2), unit=torch.ones(2))
    x = torch.rand(8, 2)
    climb(module, lambda scores: scores[:, 0], (x, x), around, 3)
    assert all(part.training for part in module.modules())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(weight.grad is None for weight in module.parameters())
