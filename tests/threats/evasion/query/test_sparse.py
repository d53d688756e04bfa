from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from modelward.threats.evasion.projection import square_share
from modelward.threats.evasion.query.sparse import Cells, Patches
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat


def touched(x, origin):
    """(m, height, width) which pixels differ, for (m, colours, height, width)."""
    return (x != origin).any(axis=1)


@pytest.fixture
def images(room):
    points = room.data(np.full((6, 3, 8, 8), 0.5), [0] * 6)
    return SimpleNamespace(points=points, index=np.arange(6), origin=points.x)


def test_as_many_pixels_change_as_the_radius_allows_and_to_corner_colours(images):
    moves = Cells(reach(images.points, Threat("l0", 5.0)), 1)
    x = moves.first(images.index)
    for part in (0.8, 0.3, 0.1, 0.01):
        assert (touched(x, images.origin).sum(axis=(1, 2)) == 5).all()
        assert np.isin(x[x != 0.5], [0.0, 1.0]).all()
        new = moves.change(x, images.index, part)
        swapped = (touched(new, images.origin) & ~touched(x, images.origin)).sum(axis=(1, 2))
        assert (swapped <= max(1, round(5 * part))).all()
        assert part < 0.2 or (swapped == max(1, round(5 * part))).all()
        x = new


def test_every_free_pixel_may_change_when_the_radius_covers_the_image(room):
    points = room.data(np.full((4, 2, 2), 0.5), [0] * 4)
    moves = Cells(reach(points, Threat("l0", 99.0)), 0)
    x = moves.first(np.arange(4))
    assert (x != 0.5).all()
    assert (moves.change(x, np.arange(4), 0.01) != 0.5).all()


def test_cells_of_a_table_keep_types_groups_and_immutable_columns(room):
    rows = np.array([[0.1, 2, 1, 0, 0, 0.3], [0.9, 0, 0, 1, 0, 0.4], [0.4, 1, 0, 0, 1, 0.9]])
    kinds = ["real", "category", "boolean", "boolean", "boolean", "real"]
    points = room.table(rows, [0, 0, 0], kinds, onehot={2: "g", 3: "g", 4: "g"}, immutable=(5,))
    where = reach(points, Threat("l0", 2.0))
    moves, index = Cells(where, 3), np.array([0, 0, 1, 1, 2, 2])
    x, seen = moves.first(index), np.zeros(6, np.bool_)
    for _ in range(40):
        x = where.project(moves.change(x, index, 0.3), index).astype(np.float64)
        assert where.admits(x, index).all()
        assert (x[:, 2:5].sum(axis=1) == 1).all()
        assert np.isin(x[:, 1], [0, 1, 2]).all()
        assert (x[:, 5] == rows[index, 5]).all()
        seen |= (x != rows[index]).any(axis=0)
    assert seen.tolist() == [True, True, True, True, True, False]
    inner = x[:, 0][(x[:, 0] != rows[index, 0])]
    assert len(inner) == 0 or (inner >= 0.1).all()


def test_a_patch_is_one_square_of_the_stated_area(images):
    threat = Threat("patch", 0.15)  # 9.6 of 64 pixels: three by three
    where = reach(images.points, threat)
    moves = Patches(where, 5)
    x = moves.first(images.index)
    places = set()
    for part in [0.8] * 20 + [0.1] * 20 + [0.01] * 20:
        pixels = touched(x, images.origin)
        assert (square_share(pixels) <= 0.15).all()
        assert pixels.any(axis=(1, 2)).all()
        assert np.isin(x[x != 0.5], [0.0, 1.0]).all()
        np.testing.assert_array_equal(where.project(x, images.index), x)
        places |= {tuple(np.argwhere(image)[0]) for image in pixels}
        x = moves.change(x, images.index, part)
    assert len(places) > 5


def test_a_patch_smaller_than_a_pixel_changes_nothing(images):
    moves = Patches(reach(images.points, Threat("patch", 0.001)), 5)
    first = moves.first(images.index)
    np.testing.assert_array_equal(first, images.origin)
    np.testing.assert_array_equal(moves.change(first, images.index, 0.5), images.origin)


@pytest.mark.parametrize("kind", ["logits", "labels"])
def test_single_pixels_decide(room, kind):
    """Only pixel (2, 3) is read; one pixel suffices, whatever the model tells."""

    def answer(x):
        on = x[:, 2, 3] > 0.9
        near = np.where(on, 2.0, x[:, 2, 3])
        return np.column_stack([np.ones(len(x)), near]) if kind == "logits" else np.eye(2)[on * 1]

    model = room.callable(answer, kind=kind)
    points = room.data(np.full((3, 5, 6), 0.5), [0, 0, 0])
    result = room.run("query", model, points, norms=("l0",), eps=(1.0,))
    assert result.first.outcome["broken"] == [0, 1, 2]
    changed = room.witnesses(result)["x"] != 0.5
    assert changed[:, 2, 3].all()
    assert changed.sum() == 3


@pytest.mark.parametrize("kind", ["logits", "labels"])
def test_a_sticker_that_covers_the_right_place_is_found(room, kind):
    """The class changes when the mean of a 2 by 2 window leaves the middle by enough."""

    def answer(x):
        mean = x[:, 0, 4:6, 1:3].mean(axis=(1, 2))
        wrong = np.abs(mean - 0.5)
        return (
            np.column_stack([np.full(len(x), 0.45), wrong])
            if kind == "logits"
            else np.eye(2)[(wrong > 0.45) * 1]
        )

    model = room.callable(answer, kind=kind)
    points = room.data(np.full((3, 1, 8, 8), 0.5), [0, 0, 0])
    result = room.run("query", model, points, norms=("patch",), eps=(0.26,))
    assert result.first.outcome["broken"] == [0, 1, 2]
    kept = room.witnesses(result)["x"]
    assert (square_share((kept != 0.5).any(axis=1)) <= 0.26).all()
    assert room.run("query", model, points, norms=("patch",), eps=(0.01,)).first.outcome["broken"] == []
