"""Points where slopes find nothing although a witness exists: search over the signs of ReLUs.

Near the best input so far, most ReLUs keep their sign; the others are left open, and a mixed-integer program
finds the least margin over all their signs at once (the encoding: Tjeng, Xiao and Tedrake 2019, arXiv
1711.07356v3, section 4.2; fixing most of a solution and freeing the rest: Danna, Rothberg and Le Pape 2005,
Mathematical Programming 102, "relaxation induced neighborhood search"). What it finds is the next centre, and
more ReLUs are freed where that gains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.threats.evasion.gradient.pieces import flat, pieces

if TYPE_CHECKING:
    from torch import nn

    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.gradient.pieces import Pieces
    from modelward.threats.evasion.gradient.pool import Pool

_FREE: Final = (8, 16, 32, 64)
_NODES: Final = 300
_POINTS: Final = 64
_GOALS: Final = 3
_ROUNDS: Final = 12
_INSIDE: Final = 1e-6
"""How far inside the ball the program stays, in units, for the rounding to the points' type."""


@final
@dataclass(frozen=True, slots=True)
class _Case:
    """One point and one goal.

    Attributes:
        low: (features,) box and ball together.
        high: likewise.
        target: true column.
        goal: column to reach.
    """

    low: FloatArray
    high: FloatArray
    target: int
    goal: int


def hard(pool: Pool, module: nn.Module, index: IntArray, goals: IntArray) -> bool:
    """Search for witnesses in Linf on small networks of ReLUs; False when the share refused.

    Args:
        pool: best inputs so far, and where witnesses count.
        module: the copy, in evaluation mode.
        index: positions of points, the most promising first.
        goals: (n, k - 1) other classes of all points, the likeliest first.
    """
    if pool.ball.norm != "linf":
        return True
    network = pieces(module, pool.arena.reach.shape)
    if network is None:
        return True
    for number, point in enumerate(index[:_POINTS].tolist()):
        low, high = (end[0].cpu().numpy() for end in pool.ball.corners(np.array([point]))[1:])
        for goal in goals[point, :_GOALS].tolist():
            inset = np.minimum(_INSIDE, (high - low).max() / 8)
            narrow = np.where(high - low > 2 * inset, inset, 0.0)
            target = int(pool.arena.points.target[point])
            case = _Case(flat(low + narrow), flat(high - narrow), target, goal)
            if not _walk(pool, network, point, case):
                return False
            if not pool.arena.standing[point]:
                break
        pool.arena.share.progress(0.9 + 0.1 * (number + 1) / min(len(index), _POINTS))
    return True


def _walk(pool: Pool, network: Pieces, point: int, case: _Case) -> bool:
    """Move from centre to centre; False when the share refused."""
    limits = network.limits(case.low, case.high)
    x = np.clip(flat(pool.record.x[point]), case.low, case.high)
    best, width = _gap(network, x, case), 0
    for _ in range(_ROUNDS):
        if not pool.arena.share.take(forward=1):
            return False
        found = _least(network, x, case, (limits, _FREE[width]))
        value = np.inf if found is None else _gap(network, found, case)
        if found is not None and value < best - 1e-6:
            x, best = found, value
        else:
            width += 1
        if best < 0:
            answer = pool.arena.submit(x.reshape(1, *pool.arena.reach.shape), np.array([point], np.int64))
            if answer is None:
                return False
            if answer.broken.any():
                pool.record.fell.setdefault(point, "sign search")
                return True
        if width == len(_FREE):
            return True
    return True


def _gap(network: Pieces, x: FloatArray, case: _Case) -> float:
    scores = network.arguments(x)[-1]
    return float(scores[case.target] - scores[case.goal])


def _opened(
    network: Pieces, x: FloatArray, limits: list[tuple[FloatArray, FloatArray]], count: int
) -> list[BoolArray]:
    """Which ReLUs are left open: of those that can have both signs, the ones nearest to their corner."""
    values = network.arguments(x)[:-1]
    near = [
        np.where((low < 0) & (high > 0), np.abs(z) / np.maximum(high - low, 1e-12), np.inf)
        for z, (low, high) in zip(values, limits, strict=False)
    ]
    together = np.sort(np.concatenate([np.zeros(0), *near]))
    cut = together[min(count, len(together)) - 1] if len(together) else -1.0
    return [(part <= cut) & np.isfinite(part) for part in near]


def _least(
    network: Pieces,
    x: FloatArray,
    case: _Case,
    freedom: tuple[list[tuple[FloatArray, FloatArray]], int],
) -> FloatArray | None:
    """The input of least margin whose ReLUs have the signs of x but for the open ones; null where none is."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_matrix

    limits, count = freedom
    opened = _opened(network, x, limits, count)
    values = network.arguments(x)[:-1]
    sizes = [len(z) for z in values]
    inputs = len(x)
    ends = inputs + np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    binaries = int(sum(part.sum() for part in opened))
    total = int(ends[-1]) + binaries
    low, high = np.zeros(total), np.full(total, np.inf)
    low[:inputs], high[:inputs] = case.low, case.high
    high[int(ends[-1]) :] = 1.0
    rows: list[FloatArray] = []
    sides: list[tuple[float, float]] = []
    next_binary, begin, width = int(ends[-1]), 0, inputs
    for k, z in enumerate(values):
        affine, (least, most) = network.maps[k], limits[k]
        for j in range(len(z)):
            h = int(ends[k]) + j
            row = np.zeros(total)
            row[h], row[begin : begin + width] = 1.0, -affine.weight[j]
            bias = float(affine.bias[j])
            if opened[k][j]:  # h >= z, h <= z - least (1 - b), h <= most b
                upper, cap = row.copy(), np.zeros(total)
                upper[next_binary] = -least[j]
                cap[h], cap[next_binary] = 1.0, -most[j]
                rows += [row, upper, cap]
                sides += [(bias, np.inf), (-np.inf, bias - float(least[j])), (-np.inf, 0.0)]
                next_binary += 1
            elif z[j] > 0:
                rows.append(row)
                sides.append((bias, bias))
            else:
                high[h] = 0.0
                rows.append(row)
                sides.append((bias, np.inf))
        begin, width = int(ends[k]), sizes[k]
    last = network.maps[-1]
    cost = np.zeros(total)
    cost[begin : begin + width] = last.weight[case.target] - last.weight[case.goal]
    whole = np.zeros(total)
    whole[int(ends[-1]) :] = 1
    constraint = LinearConstraint(csr_matrix(np.array(rows)), *np.array(sides).T) if rows else ()
    answer = milp(
        cost,
        constraints=constraint,
        bounds=Bounds(low, high),
        integrality=whole,
        options={"node_limit": _NODES},
    )
    return None if answer.x is None else np.clip(answer.x[:inputs], case.low, case.high)
