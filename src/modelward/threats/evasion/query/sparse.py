"""Sparse-RS moves: a few pixels or features at will (L0), and a small square at will (patch).

Source: Croce, Andriushchenko, Singh, Flammarion and Hein 2022, "Sparse-RS" (arXiv 2006.12834v3): section 4
and algorithm 1 (a set of pixels, some of which are swapped and set to new colours), section 5 (patches: their
content by squares of one colour, their place by shifts that grow shorter). Whole images use the corners of
the colour cube, as theirs do; numbers of tables lie anywhere in the box half of the time, because trees
respond to thresholds, and categories and one-hot groups switch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.threats.evasion.geometry import plane, planes, samples, spatial
from modelward.threats.evasion.projection import side

if TYPE_CHECKING:
    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.reach import Reach

_SHIFTS: Final = 5
"""One move in so many shifts the patch (section 5: 1 of 5 for image-specific patches)."""
_COARSEST: Final = 0.8


@final
class Cells:
    """Moves on sets of cells: a cell is a pixel with all its colours, a feature, or a one-hot group.

    Args:
        reach: what is admissible; L0.
        seed: of the random numbers.
    """

    def __init__(self, reach: Reach, seed: int) -> None:
        self._reach = reach
        self._random = np.random.default_rng(seed)
        self._cells = reach.cells.reshape(-1)
        self._movable = np.unique(self._cells[reach.free.reshape(-1)])
        self._count = max(1, min(int(reach.threat.eps), len(self._movable)))
        self._lower, self._upper = reach.lower.reshape(-1), reach.upper.reshape(-1)
        self._corners = spatial(reach.shape)

    def first(self, index: IntArray) -> FloatArray:
        """As many random cells as the radius allows, at random values."""
        chosen = self._choose(np.ones((len(index), len(self._movable)), np.bool_), self._count)
        return self._filled(self._flat(self._origin(index)).copy(), chosen)

    def change(self, x: FloatArray, index: IntArray, part: float) -> FloatArray:
        """Some of the changed cells go back, as many others take their place, all of these at random values.

        Where one cell or all of the free ones may change, or nothing would be swapped, values alone change.
        """
        flat, origin = self._flat(x).copy(), self._flat(self._origin(index))
        held = self._reach.touched(self._reach.units(x, self._origin(index)))
        held = held[:, self._movable]
        size = max(1, round(part * self._count))
        leaving = self._choose(held, size)
        entering = self._choose(~held, size)
        stays = (self._random.random((len(x), 1)) < 0.5) | ~entering.any(axis=1, keepdims=True)
        again = (part * self._count < 1) & stays
        leaving, entering = leaving & ~again, np.where(again, leaving, entering)
        back = self._spread(leaving & ~entering)
        return self._filled(np.where(back, origin, flat), entering)

    def _filled(self, flat: FloatArray, chosen: BoolArray) -> FloatArray:
        """Random values in the chosen cells."""
        values = self._random.uniform(0.0, 1.0, flat.shape)
        corner = self._corners | (self._random.random((len(flat), 1)) < 0.5)
        values = self._lower + np.where(corner, values >= 0.5, values) * (self._upper - self._lower)
        codes = self._reach.category.reshape(-1)
        drawn = np.floor(self._random.uniform(0.0, 1.0, flat.shape) * (self._upper + 1))
        new = np.where(self._spread(chosen), np.where(codes, drawn, values), flat)
        for group in self._reach.groups:
            member = np.eye(len(group))[self._random.integers(0, len(group), len(flat))]
            mask = chosen[:, np.searchsorted(self._movable, self._cells[group[0]])]
            new[:, group] = np.where(mask[:, None], member, new[:, group])
        return new.reshape(-1, *self._reach.shape)

    def _spread(self, chosen: BoolArray) -> BoolArray:
        """(m, features) from (m, movable cells)."""
        cells = np.zeros((len(chosen), int(self._cells.max()) + 1), np.bool_)
        cells[:, self._movable] = chosen
        return np.asarray(cells[:, self._cells] & self._reach.free.reshape(-1))

    def _choose(self, among: BoolArray, size: int) -> BoolArray:
        """(m, movable) at most `size` random ones of each row."""
        rank = np.where(among, self._random.random(among.shape), 2.0).argsort(axis=1).argsort(axis=1)
        return np.asarray((rank < size) & among)

    def _origin(self, index: IntArray) -> FloatArray:
        return self._reach.points[index].astype(np.float64)

    @staticmethod
    def _flat(x: FloatArray) -> FloatArray:
        return x.reshape(len(x), -1)


@final
class Patches:
    """Moves of one square: its place and what it shows.

    Args:
        reach: what is admissible; patch.
        seed: of the random numbers.
    """

    def __init__(self, reach: Reach, seed: int) -> None:
        self._reach = reach
        self._random = np.random.default_rng(seed)
        self._height, self._width = plane(reach.shape)
        self._side = side(reach.threat.eps, self._height, self._width)
        low, high = (planes(limit[None], reach.shape)[0] for limit in (reach.lower, reach.upper))
        self._low, self._high = low, high

    def first(self, index: IntArray) -> FloatArray:
        """A square anywhere, in stripes of random colours of the cube's corners."""
        new = self._origin(index).copy()
        for x in new:
            edge = self._side
            if edge:
                top, left = self._random.integers((self._height - edge + 1, self._width - edge + 1))
                self._paint(x, (int(top), int(left)), edge)
                for _ in range(edge):
                    size = int(self._random.integers(1, edge + 1))
                    self._paint(x, self._inside((int(top), int(left)), size), size)
        return samples(new, self._reach.shape)

    def change(self, x: FloatArray, index: IntArray, part: float) -> FloatArray:
        """Shift the square, or paint a smaller square in it."""
        new, origin = planes(x, self._reach.shape).copy(), self._origin(index)
        for image, plain in zip(new, origin, strict=True):
            if not self._side:
                continue
            place = self._place(image != plain)
            if self._random.integers(_SHIFTS) == 0:
                self._shift(image, plain, place, part)
            else:
                size = max(1, round(math.sqrt(part) * self._side))
                self._paint(image, self._inside(place, size), size)
        return samples(new, self._reach.shape)

    def _shift(self, image: FloatArray, plain: FloatArray, place: tuple[int, int], part: float) -> None:
        """Move what the square shows; as far as the image goes at first, by one pixel in the end."""
        edge, (top, left) = self._side, place
        reach = np.array([self._height - edge, self._width - edge])
        far = np.maximum(1, np.rint(part / _COARSEST * reach)).astype(np.int64)
        moved = np.clip(np.array([top, left]) + self._random.integers(-far, far + 1), 0, reach)
        shown = image[:, top : top + edge, left : left + edge].copy()
        image[:] = plain
        image[:, moved[0] : moved[0] + edge, moved[1] : moved[1] + edge] = shown

    def _paint(self, image: FloatArray, place: tuple[int, int], size: int) -> None:
        """A square of one random corner colour."""
        window = (slice(None), slice(place[0], place[0] + size), slice(place[1], place[1] + size))
        high = self._random.integers(0, 2, (len(image), 1, 1)) == 1
        image[window] = np.where(high, self._high[window], self._low[window])

    def _inside(self, place: tuple[int, int], size: int) -> tuple[int, int]:
        down, right = self._random.integers(self._side - size + 1, size=2)
        return place[0] + int(down), place[1] + int(right)

    def _place(self, changed: BoolArray) -> tuple[int, int]:
        """Top left corner of the square of the largest side that holds all changes."""
        rows, columns = (np.flatnonzero(changed.any(axis=axes)) for axes in ((0, 2), (0, 1)))
        if len(rows) == 0:
            return 0, 0
        return (
            min(int(rows[0]), self._height - self._side),
            min(int(columns[0]), self._width - self._side),
        )

    def _origin(self, index: IntArray) -> FloatArray:
        return planes(self._reach.points[index].astype(np.float64), self._reach.shape)
