"""A linear classifier, where the exact robust radius of every point is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

MARGIN = 2e-3  # relative: points this close to the radius may fall either way


@pytest.fixture
def case(room):
    random = np.random.default_rng(5)
    weight, bias = random.normal(size=(3, 12)), random.normal(size=3) * 0.1
    model = room.torch(room.linear(weight, bias), 3)
    x = random.uniform(0.3, 0.7, (80, 12)).astype(np.float32)
    points = room.labelled(model, x, bounds=room.box(-9, 9, 1))
    scores = x @ weight.T.astype(np.float32) + bias.astype(np.float32)
    radius = {}
    for norm, dual in (("linf", 1), ("l2", 2)):
        rows = []
        for score, y in zip(scores, points.y, strict=True):
            gaps = [
                (score[y] - score[j]) / np.linalg.norm(weight[y] - weight[j], ord=dual)
                for j in range(3)
                if j != y
            ]
            rows.append(min(gaps))
        radius[norm] = np.array(rows)
    return model, points, radius


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.9])
def test_gradient_breaks_exactly_what_can_be_broken_and_proof_covers_the_rest(room, case, norm, quantile):
    model, points, radius = case
    eps = float(np.quantile(radius[norm], quantile))
    attacked = room.run("gradient", model, points, norms=(norm,), eps=(eps,)).first
    proved = room.run("certified", model, points, norms=(norm,), eps=(eps,)).first
    broken, certified = set(attacked.outcome["broken"]), set(proved.outcome["certified"])
    for row, size in enumerate(radius[norm]):
        if size < eps * (1 - MARGIN):
            assert row in broken
            assert row not in certified
        elif size > eps * (1 + MARGIN):
            assert row not in broken
            assert row in certified
        assert not (row in broken and row in certified)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_queries_break_only_what_can_be_broken(room, case, norm):
    model, points, radius = case
    eps = float(np.quantile(radius[norm], 0.5))
    asked = room.callable(model.scores, 3)
    evidence = room.run("query", asked, points, norms=(norm,), eps=(eps,)).first
    breakable = {row for row, size in enumerate(radius[norm]) if size < eps * (1 + MARGIN)}
    broken = set(evidence.outcome["broken"])
    assert broken <= breakable
    assert len(broken) >= 0.7 * len(breakable)  # 12 features and 500 queries


def test_the_box_protects_what_the_ball_would_reach(room):
    """s = x - 0.5 on [0.6, 1]: no point can leave the box downwards, so none can be broken at any radius."""
    model = room.torch(room.linear([[-1.0], [1.0]], [0.5, -0.5]))
    points = room.labelled(
        model, np.linspace(0.61, 1, 20, dtype=np.float32)[:, None], bounds=room.box(0.6, 1.0)
    )
    for norm in ("linf", "l2"):
        assert not room.run("gradient", model, points, norms=(norm,), eps=(5.0,)).first.outcome["broken"]
        assert (
            len(room.run("certified", model, points, norms=(norm,), eps=(5.0,)).first.outcome["certified"])
            == 20
        )


def test_units_scale_the_ball(room):
    """The second feature's unit is 100 times larger, so only it can carry a point over the border."""
    model = room.torch(room.linear([[-1.0, -1.0], [1.0, 1.0]], [0, 0]))
    bounds = room.box([-10, -1000], [10, 1000], [1.0, 100.0], unit="training range")
    points = room.data(np.array([[5.0, 5.0], [0.4, 30.0]]), [1, 1], bounds=bounds)
    # Reach of x + y: 0.2 * (1 + 100) = 20.2 in Linf, 0.2 * sqrt(1 + 100**2) = 20.0 in L2.
    for norm in ("linf", "l2"):
        assert room.run("gradient", model, points, norms=(norm,), eps=(0.2,)).first.outcome["broken"] == [0]
        assert room.run("certified", model, points, norms=(norm,), eps=(0.2,)).first.outcome["certified"] == [
            1
        ]


def test_a_constant_model_cannot_be_broken_and_is_proved_everywhere(room):
    model = room.torch(room.linear(np.zeros((2, 5)), [1.0, 0.0]))
    points = room.data(np.random.default_rng(0).random((30, 5)), [0] * 20 + [1] * 10)
    gradient = room.run("gradient", model, points, eps=(0.5,))
    query = room.run("query", model, points, eps=(0.5,))
    certified = room.run("certified", model, points, eps=(0.5,))
    for result in (gradient, query):
        for item in result.evidence:
            assert item.outcome["broken"] == []
            assert item.attachments == {}
            assert item.outcome["attacked"] == list(range(20))
    for item in certified.evidence:
        assert item.outcome["certified"] == item.outcome["correct"] == list(range(20))


def test_equal_scores_are_not_proved(room):
    """The decision is the first largest column, so a margin of exactly zero decides nothing in float32."""
    model = room.torch(room.linear(np.zeros((2, 2)), [0.0, 0.0]))
    points = room.data(np.full((1, 2), 0.5), [0])
    assert room.run("certified", model, points, eps=(0.1,)).first.outcome["certified"] == []
