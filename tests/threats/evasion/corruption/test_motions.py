"""Turns, shifts and scales against scipy's interpolation, and against what geometry demands of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import map_coordinates

from modelward.threats.evasion.corruption.motions import moved, sampled

UNIT = st.floats(0, 1, width=32)
IMAGES = hnp.arrays(np.float64, st.tuples(st.just(1), st.integers(1, 2), st.integers(1, 7), st.integers(1, 7)),
                    elements=UNIT)  # fmt: skip


def by_hand(plane, degrees, shift, scale):
    """One plane, pixel by pixel: where does what is shown here come from?"""
    height, width = plane.shape
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    angle = np.deg2rad(degrees)
    out = np.zeros_like(plane)
    for row in range(height):
        for column in range(width):
            down, right = np.array([row, column]) - middle - shift
            at = (
                (np.cos(angle) * down + np.sin(angle) * right) / scale + middle[0],
                (-np.sin(angle) * down + np.cos(angle) * right) / scale + middle[1],
            )
            out[row, column] = bilinear(plane, *np.round(at, 9))
    return out


def bilinear(plane, row, column):
    total = 0.0
    for i in (int(np.floor(row)), int(np.floor(row)) + 1):
        for j in (int(np.floor(column)), int(np.floor(column)) + 1):
            if 0 <= i < plane.shape[0] and 0 <= j < plane.shape[1]:
                total += plane[i, j] * max(0, 1 - abs(row - i)) * max(0, 1 - abs(column - j))
    return total


@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (1, 6), (6, 1)])
@pytest.mark.parametrize(
    ("degrees", "shift", "scale"),
    [
        (0, (0, 0), 1),
        (17, (0, 0), 1),
        (-31, (0.4, -1.3), 1),
        (0, (2, -1), 1),
        (90, (0, 0), 0.7),
        (5, (1, 1), 1.6),
    ],
)
def test_every_pixel_agrees_with_the_definition(shape, degrees, shift, scale):
    plane = np.random.default_rng(0).random(shape)
    out = moved(
        plane[None, None],
        degrees=np.array([float(degrees)]),
        shift=np.array([shift], float),
        scale=float(scale),
    )
    np.testing.assert_allclose(out[0, 0], by_hand(plane, degrees, np.array(shift), scale), atol=1e-9)


@given(IMAGES, st.integers(0, 2**32 - 1))
def test_samples_between_pixels_are_those_of_scipy(images, seed):
    """Within the image; beyond its border scipy fades differently, and ours is 0 from one pixel on."""
    random = np.random.default_rng(seed)
    height, width = images.shape[2:]
    rows, columns = random.uniform(0, height - 1, (1, 4, 3)), random.uniform(0, width - 1, (1, 4, 3))
    out = sampled(images, rows, columns)
    for colour in range(images.shape[1]):
        theirs = map_coordinates(images[0, colour], [rows[0], columns[0]], order=1)
        np.testing.assert_allclose(out[0, colour], theirs, atol=1e-7)


@given(IMAGES, st.floats(-50, 50), st.floats(-50, 50))
def test_far_outside_there_is_nothing(images, down, right):
    height, width = images.shape[2:]
    out = sampled(images, np.full((1, 1, 1), down), np.full((1, 1, 1), right))
    beyond = down <= -1 or down >= height or right <= -1 or right >= width
    assert not beyond or (out == 0).all()
    assert (out >= 0).all()
    assert (out <= images.max() + 1e-12).all()


@given(IMAGES)
def test_pixels_themselves_are_exact(images):
    rows, columns = np.indices(images.shape[2:])
    np.testing.assert_array_equal(sampled(images, rows[None] * 1.0, columns[None] * 1.0), images)


@given(IMAGES, st.integers(-8, 8), st.integers(-8, 8))
def test_whole_shifts_copy_pixels(images, down, right):
    out = moved(images, degrees=np.zeros(1), shift=np.array([[down, right]], float))
    height, width = images.shape[2:]
    whole = np.zeros((*images.shape[:2], height + 32, width + 32))
    whole[:, :, 16 + down : 16 + down + height, 16 + right : 16 + right + width] = images
    np.testing.assert_array_equal(out, whole[:, :, 16 : 16 + height, 16 : 16 + width])


@given(IMAGES, st.floats(-180, 180), st.floats(-3, 3), st.floats(-3, 3), st.floats(0.3, 3))
@settings(max_examples=50)
def test_motions_are_linear_in_the_image(images, degrees, down, right, scale):
    how = {"degrees": np.array([degrees]), "shift": np.array([[down, right]]), "scale": scale}
    other = images[:, :, ::-1, ::-1]
    together = moved(0.3 * images + 0.6 * other, **how)
    np.testing.assert_allclose(together, 0.3 * moved(images, **how) + 0.6 * moved(other, **how), atol=1e-12)


@pytest.mark.parametrize("quarter", [1, 2, 3, -1, 5])
def test_quarter_turns_go_counter_clockwise(quarter):
    x = np.random.default_rng(0).random((1, 2, 6, 6))
    out = moved(x, degrees=np.array([90.0 * quarter]), shift=np.zeros((1, 2)))
    np.testing.assert_array_equal(out, np.rot90(x, quarter, axes=(2, 3)))


def test_a_turn_there_and_back_keeps_the_middle():
    rows, columns = np.indices((31, 31)) - 15
    x = np.exp(-(rows**2 + columns**2 + rows * columns) / 60)[None, None]
    there = moved(x, degrees=np.array([40.0]), shift=np.zeros((1, 2)))
    back = moved(there, degrees=np.array([-40.0]), shift=np.zeros((1, 2)))
    inner = (slice(None), slice(None), slice(8, 23), slice(8, 23))
    assert np.abs(there - x)[inner].max() > 0.1
    np.testing.assert_allclose(back[inner], x[inner], atol=0.03)


def test_scales_magnify_about_the_centre():
    x = np.zeros((1, 1, 9, 9))
    x[:, :, 3:6, 3:6] = 1.0
    larger = moved(x, degrees=np.zeros(1), shift=np.zeros((1, 2)), scale=2.0)
    assert larger.sum() == pytest.approx(4 * 9, rel=0.2)
    np.testing.assert_allclose(larger, larger[:, :, ::-1, ::-1], atol=1e-12)
    smaller = moved(x, degrees=np.zeros(1), shift=np.zeros((1, 2)), scale=0.5)
    assert smaller[0, 0, 4, 4] == 1.0
    assert (smaller > 0).sum() <= 9


def test_each_image_has_its_own_motion():
    x = np.random.default_rng(0).random((3, 2, 5, 5))
    degrees, shift = np.array([0.0, 90.0, 10.0]), np.array([[0, 0], [1, 0], [0.5, 0.2]], float)
    scale = np.array([1.0, 1.2, 0.8])
    together = moved(x, degrees=degrees, shift=shift, scale=scale)
    for i in range(3):
        alone = moved(x[i : i + 1], degrees=degrees[i : i + 1], shift=shift[i : i + 1], scale=scale[i])
        np.testing.assert_array_equal(together[i : i + 1], alone)


def test_the_input_is_left_as_it_was():
    x = np.random.default_rng(0).random((2, 1, 5, 5))
    before = x.copy()
    moved(x, degrees=np.array([12.0, 3.0]), shift=np.ones((2, 2)))
    np.testing.assert_array_equal(x, before)
