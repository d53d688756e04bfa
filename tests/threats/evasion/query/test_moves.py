"""What each kind of random change proposes, whatever the norm, the layout and the columns."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.threats.evasion.query.sparse import Cells, Patches
from modelward.threats.evasion.query.square import Squares, _around, _bump, _halves
from modelward.threats.evasion.query.subsets import Subsets
from modelward.threats.evasion.query.walk import Schedule, margins
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat

POWER = {"linf": np.inf, "l2": 2, "l1": 1}
KINDS = ["real", "category", "boolean", "boolean", "real"]


def lengths(change, norm):
    return np.linalg.norm(change.reshape(len(change), -1), POWER[norm], axis=1)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("shape", [(6, 6), (3, 6, 7), (6, 7, 3), (1, 1, 1), (2, 9)])
def test_squares_stay_in_their_ball_through_many_moves(room, norm, shape):
    points = room.data(np.full((4, *shape), 0.5), [0] * 4)
    moves, index = Squares(reach(points, Threat(norm, 0.3)), 1), np.arange(4)
    x = moves.first(index)
    assert x.shape == points.x.shape
    for part in (0.8, 0.5, 0.2, 0.05, 0.01) * 4:
        assert (lengths(x - 0.5, norm) <= 0.3 * (1 + 1e-9)).all()
        assert (lengths(x - 0.5, norm) >= 0.3 * (1 - 1e-6)).all()
        new = moves.change(x, index, part)
        assert np.isfinite(new).all()
        x = new


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_squares_change_something_and_leave_their_input_alone(room, norm):
    points = room.data(np.full((6, 3, 8, 8), 0.5), [0] * 6)
    moves, index = Squares(reach(points, Threat(norm, 0.3)), 1), np.arange(6)
    x = moves.first(index)
    before = x.copy()
    new = moves.change(x, index, 0.1)
    np.testing.assert_array_equal(x, before)
    assert (new != x).reshape(6, -1).any(axis=1).all()
    if norm == "linf":
        rows, columns = np.nonzero((new != x).any(axis=(0, 1)))
        side = round(np.sqrt(0.1 * 64))
        for image in (new != x).any(axis=1):
            at = np.argwhere(image)
            assert (at.max(axis=0) - at.min(axis=0) < side).all()
        assert len(rows) == len(columns)


@given(st.integers(1, 14), st.integers(1, 14))
def test_bumps_have_length_1_whatever_their_sides(side, height):
    bump = _bump(side, height)
    assert bump.shape == (height, side)
    assert (bump > 0).all()
    assert np.square(bump).sum() == pytest.approx(1)
    two = _halves(side)
    assert two.shape == (side, side)
    assert np.square(two).sum() == pytest.approx(1)
    assert side == 1 or (two.min() < 0 < two.max())


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_the_fullest_window_holds_the_largest_entry_and_lies_in_the_plane(height, width, data):
    side = data.draw(st.integers(1, min(height, width)))
    mass = np.random.default_rng(data.draw(st.integers(0, 999))).random((height, width))
    window = _around(mass, side)[1:]
    assert mass[window].shape == (side, side)
    assert mass[window].max() == mass.max()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("part", [1.0, 0.3, 0.01])
def test_subsets_keep_codes_groups_and_immutable_columns(room, norm, part):
    rows = np.array([[0.0, 0, 1, 0, 3.0], [1.0, 2, 0, 1, 5.0], [0.5, 1, 1, 0, 4.0]])
    points = room.table(rows, [0] * 3, KINDS, onehot={2: "g", 3: "g"}, immutable=(4,))
    moves, index = Subsets(reach(points, Threat(norm, 0.2)), 1), np.array([0, 0, 1, 2])
    x = moves.first(index)
    seen = set()
    for _ in range(30):
        x = moves.change(x, index, part)
        assert (np.abs(x[:, 0] - rows[index, 0]) <= 0.2 + 1e-9).all()
        assert np.isin(x[:, 1], [0, 1, 2]).all()
        assert (x[:, 2] + x[:, 3] == 1).all()
        assert np.isin(x[:, 2:4], [0, 1]).all()
        np.testing.assert_array_equal(x[:, 4], rows[index, 4])
        seen |= set(x[:, 1])
    assert seen == {0.0, 1.0, 2.0}


def test_subsets_of_nothing_but_categories_change_them(room):
    points = room.table([[0, 1], [2, 0], [1, 1]], [0] * 3, ["category", "category"])
    moves = Subsets(reach(points, Threat("linf", 0.1)), 0)
    x = moves.first(np.arange(3))
    np.testing.assert_array_equal(x, points.x)
    changed = np.array([moves.change(x, np.arange(3), 1.0) for _ in range(20)])
    assert set(changed[:, :, 0].ravel()) == {0.0, 1.0, 2.0}


@given(st.sampled_from([1.0, 2.0, 3.0, 5.0]), st.sampled_from([0.8, 0.3, 0.05]), st.integers(0, 999))
@settings(max_examples=30)
def test_cells_never_exceed_the_radius(eps, part, seed):
    from types import SimpleNamespace

    from modelward.core.data import Box, Dataset
    from modelward.core.subject import Subject

    box = Box(lower=np.zeros(()), upper=np.ones(()), scale=np.ones(()), unit="box width", source="stated")
    points = Dataset(
        subject=Subject(kind="dataset", name="p", digest="sha256:p"), x=np.full((3, 2, 4, 5), 0.5),
        y=np.zeros(3, np.int64), labels=("0",), rows=np.arange(3), total=3, box=box,
    )  # fmt: skip
    tools = SimpleNamespace(moves=Cells(reach(points, Threat("l0", eps)), seed), index=np.array([0, 1, 1, 2]))
    x = tools.moves.first(tools.index)
    for _ in range(6):
        pixels = (x != 0.5).any(axis=1).reshape(4, -1).sum(axis=1)
        assert (pixels <= eps).all()
        assert (pixels >= 1).all()
        x = tools.moves.change(x, tools.index, part)


@pytest.mark.parametrize("shape", [(6, 8), (3, 6, 8), (6, 8, 3)])
def test_patches_show_one_square_in_any_layout(room, shape):
    points = room.data(np.random.default_rng(0).uniform(0.2, 0.8, (3, *shape)), [0] * 3)
    where = reach(points, Threat("patch", 0.2))
    moves, index = Patches(where, 2), np.arange(3)
    x = moves.first(index)
    for part in [0.8] * 10 + [0.05] * 20:
        assert where.admits(x, index).all()
        x = moves.change(x, index, part)
    assert (x != points.x).reshape(3, -1).any(axis=1).all()


def test_patches_of_the_whole_image_stay_where_they_are(room):
    points = room.data(np.full((2, 1, 4, 4), 0.5), [0, 0])
    moves = Patches(reach(points, Threat("patch", 1.0)), 2)
    x = moves.first(np.arange(2))
    for _ in range(20):
        x = moves.change(x, np.arange(2), 0.5)
        assert (x != 0.5).all()


@pytest.mark.parametrize("make", [Squares, Subsets, Cells, Patches])
def test_the_seed_alone_decides(room, make):
    threat = {Cells: Threat("l0", 3.0), Patches: Threat("patch", 0.2)}.get(make, Threat("l2", 0.3))
    points = room.data(np.full((3, 1, 6, 6), 0.5), [0] * 3)
    index, drawn = np.arange(3), []
    for seed in (4, 4, 5):
        moves = make(reach(points, threat), seed)
        x = moves.first(index)
        for _ in range(3):
            x = moves.change(x, index, 0.3)
        drawn.append(x)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


@given(st.integers(1, 20_000), st.floats(0.01, 1.0))
def test_parts_only_shrink(queries, part):
    schedule = Schedule(queries=queries, part=part, guided=True)
    parts = [schedule.part_at(at) for at in np.linspace(0, queries, 30).astype(int)]
    assert parts[0] == part
    assert all(a >= b > 0 for a, b in pairwise(parts))
    assert parts[-1] == part / 2**9
    flat = Schedule(queries=queries, part=part, guided=False)
    assert {flat.part_at(at) for at in (0, queries // 2, queries)} == {part}


@given(st.integers(2, 6), st.integers(0, 999))
def test_margins_are_positive_exactly_where_the_answer_is_right(classes, seed):
    random = np.random.default_rng(seed)
    scores, target = random.standard_normal((9, classes)), random.integers(0, classes, 9)
    found = margins(scores, target, "logits")
    np.testing.assert_array_equal(found > 0, scores.argmax(axis=1) == target)
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(margins(shares, target, "probabilities"), found, atol=1e-9)


def test_margins_of_certain_answers_are_finite():
    sure = margins(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 0]), "probabilities")
    assert np.isfinite(sure).all()
    assert sure[0] == -sure[1] > 600
