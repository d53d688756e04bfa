"""Transposed convolutions and windows, beside what autograd and plain slicing say."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from modelward.threats.evasion.bounds import windows
from modelward.threats.evasion.bounds.enclosure import Enclosure
from modelward.threats.evasion.bounds.rows import Known, Rows, drawn
from modelward.threats.evasion.bounds.steps import BLOCK, Rectified, total
from modelward.threats.evasion.bounds.windows import Geometry, Window

LAYERS = {
    "plain": (3, (1, 1), (0, 0), (1, 1), 1),
    "strided": (4, (2, 2), (1, 1), (1, 1), 1),
    "uneven": (3, (2, 1), (1, 0), (1, 1), 1),
    "dilated": (3, (1, 1), (2, 2), (2, 2), 1),
    "grouped": (3, (1, 2), (1, 1), (1, 1), 2),
    "ends unread": (2, (3, 3), (0, 0), (1, 1), 1),
}


def layer(name, *, inputs=4, outputs=6, dtype=torch.float32):
    side, stride, padding, dilation, groups = LAYERS[name]
    torch.manual_seed(len(name))
    weight = torch.randn(outputs, inputs // groups, side, side, dtype=dtype)
    reach = (dilation[0] * (side - 1), dilation[1] * (side - 1))
    geometry = Geometry(stride, padding, dilation, reach, groups)
    return SimpleNamespace(
        weight=weight,
        geometry=geometry,
        run=lambda x: functional.conv2d(x, weight, None, stride, padding, dilation, groups),
    )


def transposed(conv, values, shape):
    """By autograd."""
    start = torch.zeros((len(values), *shape), dtype=values.dtype, requires_grad=True)
    (found,) = torch.autograd.grad(conv.run(start), start, values)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("inputs", [2, 12])  # a product with the taps, and the library's own
@pytest.mark.parametrize("name", LAYERS)
def test_the_transpose_is_that_of_autograd(name, inputs, dtype):
    conv = layer(name, inputs=inputs, dtype=dtype)
    for plane in ((8, 8), (9, 7)):
        out = conv.run(torch.zeros((1, inputs, *plane), dtype=dtype)).shape[1:]
        values = torch.randn((5, *out), dtype=dtype)
        found = conv.geometry.spread(values, conv.weight, plane)
        assert found.is_contiguous()
        torch.testing.assert_close(found, transposed(conv, values, (inputs, *plane)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [3, 400])  # taps one by one, and a matrix for whole windows
@pytest.mark.parametrize("name", LAYERS)
def test_windows_widen_as_images_do(name, rows):
    conv = layer(name)
    values = torch.randn(rows, 6, 2, 3)
    found = conv.geometry.widen(values, conv.weight)
    height, width = conv.geometry.grown((2, 3))
    bare = Geometry(conv.geometry.stride, (0, 0), conv.geometry.dilation, conv.geometry.reach, 1)
    side, stride, _, dilation, groups = LAYERS[name]
    start = torch.zeros((rows, 4, height, width), requires_grad=True)
    ahead = functional.conv2d(start, conv.weight, None, stride, 0, dilation, groups)
    (wanted,) = torch.autograd.grad(ahead, start, values)
    assert found.shape == start.shape
    assert bare.grown((1, 1)) == tuple(gap * (side - 1) + 1 for gap in dilation)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_matrix_for_whole_windows_holds_every_tap_exactly_once():
    """Its products are the taps' products and exact zeros: rounding is counted by the taps alone."""
    conv = layer("strided", inputs=4, outputs=2)
    unit = torch.eye(2 * 2 * 2).reshape(-1, 2, 2, 2)
    matrix = conv.geometry.widen(unit, conv.weight)
    taps = sorted(conv.weight.flatten().tolist() * 4)
    assert sorted(matrix[matrix != 0].tolist()) == taps


