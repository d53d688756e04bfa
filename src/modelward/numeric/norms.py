"""Distances per sample and projections onto a ball inside a box, batched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from modelward.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from modelward.numeric.types import FloatArray

Norm: TypeAlias = Literal["l0", "l1", "l2", "linf"]


def _flat(x: ArrayLike) -> FloatArray:
    values = np.asarray(x, np.float64)
    if values.ndim < 2:
        raise InputError(f"an array of shape {values.shape} is no batch: the first axis must count samples")
    return values.reshape(values.shape[0], -1)


def distance(x: ArrayLike, y: ArrayLike, norm: Norm, *, scale: ArrayLike = 1.0) -> FloatArray:
    """Norm of (x - y) / scale for each sample.

    Args:
        x: batch of shape (n, ...).
        y: same shape.
        norm: "l0" counts the features that differ, "l1", "l2", "linf".
        scale: positive, broadcasts against one sample; tabular data gives the training range here, so that
            the distance is in units of that range.

    Returns:
        Shape (n,), each >= 0; NaN where a difference is NaN, also for "l0".

    Raises:
        InputError: shapes differ, or a scale is not positive.

    Source: definitions; Golub and Van Loan (2013), Matrix Computations, 4th ed., section 2.2.1.
    """
    units = np.asarray(scale, np.float64)
    if not np.all(units > 0):
        raise InputError("every scale must be greater than 0")
    left, right = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if left.shape != right.shape:
        raise InputError(f"samples of shape {left.shape} and {right.shape} cannot be compared")
    size = np.abs(_flat((left - right) / units))
    if norm == "l0":
        return np.where(np.isnan(size).any(axis=1), np.nan, np.count_nonzero(size, axis=1))
    if norm == "l1":
        return np.asarray(size.sum(axis=1))
    largest = np.asarray(size.max(axis=1, initial=0.0))
    if norm == "linf":
        return largest
    # Squares of the ratio to the largest entry can neither overflow nor underflow to 0.
    safe = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    return np.asarray(safe * np.sqrt(np.square(size / safe[:, None]).sum(axis=1)))


def _inside(x: FloatArray, low: ArrayLike, high: ArrayLike) -> tuple[FloatArray, FloatArray]:
    floor = np.broadcast_to(np.asarray(low, np.float64), x.shape)
    ceiling = np.broadcast_to(np.asarray(high, np.float64), x.shape)
    if not np.all((floor <= x) & (x <= ceiling)):
        raise InputError("the centre of the ball must lie inside the box")
    return floor, ceiling


def project_linf(y: ArrayLike, x: ArrayLike, eps: float, box: tuple[ArrayLike, ArrayLike]) -> FloatArray:
    """Nearest point to y in the Linf ball around x, inside the box: both are boxes, so one clip is exact.

    Args:
        y: points to project, shape (n, ...).
        x: centres inside the box, same shape.
        eps: radius >= 0.
        box: lower and upper limits, each broadcasts against x.

    Returns:
        Shape (n, ...).

    Raises:
        InputError: a centre outside the box, or eps < 0.

    Source: Boyd and Vandenberghe (2004), Convex Optimization, section 8.1.1 (projection on a rectangle).
    """
    if not eps >= 0:
        raise InputError(f"a radius of {eps} is not >= 0")
    centre = np.asarray(x, np.float64)
    low, high = _inside(centre, *box)
    points = np.asarray(y, np.float64)
    return np.asarray(np.clip(points, np.maximum(low, centre - eps), np.minimum(high, centre + eps)))


def project_l2(y: ArrayLike, x: ArrayLike, eps: float, box: tuple[ArrayLike, ArrayLike]) -> FloatArray:
    """Nearest point to y in the L2 ball around x, inside the box: exact, not by alternating projections.

    With d = y - x the solution is x + clip(t d, low - x, high - x) for the largest t in [0, 1] whose norm is
    at most eps. The squared norm is a piecewise quadratic in t whose pieces end where a coordinate meets the
    box.

    Args:
        y: points to project, shape (n, ...).
        x: centres inside the box, same shape.
        eps: radius >= 0.
        box: lower and upper limits, each broadcasts against x.

    Returns:
        Shape (n, ...).

    Raises:
        InputError: a centre outside the box, or eps < 0.

    Source: KKT conditions (Boyd and Vandenberghe 2004, Convex Optimization, section 5.5.3) of the projection;
    breakpoint search as for the continuous quadratic knapsack: Brucker (1984), Oper. Res. Lett. 3(3).
    """
    if not eps >= 0:
        raise InputError(f"a radius of {eps} is not >= 0")
    centre = np.asarray(x, np.float64)
    low, high = _inside(centre, *box)
    step = _flat(np.asarray(y, np.float64) - centre)
    room = np.where(step > 0, _flat(high - centre), _flat(centre - low))
    size = np.abs(step)
    # Coordinate i moves with slope size[i] until t = stop[i], then stays at room[i].
    with np.errstate(over="ignore"):
        stop = np.divide(room, size, out=np.full_like(size, np.inf), where=size > 0)
    order = np.argsort(stop, axis=1)
    stop = np.take_along_axis(stop, order, axis=1)
    fixed = np.cumsum(np.take_along_axis(np.where(np.isfinite(room), room, 0.0), order, axis=1) ** 2, axis=1)
    squares = np.take_along_axis(size, order, axis=1) ** 2
    free = np.cumsum(squares[:, ::-1], axis=1)[:, ::-1]
    before = np.concatenate([np.zeros((len(size), 1)), fixed[:, :-1]], axis=1)
    # t on piece j solves before[j] + free[j] t^2 = eps^2; the pieces' norms grow, so the first that reaches
    # wins.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        root = np.sqrt(np.maximum(eps**2 - before, 0.0) / free)
    reached = root <= stop
    piece = np.argmax(reached, axis=1)
    t = np.where(reached.any(axis=1), root[np.arange(len(size)), piece], 1.0)
    t = np.minimum(np.nan_to_num(t, nan=1.0), 1.0)
    move = np.sign(step) * np.minimum(t[:, None] * size, room)
    return np.asarray(np.clip(centre + move.reshape(centre.shape), low, high))
