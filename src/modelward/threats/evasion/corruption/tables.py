"""Common corruptions of rows: what forms, sensors, units and exports do; severity 0 changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.numeric.types import BoolArray, FloatArray
    from modelward.threats.evasion.reach import Reach

    Spoil: TypeAlias = Callable[[FloatArray, float, "Reach", np.random.Generator], FloatArray]

_UNITS: Final = (1000.0, 0.001, 100.0, 0.01, 60.0, 1 / 60, 2.54, 1 / 2.54, 0.4536, 1 / 0.4536)
"""Kilo, per cent, hours and minutes, inches, pounds."""


def missing(x: FloatArray, share: float, reach: Reach, random: np.random.Generator) -> FloatArray:
    """Numbers are lost."""
    lost = (random.random(x.shape) < share) & _numbers(reach)
    return np.where(lost, np.nan, x)


def noise(x: FloatArray, deviation: float, reach: Reach, random: np.random.Generator) -> FloatArray:
    """Measurement errors, in units of the box (the training range)."""
    errors = deviation * reach.scale * random.standard_normal(x.shape)
    errors = np.where(reach.whole, np.rint(errors), errors)
    return np.where(_numbers(reach), x + errors, x)


def units(x: FloatArray, columns: float, reach: Reach, random: np.random.Generator) -> FloatArray:
    """So many numbers of each row are given in another unit."""
    rank = np.where(_numbers(reach), random.random(x.shape), 2.0).reshape(len(x), -1)
    chosen = rank.argsort(axis=1).argsort(axis=1).reshape(x.shape) < columns
    factor = np.array(_UNITS)[random.integers(0, len(_UNITS), x.shape)]
    changed = np.where(reach.whole, np.rint(x * factor), x * factor)
    return np.where(chosen & _numbers(reach), changed, x)


def rounding(x: FloatArray, step: float, reach: Reach, random: np.random.Generator) -> FloatArray:
    """Numbers are kept to a step, in units of the box."""
    del random
    width = np.where(reach.whole, np.maximum(1.0, np.rint(step * reach.scale)), step * reach.scale)
    return np.where(_numbers(reach), np.rint(x / width) * width, x)


TABLES: Final[dict[str, tuple[Spoil, tuple[float, float, float, float, float]]]] = {
    "missing values": (missing, (0.02, 0.05, 0.1, 0.2, 0.4)),
    "noise": (noise, (0.01, 0.02, 0.05, 0.1, 0.2)),
    "unit mix-ups": (units, (1, 2, 3, 4, 5)),
    "rounding": (rounding, (0.01, 0.02, 0.05, 0.1, 0.2)),
}
"""Name to function and the parameter of severities 1 to 5."""


def spoil(x: FloatArray, name: str, severity: int, reach: Reach, random: np.random.Generator) -> FloatArray:
    """One corruption of rows.

    Args:
        x: (n, *shape) float64.
        name: of `TABLES`.
        severity: 0 (nothing happens) to 5.
        reach: which features are numbers, and their units.
        random: of whatever the corruption draws.
    """
    if severity == 0:
        return x
    function, levels = TABLES[name]
    return function(x, levels[severity - 1], reach, random)


def _numbers(reach: Reach) -> BoolArray:
    """(*shape) features that are numbers: no codes, no members of one-hot groups."""
    return reach.numeric
