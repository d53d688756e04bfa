from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.fft import dctn

from modelward.threats.evasion.corruption.jpeg import _cosines, compressed, quantisation
from modelward.threats.evasion.corruption.motions import moved
from modelward.threats.evasion.corruption.pictures import PICTURES, clouds, corrupt, disk, line

each = pytest.mark.parametrize("name", sorted(PICTURES))


def images(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def smooth(size=24):
    rows, columns = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    bump = np.exp(-((rows - size / 2) ** 2 + (columns - size / 2) ** 2) / size)
    return np.broadcast_to(bump, (3, 1, size, size)) * 0.8 + 0.1


@each
def test_severity_0_is_the_identity_and_others_are_not(name):
    x = images(4, 3, 16, 12)
    assert corrupt(x, name, 0, np.random.default_rng(0)) is x
    for severity in range(1, 6):
        assert (corrupt(x, name, severity, np.random.default_rng(0)) != x).any()


@each
@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 13, 9), (1, 1, 1, 1)])
def test_any_size_keeps_its_shape_and_range(name, shape):
    x = images(*shape)
    before = x.copy()
    for severity in (1, 5):
        out = corrupt(x, name, severity, np.random.default_rng(1))
        assert out.shape == shape
        assert out.min() >= 0
        assert out.max() <= 1
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("name", sorted({*PICTURES} - {"saturation"}))  # theirs goes down and then up
def test_severities_grow(name):
    """Distance from the clean image, averaged over images and draws."""
    x = np.concatenate([smooth()] * 8)
    x = np.concatenate([x, x[:, :, ::-1] ** 2, 1 - x], axis=1)
    far = [np.abs(corrupt(x, name, s, np.random.default_rng(7)) - x).mean() for s in (1, 2, 3, 4, 5)]
    assert far[-1] > far[0]
    assert sum(b >= a * 0.97 for a, b in pairwise(far)) >= len(far) - 2


