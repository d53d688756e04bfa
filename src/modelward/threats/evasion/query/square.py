"""Square attack moves for images: stripes first, then ever smaller squares at random places.

Source: Andriushchenko, Croce, Flammarion and Hein 2020, "Square Attack" (arXiv 1912.00049v3): section 3.2 and
algorithm 2 (Linf), section 3.3 and algorithm 3 (L2). L1 as L2, with sums of sizes in place of sums of squares
(Croce and Hein 2021, "Mind the box" (arXiv 2103.01208v2), section 4).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.threats.evasion.geometry import planes, samples

if TYPE_CHECKING:
    from modelward.numeric.types import FloatArray, IntArray
    from modelward.threats.evasion.reach import Reach

_TILES: Final = 5
_FLAT: Final = 1e-9


@final
class Squares:
    """Moves of the Square attack.

    Args:
        reach: what is admissible; its norm selects the algorithm.
        seed: of the random numbers.
    """

    def __init__(self, reach: Reach, seed: int) -> None:
        self._reach = reach
        self._random = np.random.default_rng(seed)
        self._unit = planes(np.where(reach.numeric, reach.scale, 0.0)[None], reach.shape)
        self._eps = reach.threat.eps
        self._power = 1 if reach.threat.norm == "l1" else 2

    def first(self, index: IntArray) -> FloatArray:
        """Vertical stripes of the full radius (Linf), or a grid of bumps (L2, L1)."""
        origin = self._origin(index)
        m, channels, height, width = origin.shape
        if self._reach.threat.norm == "linf":
            signs = self._signs((m, channels, 1, width))
            return samples(origin + self._eps * self._unit * signs, self._reach.shape)
        side = max(1, min(height, width) // _TILES)
        change = np.zeros(origin.shape)
        bump = _bump(side)
        for top in range(0, height - side + 1, side):
            for left in range(0, width - side + 1, side):
                signs = self._signs((m, channels, 1, 1))
                change[:, :, top : top + side, left : left + side] += bump * signs
        norm = (np.abs(change) ** self._power).sum(axis=(1, 2, 3), keepdims=True) ** (1 / self._power)
        return samples(origin + self._eps * change / norm * self._unit, self._reach.shape)

    def change(self, x: FloatArray, index: IntArray, part: float) -> FloatArray:
        """One square per sample at a random place."""
        new = planes(x, self._reach.shape).copy()
        origin = self._origin(index)
        height, width = new.shape[2:]
        side = int(np.clip(round(math.sqrt(part * height * width)), 1, min(height, width)))
        move = self._flip if self._reach.threat.norm == "linf" else self._shift
        for i in range(len(new)):
            move(new[i], origin[i], side)
        return samples(new, self._reach.shape)

    def _flip(self, x: FloatArray, origin: FloatArray, side: int) -> None:
        """Set a square to the point's own values plus or minus eps, one sign per channel (algorithm 2)."""
        window = self._window(x, side)
        signs = self._signs((len(x), 1, 1))
        value = origin[window] + self._eps * self._unit[0][window] * signs
        if np.allclose(value, x[window]):  # already there; the opposite is the only other choice
            value = 2 * origin[window] - value
        x[window] = value

    def _shift(self, x: FloatArray, origin: FloatArray, side: int) -> None:
        """Move the change of one window into another, in the shape of a two-sided bump (algorithm 3)."""
        channels = len(x)
        unit = np.where(self._unit[0] > 0, self._unit[0], 1.0)
        change = (x - origin) / unit
        into, out = self._window(x, side), self._window(x, side)
        power = np.abs(change) ** self._power
        unused = max(0.0, self._eps**self._power - float(power.sum()))
        mass = power.sum(axis=0)
        if mass[into[1:]].sum() + mass[out[1:]].sum() + unused < _FLAT * self._eps**self._power:
            out = _around(
                mass, side
            )  # both windows are empty and nothing is left: take from the fullest place
        both = np.zeros(mass.shape, np.bool_)
        both[into[1:]] = both[out[1:]] = True
        available = (power.sum(axis=(1, 2), where=both) + unused / channels) ** (1 / self._power)
        old = change[into]
        size = self._length(old)
        eta = _halves(side)
        eta = eta if self._random.random() < 0.5 else eta.T
        signed = self._signs((channels, 1, 1)) * eta
        shape = signed + np.divide(old, size, out=np.zeros_like(old), where=size > 0)
        length = self._length(shape)
        shape = np.where(length > _FLAT, shape / np.maximum(length, _FLAT), signed)  # old and new may cancel
        change[out] = 0.0
        change[into] = shape * available[:, None, None]
        x[:] = origin + change * self._unit[0]

    def _length(self, change: FloatArray) -> FloatArray:
        """(channels, 1, 1) of each plane, in the threat's norm."""
        power: FloatArray = np.abs(change) ** self._power
        return np.asarray(power.sum(axis=(1, 2), keepdims=True) ** (1 / self._power))

    def _window(self, x: FloatArray, side: int) -> tuple[slice, slice, slice]:
        top = int(self._random.integers(x.shape[1] - side + 1))
        left = int(self._random.integers(x.shape[2] - side + 1))
        return slice(None), slice(top, top + side), slice(left, left + side)

    def _signs(self, shape: tuple[int, ...]) -> FloatArray:
        return np.asarray(self._random.integers(0, 2, shape) * 2.0 - 1.0, np.float64)

    def _origin(self, index: IntArray) -> FloatArray:
        return planes(self._reach.points[index].astype(np.float64), self._reach.shape)


def _around(mass: FloatArray, side: int) -> tuple[slice, slice, slice]:
    """The window that holds the largest entry of a plane."""
    row, column = np.unravel_index(int(mass.argmax()), mass.shape)
    top, left = min(int(row), mass.shape[0] - side), min(int(column), mass.shape[1] - side)
    return slice(None), slice(top, top + side), slice(left, left + side)


def _bump(side: int, height: int | None = None) -> FloatArray:
    """A peak that falls towards the edges of a rectangle, Euclidean norm 1 (equation 2 of the paper).

    Args:
        side: width of the rectangle, >= 1.
        height: its height; null for a square.
    """
    height = height or side
    n = height // 2
    row = np.abs(np.arange(height)[:, None] - height // 2)
    column = np.abs(np.arange(side)[None] - side // 2) * height / side
    rings = n - np.floor(np.maximum(row, column)).clip(max=n)
    table = np.concatenate([[0.0], np.cumsum(1.0 / np.square(n + 1.0 - np.arange(n + 1)))])
    peak = table[rings.astype(np.int64) + 1]
    return np.asarray(peak / np.sqrt(np.square(peak).sum()))


def _halves(side: int) -> FloatArray:
    """One bump up in the upper half and one down in the lower half, Euclidean norm 1."""
    if side == 1:
        return np.ones((1, 1))
    eta = np.concatenate([_bump(side, side // 2), -_bump(side, side - side // 2)])
    return np.asarray(eta / np.sqrt(np.square(eta).sum()))
