"""Bringing a change back into the ball, for each norm; exact after rounding to the points' type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from modelward.numeric.norms import distance
from modelward.threats.evasion.geometry import plane

if TYPE_CHECKING:
    from modelward.numeric.types import BoolArray, FloatArray
    from modelward.threats.evasion.reach import Reach

_SHRINK: Final = 1 - 1e-7
_ATTEMPTS: Final = 4


def inside(reach: Reach, x: FloatArray, origin: FloatArray) -> FloatArray:
    """Inputs near x within the ball.

    Args:
        reach: what is admissible.
        x: (m, *shape) within the limits of each feature.
        origin: (m, *shape) the points.
    """
    x = _repaired(reach, x, origin)
    if reach.threat.norm == "linf":
        return x
    if reach.threat.graded:
        return _shrunk(reach, x, origin)
    change = reach.units(x, origin)
    keep = _largest(reach, change) if reach.threat.norm == "l0" else _window(reach, change)
    kept: FloatArray = np.where(keep[:, reach.cells], x, origin)
    return kept


def exactly_one(group: FloatArray) -> BoolArray:
    """(m,) whether the members of a one-hot group, (m, g), are one 1 and otherwise 0."""
    return np.asarray(((group == 0) | (group == 1)).all(axis=1) & (group.sum(axis=1) == 1))


def square_share(touched: BoolArray) -> FloatArray:
    """(m,) area of the smallest square that holds all touched pixels, as a share of the image's.

    Args:
        touched: (m, height, width).
    """
    rows, columns = (_extent(np.asarray(touched.any(axis=axis))) for axis in (2, 1))
    height, width = touched.shape[1:]
    return np.asarray(np.square(np.maximum(rows, columns)) / (height * width), np.float64)


def side(eps: float, height: int, width: int) -> int:
    """Largest side of a square whose share of the area is at most eps; 0 where not one pixel is."""
    sides = np.arange(1, min(height, width) + 1)
    return int((sides * sides / (height * width) <= eps).sum())


def onto_simplex(size: FloatArray, total: FloatArray) -> FloatArray:
    """Nearest non-negative numbers with a sum of at most `total`.

    Duchi et al. 2008, "Efficient projections onto the l1-ball" (ICML), figure 1.

    Args:
        size: (m, d) >= 0.
        total: (m,) >= 0.
    """
    ordered = -np.sort(-size, axis=1)
    excess = np.cumsum(ordered, axis=1) - total[:, None]
    rank = np.arange(1, size.shape[1] + 1)
    last = np.maximum((ordered * rank > excess).sum(axis=1) - 1, 0)
    cut = excess[np.arange(len(size)), last] / (last + 1)
    return np.asarray(np.maximum(size - np.maximum(cut, 0.0)[:, None], 0.0))


def _repaired(reach: Reach, x: FloatArray, origin: FloatArray) -> FloatArray:
    """Take back every change of a one-hot group that does not leave exactly one 1."""
    for group in reach.groups:
        broken = ~exactly_one(x[:, group])
        x[np.ix_(broken, group)] = origin[np.ix_(broken, group)]
    return x


def _shrunk(reach: Reach, x: FloatArray, origin: FloatArray) -> FloatArray:
    """Shrink changes until the L2 or L1 norm, after rounding to the points' type, is at most eps."""
    dtype, eps = reach.points.dtype, reach.threat.eps
    norm: Literal["l1", "l2"] = "l1" if reach.threat.norm == "l1" else "l2"
    switch = reach.category.copy()
    for group in reach.groups:
        switch[group] = True
    wide = (-1, *[1] * len(reach.shape))

    def size(value: FloatArray) -> FloatArray:
        return distance(reach.units(value, origin), np.zeros_like(value), norm)

    # Switches that alone cost too much are taken back; what they leave is for the other features.
    spent = size(np.where(switch, x, origin))
    x = np.where(switch & (spent > eps).reshape(wide), origin, x)
    spent = np.where(spent > eps, 0.0, spent)
    left = eps - spent if norm == "l1" else np.sqrt(np.maximum(eps**2 - spent**2, 0.0))
    for attempt in range(_ATTEMPTS):
        x = x.astype(dtype).astype(np.float64)
        outside = (size(x) > eps).reshape(wide)
        if not outside.any():
            return x
        step = np.where(switch, 0.0, np.nan_to_num(x - origin)) / reach.scale
        room = left * (_SHRINK if attempt == 0 else 0.999**attempt)
        step = (_onto_l1 if norm == "l1" else _onto_l2)(step, room) * reach.scale
        moved = origin + np.where(reach.whole, np.trunc(step), step)
        x = np.where(outside & ~switch, moved, x)
    x = x.astype(dtype).astype(np.float64)
    return np.where((size(x) > eps).reshape(wide), origin, x)


def _onto_l2(step: FloatArray, radius: FloatArray) -> FloatArray:
    size = np.sqrt(np.square(step).reshape(len(step), -1).sum(axis=1))
    ratio = np.divide(radius, size, out=np.zeros_like(size), where=size > 0)
    return np.asarray(step * np.minimum(ratio, 1.0).reshape(-1, *[1] * (step.ndim - 1)))


def _onto_l1(step: FloatArray, radius: FloatArray) -> FloatArray:
    size = onto_simplex(np.abs(step).reshape(len(step), -1), radius)
    return np.asarray(np.copysign(size.reshape(step.shape), step))


def _largest(reach: Reach, change: FloatArray) -> BoolArray:
    """(m, cells) the eps cells that change most."""
    mass = _mass(reach, change)
    keep = np.zeros(mass.shape, np.bool_)
    count = min(int(reach.threat.eps), mass.shape[1])
    chosen = np.argsort(-mass, axis=1, kind="stable")[:, :count]
    keep[np.arange(len(mass))[:, None], chosen] = True
    return keep


def _window(reach: Reach, change: FloatArray) -> BoolArray:
    """(m, cells) the square of eps of the area that holds most of the change."""
    height, width = plane(reach.shape)
    edge = side(reach.threat.eps, height, width)
    mass = _mass(reach, change).reshape(-1, height, width)
    keep = np.zeros(mass.shape, np.bool_)
    if edge == 0:
        return keep.reshape(len(mass), -1)
    total = np.pad(mass.cumsum(axis=1).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
    upper, lower = total[:, :-edge], total[:, edge:]
    held = lower[:, :, edge:] - lower[:, :, :-edge] - upper[:, :, edge:] + upper[:, :, :-edge]
    top, left = np.unravel_index(held.reshape(len(held), -1).argmax(axis=1), held.shape[1:])
    rows, columns = np.arange(height)[None], np.arange(width)[None]
    tall = (rows >= top[:, None]) & (rows < top[:, None] + edge)
    broad = (columns >= left[:, None]) & (columns < left[:, None] + edge)
    return np.asarray((tall[:, :, None] & broad[:, None, :]).reshape(len(mass), -1))


def _mass(reach: Reach, change: FloatArray) -> FloatArray:
    """(m, cells) how much each cell changes, in units."""
    flat = reach.cells.reshape(-1)
    mass = np.zeros((int(flat.max()) + 1, len(change)))
    np.add.at(mass, flat, np.abs(np.nan_to_num(change)).reshape(len(change), -1).T)
    return np.asarray(mass.T)


def _extent(touched: BoolArray) -> FloatArray:
    """(m,) distance from the first to the last touched line, both counted; 0 where none is."""
    count = touched.shape[1]
    first = touched.argmax(axis=1)
    last = count - touched[:, ::-1].argmax(axis=1)
    return np.where(touched.any(axis=1), last - first, 0).astype(np.float64)