@pytest.mark.parametrize("table", [1 << 22, 0])
def test_windows_are_what_slicing_gives(monkeypatch, table):
    monkeypatch.setattr(windows, "_TABLE", table)
    tensor = torch.randn(2, 3, 7, 9)
    place = torch.arange(4 * 5)
    window = Window(place, (4, 5))
    for name in ("strided", "plain"):
        window.grow(layer(name).geometry)
    point = torch.arange(20) % 2
    found = window.gather(tensor, point, lambda compute: compute())
    wide = functional.pad(tensor, (20, 20, 20, 20))
    for row, at in enumerate(place.tolist()):
        top, left = (
            20 + window.offset[0] + (at // 5) * window.stride[0],
            20 + window.offset[1] + (at % 5) * window.stride[1],
        )
        part = wide[int(point[row]), :, top : top + window.size[0], left : left + window.size[1]]
        torch.testing.assert_close(found[row], part)
    window.reset()
    assert window.key == ((4, 5), (1, 1), (0, 0), (1, 1))


def test_windows_end_where_the_image_ends():
    window = Window(torch.arange(16), (4, 4))
    rows = Rows(torch.zeros(16, dtype=torch.int64), torch.float32, window=window)
    window.grow(layer("strided").geometry)
    inside = rows.inside((1, 3, 8, 8))
    count = inside.sum(dim=(1, 2, 3)).reshape(4, 4)
    assert count[0].tolist() == [9, 12, 12, 9]
    assert count[1].tolist() == [12, 16, 16, 12]
    assert inside.dtype == torch.float32
    with pytest.raises(AssertionError, match="without windows"):
        Rows(torch.zeros(1, dtype=torch.int64)).inside((1, 3, 8, 8))


def test_sums_of_float32_go_on_in_float64():
    for width in (3, BLOCK * BLOCK - 1, BLOCK * BLOCK, 5000):
        terms = torch.randn(4, width)
        terms[:, ::2] *= 1e6
        exact = [math.fsum(row) for row in terms.double().tolist()]
        size = terms.abs().double().sum(dim=1)
        error = (total(terms) - torch.tensor(exact, dtype=torch.float64)).abs()
        assert (error <= BLOCK * 2.0**-24 * size).all()
        assert total(terms).dtype == torch.float64
        wide = total(terms.double())
        torch.testing.assert_close(wide, torch.tensor(exact, dtype=torch.float64), rtol=1e-12, atol=1e-6)


def test_lines_around_relu_hold_for_every_slope_allowed():
    ends = torch.tensor([-3.0, -1.0, -1e-30, 0.0, 1e-30, 2.0], dtype=torch.float64)
    pairs = torch.tensor([(low, high) for low, high in itertools.product(ends, ends) if low <= high])
    lines, slopes = drawn(*pairs.double().T)
    for share in torch.linspace(0, 1, 11, dtype=torch.float64):
        z = pairs[:, 0] + share * (pairs[:, 1] - pairs[:, 0])
        value = z.clamp_min(0)
        assert (lines.above * z + lines.height >= value - 1e-12).all()
        for slope in (lines.below, slopes.least, slopes.most, (slopes.least + slopes.most) / 2):
            assert (slope * z <= value + 1e-12).all()
    unknown = (pairs[:, 0] < 0) & (pairs[:, 1] > 0)
    assert torch.equal(slopes.open, unknown)
    assert torch.equal(slopes.least[~unknown], lines.below[~unknown])


def test_rows_share_what_does_not_depend_on_them():
    value = Enclosure(-torch.rand(2, 3, 4, 4).double(), torch.rand(2, 3, 4, 4).double())
    step, known = Rectified(value), Known()
    for part in (torch.tensor([0, 1]), torch.tensor([1])):
        rows = Rows(part, torch.float32, known=known)
        lines = rows.lines(step)
        torch.testing.assert_close(lines.height, known.lines(step, torch.float32)[0].height[part])
        torch.testing.assert_close(rows.of(value.lower), value.lower.float()[part])
        torch.testing.assert_close(rows.floor(step), value.largest.sum(dim=(1, 2, 3)).index_select(0, part))
    asked = []
    for _ in range(2):
        known.keep("key", None, lambda: asked.append(1) or torch.ones(1))
    assert asked == [1]
    assert known.cast(value.lower, torch.float32) is known.cast(value.lower, torch.float32)
