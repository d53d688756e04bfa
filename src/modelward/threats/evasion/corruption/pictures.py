"""Common corruptions of images, five severities each; severity 0 changes nothing.

After Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (arXiv 1903.12261v1, section 3 and appendix B). Their code is bound to 224 by 224 pixels and
three colours; here lengths are shares of the shorter side, so figures compare only with those of this table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from modelward.threats.evasion.corruption.jpeg import compressed
from modelward.threats.evasion.corruption.motions import moved, sampled

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.numeric.types import FloatArray

    Corruption: TypeAlias = Callable[[FloatArray, float, np.random.Generator], FloatArray]

_SUPERSAMPLING: Final = 5
_SMALLEST: Final = 0.75


def gaussian_noise(x: FloatArray, deviation: float, random: np.random.Generator) -> FloatArray:
    """Independent noise on every value."""
    return x + deviation * random.standard_normal(x.shape)


def shot_noise(x: FloatArray, photons: float, random: np.random.Generator) -> FloatArray:
    """Poisson counts of so many photons at full brightness."""
    return random.poisson(np.clip(x, 0.0, 1.0) * photons) / photons


def impulse_noise(x: FloatArray, share: float, random: np.random.Generator) -> FloatArray:
    """A share of the values is black or white."""
    hit, white = random.random(x.shape) < share, random.random(x.shape) < 0.5
    return np.where(hit, np.where(white, 1.0, 0.0), x)


def speckle_noise(x: FloatArray, deviation: float, random: np.random.Generator) -> FloatArray:
    """Noise in proportion to brightness."""
    return x + x * deviation * random.standard_normal(x.shape)


def gaussian_blur(x: FloatArray, share: float, random: np.random.Generator) -> FloatArray:
    """A bell of a deviation of a share of the side."""
    from scipy.ndimage import gaussian_filter

    del random
    width = share * min(x.shape[2:])
    return np.asarray(gaussian_filter(x, (0.0, 0.0, width, width), mode="nearest"), np.float64)


def defocus_blur(x: FloatArray, share: float, random: np.random.Generator) -> FloatArray:
    """A disk of a radius of a share of the side, never so small that it stays within its pixel."""
    del random
    return _convolved(x, disk(max(_SMALLEST, share * min(x.shape[2:]))))


def motion_blur(x: FloatArray, share: float, random: np.random.Generator) -> FloatArray:
    """A straight line of a length of a share of the side, two pixels at least, in a random direction."""
    length = max(2.0, share * min(x.shape[2:]))
    angles = random.uniform(0.0, np.pi, len(x))
    out = np.empty_like(x)
    for i, angle in enumerate(angles):
        out[i] = _convolved(x[i : i + 1], line(length, angle))[0]
    return out


def brightness(x: FloatArray, more: float, random: np.random.Generator) -> FloatArray:
    """The same light added everywhere."""
    del random
    return x + more


def contrast(x: FloatArray, factor: float, random: np.random.Generator) -> FloatArray:
    """Distances to each colour's mean shrink to a factor; the mean stays."""
    del random
    mean = x.mean(axis=(2, 3), keepdims=True)
    return np.asarray(mean + (x - mean) * factor)


def saturation(x: FloatArray, factor: float, random: np.random.Generator) -> FloatArray:
    """Distances to the grey of each pixel grow by a factor; nothing happens to a single colour."""
    del random
    grey = x.mean(axis=1, keepdims=True)
    return np.asarray(grey + (x - grey) * factor)


def pixelate(x: FloatArray, share: float, random: np.random.Generator) -> FloatArray:
    """Shrunk to a share of its size by areas, and enlarged by nearest pixels."""
    del random
    for axis in (2, 3):
        size = x.shape[axis]
        small = max(1, round(share * size))
        edges = np.arange(small + 1) * size / small
        inner = np.arange(size)
        weights = np.clip(np.minimum(edges[1:, None], inner + 1) - np.maximum(edges[:-1, None], inner), 0, 1)
        weights /= weights.sum(axis=1, keepdims=True)
        nearest = np.minimum((inner + 0.5) * small / size, small - 1).astype(np.int64)
        x = np.moveaxis(np.tensordot(x, weights[nearest], axes=(axis, 1)), -1, axis)
    return x


def jpeg(x: FloatArray, quality: float, random: np.random.Generator) -> FloatArray:
    """Quantised cosines of blocks of 8 by 8."""
    del random
    return compressed(x, quality)


def fog(x: FloatArray, thickness: float, random: np.random.Generator) -> FloatArray:
    """Light added in clouds, and everything dimmed so that the brightest value stays."""
    cloud = clouds(random, (len(x), *x.shape[2:]), decay=1.5)[:, None]
    most = x.max(axis=(1, 2, 3), keepdims=True)
    return np.asarray((x + thickness * cloud) * most / np.maximum(most + thickness, 1e-12))


def elastic(x: FloatArray, share: float, random: np.random.Generator) -> FloatArray:
    """Every pixel displaced by a smooth random field; the largest way is a share of the side."""
    height, width = x.shape[2:]
    ways = 2 * clouds(random, (2 * len(x), height, width), decay=2.5) - 1
    ways *= share * min(height, width)
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    at = (np.clip(rows + ways[: len(x)], 0, height - 1), np.clip(columns + ways[len(x) :], 0, width - 1))
    return sampled(x, *at)


