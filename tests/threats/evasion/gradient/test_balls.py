from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from modelward.threats.evasion.gradient.balls import Ball, _capped
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat

CPU = torch.device("cpu")


def ball_of(room, norm, eps, shape=(1, 6, 6), n=3):
    x = np.random.default_rng(0).random((n, *shape)).astype(np.float32)
    return Ball(reach(room.data(x, [0] * n), Threat(norm, eps)), CPU)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.floats(0.01, 5))
def test_the_capped_sum_is_the_nearest(seed, features, total):
    random = np.random.default_rng(seed)
    size, room = (
        random.random((4, features)) * 2,
        random.random((4, features)) * random.integers(0, 2, (4, features)),
    )
    got = _capped(torch.tensor(size).float(), torch.tensor(room).float(), total).double().numpy()
    for row in range(4):
        # The same by bisection of the cut.
        low, high = 0.0, 3.0
        for _ in range(60):
            cut = (low + high) / 2
            fits = np.minimum(room[row], np.maximum(size[row] - cut, 0)).sum() <= total
            low, high = (low, cut) if fits else (cut, high)
        full = np.minimum(room[row], size[row])
        wanted = full if full.sum() <= total else np.minimum(room[row], np.maximum(size[row] - high, 0))
        np.testing.assert_allclose(got[row], wanted, atol=1e-5)


def test_the_projection_in_l1_is_nearer_than_any_other_point(room):
    ball = ball_of(room, "l1", 0.7, shape=(5,), n=2)
    centre, low, high = ball.corners(np.array([0, 1]))
    wild = centre + torch.tensor([[0.9, -0.8, 0.3, 0.0, -0.2], [-0.1, 2.0, 0.4, -0.4, 0.1]])
    got = ball.inside(wild, centre, (low, high))
    for row in range(2):
        c, w = centre[row].double().numpy(), wild[row].double().numpy()
        best = minimize(
            lambda z, w=w: np.square(z - w).sum(),
            c,
            bounds=list(zip(low[row].tolist(), high[row].tolist(), strict=True)),
            constraints={"type": "ineq", "fun": lambda z, c=c: 0.7 - np.abs(z - c).sum()},
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        assert np.square(got[row].double().numpy() - w).sum() <= best.fun + 1e-4


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("kind", ["centre", "noise", "stripes", "blocks", "corner"])
def test_starts_and_projections_stay_inside(room, norm, kind):
    ball = ball_of(room, norm, 0.2)
    centre, low, high = ball.corners(np.arange(3))
    x = ball.start(kind, [1, 2, 3], centre, (low, high))
    assert (ball.size(x, centre) <= 0.2 * (1 + 1e-5)).all()
    assert ((x >= low) & (x <= high)).all()
    far = ball.inside(x + 5 * torch.randn_like(x), centre, (low, high))
    assert (ball.size(far, centre) <= 0.2 * (1 + 1e-5)).all()
    again = ball.inside(far, centre, (low, high))
    torch.testing.assert_close(again, far, atol=1e-6, rtol=0)


def test_a_start_does_not_depend_on_its_company(room):
    ball = ball_of(room, "linf", 0.1)
    centre, low, high = ball.corners(np.arange(3))
    together = ball.start("blocks", [7, 8, 9], centre, (low, high))
    alone = ball.start("blocks", [9], centre[2:], (low[2:], high[2:]))
    assert torch.equal(together[2:], alone)
    assert not torch.equal(together, ball.start("blocks", [17, 18, 19], centre, (low, high)))


def test_stripes_hold_one_value_per_column(room):
    x = np.full((1, 1, 6, 6), 0.5, np.float32)
    ball = Ball(reach(room.data(x, [0]), Threat("linf", 0.1)), CPU)
    centre, low, high = ball.corners(np.arange(1))
    start = ball.start("stripes", [4], centre, (low, high))[0, 0]
    assert (start == start[:1]).all()
    assert set(np.round(start.unique().numpy(), 4)) <= {np.float32(0.4), np.float32(0.6)}


def test_steps_have_unit_length(room):
    slope = torch.randn((3, 1, 6, 6), generator=torch.Generator().manual_seed(1))
    assert (ball_of(room, "linf", 0.1).direction(slope).abs() == 1).all()
    for norm, order in (("l2", 2), ("l1", 1)):
        step = ball_of(room, norm, 0.1).direction(slope)
        torch.testing.assert_close(step.flatten(1).norm(order, dim=1), torch.ones(3))
        assert ((step * slope) >= 0).all()
    sparse = ball_of(room, "l1", 0.1).direction(slope, torch.tensor([0.1, 0.5, 1.0]))
    assert (sparse != 0).flatten(1).sum(dim=1).tolist() == [3, 18, 36]


def test_l0_keeps_the_pixels_that_change_most(room):
    ball = ball_of(room, "l0", 2.0, shape=(3, 4, 4), n=1)
    centre, low, high = ball.corners(np.arange(1))
    x = centre.clone()
    x[0, :, 1, 1] += 0.3
    x[0, 0, 2, 2] += 0.5
    x[0, 1, 3, 3] += 0.1
    kept = (ball.inside(x, centre, (low - 1, high + 1)) != centre)[0].any(dim=0).nonzero().tolist()
    assert kept == [[1, 1], [2, 2]]


def test_frozen_and_one_way_features_have_no_room(room):
    x = np.array([[0.2, 0.4], [0.9, 0.6]])
    points = room.table(x, [0, 1], ["real", "real"], immutable=(1,))
    ball = Ball(reach(points, Threat("linf", 0.1)), CPU)
    centre, low, high = ball.corners(np.arange(2))
    assert torch.equal(low[:, 1], centre[:, 1])
    assert torch.equal(high[:, 1], centre[:, 1])
    floor, roof = ball.box(np.arange(2))
    assert torch.equal(floor[:, 1], centre[:, 1])
    assert (roof[:, 0] > high[:, 0]).any()
