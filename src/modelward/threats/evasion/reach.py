"""What an attacker may make of each point: box, ball, types, switches and immutable columns.

One place decides it, twice: `project` builds admissible inputs, `admits` checks them by definition alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.errors import InputError
from modelward.numeric.norms import distance
from modelward.threats.evasion.geometry import pixels, plane, spatial, units
from modelward.threats.evasion.projection import exactly_one, inside, square_share
from modelward.threats.evasion.relations import Linear, linear, repaired, satisfied

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from modelward.core.data import Dataset
    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.threat import Threat

_ATTEMPTS: Final = 4


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The admissible changes of n points under one threat.

    A change is measured per feature in units of the box's scale, then by the threat's norm. A category has no
    order, so any other category is one whole unit away (the Hamming convention), whatever its code; a
    category column or one-hot group is therefore frozen when eps < 1. Members of a one-hot group move
    together or not at all. A missing value (NaN) stays missing. A value outside the box may stay or move
    towards it.

    Attributes:
        threat: norm and radius.
        points: (n, *shape) the unmodified inputs, of the type that the model gets.
        lower: (*shape) float64 the box.
        upper: likewise.
        scale: (*shape) float64 size of a unit, > 0.
        free: (*shape) features that may change.
        whole: (*shape) features that hold whole numbers only.
        category: (*shape) features that hold codes.
        groups: (g,) int64 feature positions of each one-hot group that may change.
        cells: (*shape) int64 what counts as one for L0: the pixel, feature or one-hot group of each feature.
        direction: (*shape) int64: 1 where a value can only grow, -1 where it can only shrink, else 0.
        relations: what features satisfy together, as far as their origins do.
    """

    threat: Threat
    points: NDArray[np.generic]
    lower: FloatArray
    upper: FloatArray
    scale: FloatArray
    free: BoolArray
    whole: BoolArray
    category: BoolArray
    groups: tuple[IntArray, ...]
    cells: IntArray
    direction: IntArray
    relations: tuple[Linear, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.points.shape[1:]

    @property
    def numeric(self) -> BoolArray:
        """(*shape) features that may change by an amount, and not by switching."""
        amount = self.free & ~self.category
        for group in self.groups:
            amount[group] = False
        return amount

    @property
    def continuous(self) -> bool:
        """Whether every feature that may change takes any real value, so that gradients can find it."""
        return not bool((self.free & (self.whole | self.category)).any())

    def limits(self, index: IntArray) -> tuple[FloatArray, FloatArray]:
        """Smallest and largest value of each feature, all others left alone.

        The limits are inside the ball and the box also after rounding to the points' type.

        Args:
            index: (m,) positions of points.

        Returns:
            Two (m, *shape) float64 arrays; NaN where the point has no value.
        """
        origin = self.points[index].astype(np.float64)
        low, high = self._within(origin, self._room())
        return self._inward(low, origin), self._inward(high, origin)

    def outer_limits(self, index: IntArray) -> tuple[FloatArray, FloatArray]:
        """Limits that no admissible value exceeds, whatever was rounded while it was measured."""
        origin = self.points[index].astype(np.float64)
        low, high = self._within(origin, self._room() * (1 + 2.0**-40))
        return np.nextafter(low, -np.inf), np.nextafter(high, np.inf)

    def _room(self) -> FloatArray:
        """(*shape) how far one feature may move, all others left alone."""
        return np.where(self.category | (not self.threat.graded), np.inf, self.threat.eps * self.scale)

    def _within(self, origin: FloatArray, room: FloatArray) -> tuple[FloatArray, FloatArray]:
        low = np.maximum(np.minimum(self.lower, origin), origin - np.where(self.direction > 0, 0.0, room))
        high = np.minimum(np.maximum(self.upper, origin), origin + np.where(self.direction < 0, 0.0, room))
        low = np.where(self.whole, np.ceil(low), low)
        high = np.where(self.whole, np.floor(high), high)
        return np.where(self.free, low, origin), np.where(self.free, high, origin)

    def _inward(self, limit: FloatArray, origin: FloatArray) -> FloatArray:
        """Round a limit to the points' type, towards the origin where it would leave the ball or the box."""
        dtype = self.points.dtype
        if not np.issubdtype(dtype, np.floating):
            return limit
        rounded = limit.astype(dtype)
        for _ in range(_ATTEMPTS):
            value = rounded.astype(np.float64)
            beyond = np.abs(value - origin) > np.abs(limit - origin)
            size = np.abs(value - origin) / self.scale
            beyond |= ~self.category & self.threat.graded & (size > self.threat.eps)
            if not beyond.any():
                return value
            rounded = np.where(beyond, np.nextafter(rounded, origin.astype(dtype)), rounded)
        return np.where(beyond, origin, rounded.astype(np.float64))

    def project(self, candidates: NDArray[np.generic], index: IntArray) -> NDArray[np.generic]:
        """An admissible input near each candidate.

        Args:
            candidates: (m, *shape) any numbers; one that is not finite falls back to the point's own value.
            index: (m,) the point that each candidate comes from.

        Returns:
            (m, *shape) of the points' type.
        """
        origin = self.points[index].astype(np.float64)
        wanted = candidates.astype(np.float64)
        wanted = np.where(np.isfinite(wanted), wanted, origin)
        wanted = np.where(self.whole, np.rint(wanted), wanted)
        limits = self.limits(index)
        x = inside(self, np.clip(wanted, *limits), origin).astype(self.points.dtype)
        if not self.relations:
            return x
        # What follows from a relation may leave the ball: such a row goes back to its point.
        x = repaired(self.relations, x.astype(np.float64), origin, limits).astype(self.points.dtype)
        return np.where(self.admits(x, index)[:, None], x, self.points[index])

    def units(self, x: FloatArray, origin: FloatArray) -> FloatArray:
        """The change of each feature in units: 0 where both values are missing, 1 for another category."""
        missing = np.isnan(x) & np.isnan(origin)
        change = np.where(self.category, x != origin, x - origin) / self.scale
        return np.where(missing, 0.0, change)

    def size(self, x: NDArray[np.generic], index: IntArray) -> FloatArray:
        """The size of each change in the threat's norm and the box's unit, (m,) float64."""
        if len(x) == 0:
            return np.zeros(0)
        units = self.units(x.astype(np.float64), self.points[index].astype(np.float64))
        if self.threat.norm == "l0":
            return np.asarray(self.touched(units).sum(axis=1), np.float64)
        if self.threat.norm == "patch":
            return square_share(self.touched(units).reshape(-1, *plane(self.shape)))
        return distance(units, np.zeros_like(units), self.threat.norm)

    def touched(self, units: FloatArray) -> BoolArray:
        """(m, cells) which pixels, features or one-hot groups changes touch.

        Args:
            units: (m, *shape) as `units` gives them; NaN counts as touched.
        """
        flat = self.cells.reshape(-1)
        found = np.zeros((len(units), int(flat.max()) + 1), np.bool_)
        sample, feature = np.nonzero(units.reshape(len(units), -1))
        found[sample, flat[feature]] = True
        return found

    def admits(self, x: NDArray[np.generic], index: IntArray) -> BoolArray:
        """Whether inputs are what an attacker may make of the points, checked by the definitions.

        Args:
            x: (m, *shape) of the points' type.
            index: (m,) the point that each comes from.
        """
        origin, value = self.points[index].astype(np.float64), x.astype(np.float64)
        same = (value == origin) | (np.isnan(value) & np.isnan(origin))
        boxed = (value >= np.minimum(self.lower, origin)) & (value <= np.maximum(self.upper, origin))
        typed = ~self.whole | (value == np.rint(value))
        boxed &= (value - origin) * self.direction >= 0
        fine = np.where(self.free, same | (boxed & typed), same).all(axis=tuple(range(1, value.ndim)))
        for group in self.groups:
            fine &= exactly_one(value[:, group]) | same[:, group].all(axis=1)
        if self.relations:
            fine &= satisfied(self.relations, value, origin)
        return np.asarray(fine & (self.size(x, index) <= self.threat.eps))


def reach(data: Dataset, threat: Threat) -> Reach:
    """What an attacker may make of every sample of a data set.

    Raises:
        InputError: a patch is asked of samples that are no images.
    """
    shape = data.x.shape[1:]
    if threat.norm == "patch" and (data.columns or not spatial(shape)):
        raise InputError(f"a patch needs images, and {data.subject.name} has rows of shape {shape}")
    scale = np.broadcast_to(data.box.scale, shape).astype(np.float64)
    free = scale > 0
    whole = np.full(shape, not np.issubdtype(data.x.dtype, np.floating))
    category = np.zeros(shape, np.bool_)
    cost, direction = np.ones(shape), np.zeros(shape, np.int64)
    for i, column in enumerate(data.columns):
        cost[i] = column.cost
        direction[i] = {"up": 1, "down": -1, "any": 0}[column.direction]
    groups = []
    for group in _onehot(data):
        if threat.eps < _switching(threat, cost[group].max()) or any(
            data.columns[i].immutable for i in group
        ):
            free[group] = False
        else:
            groups.append(group)
        whole[group] = True
    for i, column in enumerate(data.columns):
        whole[i] |= column.kind != "real"
        category[i] = column.kind == "category"
        if column.immutable or (category[i] and threat.eps < _switching(threat, column.cost)):
            free[i] = False
    return Reach(
        threat=threat,
        points=data.x,
        lower=np.broadcast_to(data.box.lower, shape),
        upper=np.broadcast_to(data.box.upper, shape),
        scale=np.where(category, 1.0, np.where(scale > 0, scale, 1.0)) / cost,
        free=free,
        whole=whole,
        category=category,
        groups=tuple(groups),
        direction=direction,
        relations=linear(data),
        cells=pixels(shape) if not data.columns and spatial(shape) else units(shape, groups),
    )


def _switching(threat: Threat, cost: float) -> float:
    """The smallest radius at which a category of this cost can change at all."""
    return cost if threat.graded else 1.0


def _onehot(data: Dataset) -> Iterator[IntArray]:
    names = dict.fromkeys(column.onehot for column in data.columns if column.onehot is not None)
    for name in names:
        yield np.array([i for i, c in enumerate(data.columns) if c.onehot == name], np.int64)