def translation(x: FloatArray, share: float, random: np.random.Generator) -> FloatArray:
    """Shifted by a share of each side in one of eight directions."""
    ways = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j])[random.integers(0, 8, len(x))]
    return moved(x, degrees=np.zeros(len(x)), shift=ways * share * np.array(x.shape[2:]))


def rotation(x: FloatArray, degrees: float, random: np.random.Generator) -> FloatArray:
    """Turned left or right."""
    signs = random.integers(0, 2, len(x)) * 2.0 - 1.0
    return moved(x, degrees=np.asarray(degrees * signs, np.float64), shift=np.zeros((len(x), 2)))


def scaling(x: FloatArray, factor: float, random: np.random.Generator) -> FloatArray:
    """Larger or smaller by a factor."""
    grow = random.integers(0, 2, len(x)) == 1
    return moved(
        x,
        degrees=np.zeros(len(x)),
        shift=np.zeros((len(x), 2)),
        scale=np.where(grow, factor, 1 / factor),
    )


PICTURES: Final[dict[str, tuple[Corruption, tuple[float, float, float, float, float]]]] = {
    "gaussian noise": (gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot noise": (shot_noise, (60, 25, 12, 5, 3)),
    "impulse noise": (impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "speckle noise": (speckle_noise, (0.15, 0.2, 0.35, 0.45, 0.6)),
    "gaussian blur": (gaussian_blur, (0.015, 0.025, 0.035, 0.045, 0.06)),
    "defocus blur": (defocus_blur, (0.02, 0.03, 0.045, 0.06, 0.08)),
    "motion blur": (motion_blur, (0.06, 0.1, 0.14, 0.18, 0.24)),
    "brightness": (brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "saturation": (saturation, (0.6, 0.3, 2.0, 5.0, 20.0)),
    "pixelate": (pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg": (jpeg, (25, 18, 15, 10, 7)),
    "fog": (fog, (0.5, 0.8, 1.2, 1.6, 2.0)),
    "elastic": (elastic, (0.02, 0.03, 0.05, 0.07, 0.1)),
    "translation": (translation, (0.03, 0.06, 0.09, 0.12, 0.16)),
    "rotation": (rotation, (5, 10, 15, 22, 30)),
    "scale": (scaling, (1.05, 1.1, 1.2, 1.3, 1.45)),
}
"""Name to function and the parameter of severities 1 to 5."""


def corrupt(x: FloatArray, name: str, severity: int, random: np.random.Generator) -> FloatArray:
    """One corruption of images, cut to [0, 1].

    Args:
        x: (n, colours, height, width) in [0, 1].
        name: of `PICTURES`.
        severity: 0 (nothing happens) to 5.
        random: of whatever the corruption draws.
    """
    if severity == 0:
        return x
    function, levels = PICTURES[name]
    return np.clip(function(x, levels[severity - 1], random), 0.0, 1.0)


def disk(radius: float) -> FloatArray:
    """Weights of a disk, sum 1; pixels on its edge count by the share of them inside."""
    reach = int(np.ceil(radius))
    fine = (np.arange((2 * reach + 1) * _SUPERSAMPLING) + 0.5) / _SUPERSAMPLING - reach - 0.5
    inside = (np.square(fine[:, None]) + np.square(fine[None]) <= radius**2 + 1e-9) * 1.0
    size = 2 * reach + 1
    weights = inside.reshape(size, _SUPERSAMPLING, size, _SUPERSAMPLING).sum(axis=(1, 3))
    if weights.sum() == 0:
        weights[reach, reach] = 1.0
    return np.asarray(weights / weights.sum())


def line(length: float, angle: float) -> FloatArray:
    """Weights of a line through the middle, sum 1; pixels count by the length of it inside."""
    reach = int(np.ceil(length / 2))
    size = 2 * reach + 1
    weights = np.zeros((size, size))
    steps = np.linspace(-length / 2, length / 2, max(2, round(length * _SUPERSAMPLING)))
    rows = np.rint(reach - steps * np.sin(angle)).astype(np.int64)
    columns = np.rint(reach + steps * np.cos(angle)).astype(np.int64)
    np.add.at(weights, (rows, columns), 1.0)
    return np.asarray(weights / weights.sum())


def clouds(random: np.random.Generator, shape: tuple[int, int, int], *, decay: float) -> FloatArray:
    """(n, height, width) smooth noise from 0 to 1: amplitudes fall with a power of the frequency.

    Args:
        random: generator.
        shape: of the result.
        decay: the power.
    """
    waves = np.fft.fft2(random.standard_normal(shape))
    frequency = np.sqrt(
        np.square(np.fft.fftfreq(shape[1]))[:, None] + np.square(np.fft.fftfreq(shape[2]))[None]
    )
    frequency[0, 0] = np.inf
    field = np.real(np.fft.ifft2(waves / frequency**decay))
    low, high = field.min(axis=(1, 2), keepdims=True), field.max(axis=(1, 2), keepdims=True)
    return np.asarray((field - low) / np.maximum(high - low, 1e-12))


def _convolved(x: FloatArray, kernel: FloatArray) -> FloatArray:
    from scipy.ndimage import convolve

    return np.asarray(convolve(x, kernel[None, None], mode="nearest"), np.float64)
