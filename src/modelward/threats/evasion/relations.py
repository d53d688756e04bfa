"""Relations between columns: which inputs satisfy them, and how a change is brought back to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

if TYPE_CHECKING:
    from modelward.core.data import Dataset
    from modelward.numeric.types import BoolArray, FloatArray, IntArray

TOLERANCE: Final = 1e-6
"""How far a sum may lie from its bound, as a part of the sum of the absolute terms."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A weighted sum of features that equals a bound or is at most it.

    Attributes:
        features: (f,) int64; the first of an equality follows from the others.
        weights: (f,) float64, none 0.
        equal: whether it is an equality.
        bound: the constant.
    """

    features: IntArray
    weights: FloatArray
    equal: bool
    bound: float

    def holds(self, x: FloatArray, origin: FloatArray) -> BoolArray:
        """(m,) whether rows satisfy it, are no further from it than their origins, or have a missing term.

        Args:
            x: (m, d).
            origin: (m, d).
        """
        now, before = self._excess(x), self._excess(origin)
        same = (x[:, self.features] == origin[:, self.features]).all(axis=1)
        terms = np.abs(x[:, self.features] * self.weights).sum(axis=1) + abs(self.bound)
        near = (now <= TOLERANCE * terms) | (now <= before)
        return np.asarray(same | np.isnan(now) | near)

    def _excess(self, x: FloatArray) -> FloatArray:
        over = x[:, self.features] @ self.weights - self.bound
        return np.asarray(np.abs(over) if self.equal else over)

    def solved(self, x: FloatArray) -> FloatArray:
        """(m,) value of the first feature that satisfies the equality."""
        rest = x[:, self.features[1:]] @ self.weights[1:]
        return np.asarray((self.bound - rest) / self.weights[0])


def linear(data: Dataset) -> tuple[Linear, ...]:
    """The relations of a data set, by position, without those of columns that the model does not take."""
    place = {column.name: i for i, column in enumerate(data.columns)}
    return tuple(
        Linear(
            features=np.array([place[name] for name, _ in relation.terms], np.int64),
            weights=np.array([weight for _, weight in relation.terms], np.float64),
            equal=relation.equal,
            bound=relation.bound,
        )
        for relation in data.relations
        if all(name in place for name, _ in relation.terms)
    )


def satisfied(relations: tuple[Linear, ...], x: FloatArray, origin: FloatArray) -> BoolArray:
    """(m,) whether rows satisfy all relations."""
    fine = np.ones(len(x), np.bool_)
    for one in relations:
        fine &= one.holds(x, origin)
    return fine


def repaired(
    relations: tuple[Linear, ...], x: FloatArray, origin: FloatArray, limits: tuple[FloatArray, FloatArray]
) -> FloatArray:
    """Rows near x that satisfy all relations: the first feature of an equality follows, else changes go back.

    Args:
        relations: what must hold.
        x: (m, d) within the limits.
        origin: (m, d).
        limits: (m, d) smallest and largest values.
    """
    x = x.copy()
    for one in relations:
        bad = ~one.holds(x, origin)
        if one.equal and bad.any():
            f = one.features[0]
            value = one.solved(x)
            fits = bad & (value >= limits[0][:, f]) & (value <= limits[1][:, f])
            x[fits, f] = value[fits]
            bad = ~one.holds(x, origin)
        x[np.ix_(bad, one.features)] = origin[np.ix_(bad, one.features)]
    bad = ~satisfied(relations, x, origin)
    x[bad] = origin[bad]
    return x
