"""Compression against the tables of its standard and a transform written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.threats.evasion.corruption.jpeg import compressed, quantisation


def slow(block, table):
    """One block of 8 by 8 in [0, 255] by the sums of annex A.3.3."""
    place = np.arange(8)
    wave = np.cos((2 * place[:, None] + 1) * place[None] * np.pi / 16)  # place, frequency
    size = np.where(place == 0, 1 / np.sqrt(2), 1.0)
    forward = np.einsum("xy,xu,yv->uv", block - 128.0, wave, wave) * np.outer(size, size) / 4
    kept = np.rint(forward / table) * table
    back = np.einsum("uv,xu,yv->xy", kept * np.outer(size, size), wave, wave) / 4
    return np.clip(np.rint(back + 128), 0, 255)


def test_known_entries_of_the_table():
    """libjpeg: quality 50 is the table of annex K itself, 100 is all ones, 25 doubles it."""
    np.testing.assert_array_equal(quantisation(50)[0], [16, 11, 10, 16, 24, 40, 51, 61])
    assert quantisation(50)[7, 7] == 99
    assert (quantisation(100) == 1).all()
    np.testing.assert_array_equal(quantisation(25)[0], [32, 22, 20, 32, 48, 80, 102, 122])
    assert quantisation(75)[0, 0] == 8
    assert (quantisation(1) == 255).all()


@given(st.integers(1, 99))
def test_worse_quality_never_has_finer_steps(quality):
    worse, better = quantisation(quality), quantisation(quality + 1)
    assert (worse >= better).all()
    assert worse.min() >= 1
    assert worse.max() <= 255


@pytest.mark.parametrize("quality", [7, 25, 50, 90])
def test_blocks_are_those_of_the_standard(quality):
    x = np.rint(np.random.default_rng(0).random((2, 3, 16, 24)) * 255) / 255
    out, same = compressed(x, quality) * 255, []
    for image in range(2):
        for colour in range(3):
            for top in (0, 8):
                for left in (0, 8, 16):
                    window = (image, colour, slice(top, top + 8), slice(left, left + 8))
                    expected = slow(x[window] * 255, quantisation(quality))
                    same.append(np.allclose(out[window], expected))
    # A cosine that is a half of a step exactly may be rounded either way, which moves its block.
    assert np.mean(same) > 0.8


@pytest.mark.parametrize("value", [0, 128 / 255, 1])
def test_a_plain_image_of_these_greys_stays(value):
    x = np.full((1, 1, 8, 8), value)
    np.testing.assert_allclose(compressed(x, 50), x, atol=4.5 / 255)
    np.testing.assert_allclose(compressed(x, 100), x, atol=1e-12)


def test_the_best_quality_loses_little_and_the_worst_much():
    x = np.random.default_rng(0).random((3, 1, 16, 16))
    far = [np.abs(compressed(x, quality) - x).mean() for quality in (100, 90, 50, 25, 7, 1)]
    assert far == sorted(far)
    assert far[0] < 1 / 255
    assert far[-1] > 20 * far[0]


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 2, 3, 9), (2, 1, 8, 15), (1, 1, 17, 7)])
def test_blocks_at_the_border_repeat_it(shape):
    """A border that is no multiple of 8 is that of the image with its last pixels repeated."""
    x = np.random.default_rng(1).random(shape)
    height, width = shape[2:]
    whole = np.pad(x, ((0, 0), (0, 0), (0, -height % 8), (0, -width % 8)), mode="edge")
    out = compressed(x, 20)
    assert out.shape == shape
    np.testing.assert_array_equal(out, compressed(whole, 20)[:, :, :height, :width])


def test_blocks_do_not_see_each_other():
    x = np.random.default_rng(2).random((1, 1, 8, 16))
    other = x.copy()
    other[..., 8:] = 0.5
    np.testing.assert_array_equal(compressed(x, 30)[..., :8], compressed(other, 30)[..., :8])


@given(st.integers(0, 999), st.integers(1, 100))
def test_values_are_whole_shades_within_range(seed, quality):
    x = np.random.default_rng(seed).random((1, 1, 8, 8))
    out = compressed(x, quality) * 255
    np.testing.assert_allclose(out, np.rint(out), atol=1e-9)
    assert out.min() >= 0
    assert out.max() <= 255


def test_fine_stripes_vanish_before_coarse_ones():
    columns = np.arange(8)
    fine = np.broadcast_to(0.5 + 0.06 * (-1.0) ** columns, (1, 1, 8, 8))
    coarse = np.broadcast_to(0.5 + 0.06 * np.where(columns < 4, 1, -1), (1, 1, 8, 8))
    assert np.ptp(compressed(fine, 10)) < 0.3 * np.ptp(fine)
    assert np.ptp(compressed(coarse, 10)) > 0.5 * np.ptp(coarse)