@each
def test_the_seed_alone_decides(name):
    x = images(3, 3, 10, 10)
    one, two = (corrupt(x, name, 3, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_noises_have_the_stated_moments():
    random = np.random.default_rng(0)
    x = np.full((50, 1, 40, 40), 0.5)
    gaussian = PICTURES["gaussian noise"][0](x, 0.1, random) - x
    assert gaussian.std() == pytest.approx(0.1, rel=0.01)
    shot = PICTURES["shot noise"][0](x, 25.0, random)
    assert shot.mean() == pytest.approx(0.5, abs=0.003)
    assert shot.var() == pytest.approx(0.5 / 25, rel=0.03)
    speckle = PICTURES["speckle noise"][0](x, 0.2, random) - x
    assert speckle.std() == pytest.approx(0.1, rel=0.01)
    impulse = PICTURES["impulse noise"][0](x, 0.2, random)
    assert (impulse != x).mean() == pytest.approx(0.2, abs=0.005)
    assert set(np.unique(impulse)) == {0.0, 0.5, 1.0}


@pytest.mark.parametrize("name", ["contrast", "saturation", "pixelate"])
def test_means_are_preserved(name):
    function, levels = PICTURES[name]
    x = images(3, 3, 16, 16)
    axes = (1,) if name == "saturation" else (2, 3)
    out = function(x, levels[1], np.random.default_rng(0))
    np.testing.assert_allclose(out.mean(axis=axes), x.mean(axis=axes), atol=1e-9)


@pytest.mark.parametrize("name", ["gaussian blur", "defocus blur", "motion blur", "pixelate", "saturation"])
def test_a_plain_grey_image_stays(name):
    x = np.full((2, 3, 16, 16), 0.25)
    np.testing.assert_allclose(corrupt(x, name, 5, np.random.default_rng(0)), x, atol=1e-9)


def test_kernels_sum_to_1_and_have_their_size():
    for radius in (0.0, 0.3, 1.0, 2.5, 4.0):
        weights = disk(radius)
        assert weights.sum() == pytest.approx(1)
        np.testing.assert_array_equal(weights, weights[::-1, ::-1])
        assert radius < 2 or 1 / weights.max() == pytest.approx(np.pi * radius**2, rel=0.1)
    flat = line(5.0, 0.0)
    assert flat.sum() == pytest.approx(1)
    assert (flat.sum(axis=1) > 0).sum() == 1
    assert (flat.sum(axis=0) > 0).sum() >= 5
    assert line(0.2, 1.0).max() == pytest.approx(1)


def test_pixelated_to_half_are_means_of_two_by_two():
    x = images(1, 1, 8, 8)
    means = x.reshape(1, 1, 4, 2, 4, 2).mean(axis=(3, 5))
    out = PICTURES["pixelate"][0](x, 0.5, np.random.default_rng(0))
    np.testing.assert_allclose(out, np.repeat(np.repeat(means, 2, 2), 2, 3), atol=1e-12)


def test_quarter_turns_are_exact():
    x = images(2, 3, 9, 9)
    none = np.zeros((2, 2))
    for quarters in (0, 1, 2, 3, 4):
        out = moved(x, degrees=np.full(2, 90.0 * quarters), shift=none)
        np.testing.assert_allclose(out, np.rot90(x, quarters, axes=(2, 3)), atol=1e-12)


def test_whole_shifts_are_exact_and_bring_in_zeros():
    x = images(1, 1, 6, 7)
    out = moved(x, degrees=np.zeros(1), shift=np.array([[2.0, -1.0]]))
    np.testing.assert_allclose(out[0, 0, 2:, :-1], x[0, 0, :-2, 1:], atol=1e-12)
    assert (out[0, 0, :2] == 0).all()
    assert (out[0, 0, :, -1] == 0).all()
    half = moved(x, degrees=np.zeros(1), shift=np.array([[0.0, 0.5]]))
    np.testing.assert_allclose(half[0, 0, :, 1:], (x[0, 0, :, 1:] + x[0, 0, :, :-1]) / 2, atol=1e-12)


def test_turning_there_and_back_loses_little_and_scaling_keeps_the_middle():
    x = smooth()
    there = moved(x, degrees=np.full(3, 20.0), shift=np.zeros((3, 2)))
    back = moved(there, degrees=np.full(3, -20.0), shift=np.zeros((3, 2)))
    assert np.abs(back - x)[:, :, 6:-6, 6:-6].max() < 0.03
    odd = images(1, 1, 7, 7)
    assert moved(odd, degrees=np.zeros(1), shift=np.zeros((1, 2)), scale=2.0)[0, 0, 3, 3] == odd[0, 0, 3, 3]


def test_the_cosines_are_those_of_scipy_and_orthonormal():
    block = images(8, 8)
    np.testing.assert_allclose(_cosines() @ block @ _cosines().T, dctn(block, norm="ortho"), atol=1e-12)
    np.testing.assert_allclose(_cosines() @ _cosines().T, np.eye(8), atol=1e-12)


def test_the_table_is_the_standards_at_quality_50_and_plain_at_100():
    assert quantisation(50)[0].tolist() == [16, 11, 10, 16, 24, 40, 51, 61]
    assert (quantisation(100) == 1).all()
    assert quantisation(10)[0, 0] == 80
    x = np.rint(images(2, 1, 11, 16) * 255) / 255
    assert np.abs(compressed(x, 100) - x).max() <= 2.01 / 255
    losses = [np.square(compressed(x, quality) - x).mean() for quality in (100, 75, 25, 5)]
    assert losses == sorted(losses)


def test_clouds_fill_the_range_and_are_smoother_with_decay():
    rough, soft = (clouds(np.random.default_rng(0), (3, 32, 32), decay=decay) for decay in (0.0, 2.5))
    assert rough.min() == soft.min() == 0
    assert rough.max() == soft.max() == pytest.approx(1)
    assert np.abs(np.diff(soft, axis=1)).mean() < 0.3 * np.abs(np.diff(rough, axis=1)).mean()
