"""Points where slopes find nothing although a witness exists: linear programs over the signs of ReLUs.

While no ReLU changes its sign, a network of ReLUs is affine, so the least margin among all inputs with the
same signs is the value of a linear program (the encoding of Tjeng, Xiao and Tedrake 2019, arXiv 1711.07356v3,
section 4.2, with all binaries fixed). Its solution lies where some ReLUs are about to change: the search
changes the sign of the one that wins most and solves again. Steps are as long as the pieces are, and none
depends on a step size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.threats.evasion.gradient.pieces import flat, pieces

if TYPE_CHECKING:
    from torch import nn

    from modelward.numeric.types import FloatArray, IntArray
    from modelward.threats.evasion.gradient.pieces import Pieces
    from modelward.threats.evasion.gradient.pool import Pool

_POINTS: Final = 64
_GOALS: Final = 2
_ROUNDS: Final = 25
_TRIES: Final = 4
_STARTS: Final = ("best", "centre", "noise", "corner", "noise", "corner")
_INSIDE: Final = 1e-6
"""How far inside the ball the programs stay, in input values, for the rounding to the points' type."""
_TIGHT: Final = 1e-7


@final
@dataclass(frozen=True, slots=True)
class Case:
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
    chosen = index[:_POINTS].tolist()
    for number, point in enumerate(chosen):
        position = np.array([point])
        centre, lower, upper = pool.ball.corners(position)
        low, high = flat(lower.cpu().numpy()), flat(upper.cpu().numpy())
        narrow = np.where(high - low > 4 * _INSIDE, _INSIDE, 0.0)
        for goal in _nearest(pool, point, goals[point]):
            case = Case(low + narrow, high - narrow, int(pool.arena.points.target[point]), goal)
            for seed, start in enumerate(_STARTS):
                if start == "best":
                    x = flat(pool.record.x[point])
                else:
                    x = flat(pool.ball.start(start, [seed], centre, (lower, upper)).cpu().numpy())
                if not pool.arena.share.take(forward=_ROUNDS):
                    return False
                x, value = descended(network, np.clip(x, case.low, case.high), case)
                if value < 0 and not _ask(pool, x, point):
                    return False
                if not pool.arena.standing[point]:
                    break
            if not pool.arena.standing[point]:
                break
        pool.arena.share.progress(0.9 + 0.1 * (number + 1) / len(chosen))
    return True


def _nearest(pool: Pool, point: int, goals: IntArray) -> list[int]:
    """The goals that searches came nearest to."""
    runs = pool.record.runs
    least = {int(goal): min(runs.get((point, int(goal)), [np.inf])) for goal in goals}
    return sorted(least, key=lambda goal: least[goal])[:_GOALS]


def _ask(pool: Pool, x: FloatArray, point: int) -> bool:
    answer = pool.arena.submit(x.reshape(1, *pool.arena.reach.shape), np.array([point], np.int64))
    if answer is None:
        return False
    if answer.broken.any():
        pool.record.fell.setdefault(point, "sign search")
    return True


def descended(network: Pieces, x: FloatArray, case: Case) -> tuple[FloatArray, float]:
    """Go from piece to piece while the margin falls.

    Args:
        network: the affine maps.
        x: (features,) where to begin.
        case: box, target and goal.

    Returns:
        The input of least margin seen, and that margin.
    """
    signs = [z > 0 for z in network.arguments(x)[:-1]]
    best, value = x, gap(network, x, case)
    found = least(network, signs, case)
    visited = {_name(signs)}
    for _ in range(_ROUNDS):
        if found is None:
            break
        here, worth = found
        lower = gap(network, here, case)
        if lower < value:
            best, value = here, lower
        if value < 0:
            break
        found = None
        for layer, unit in _tight(network, here, worth, signs):
            other = [part.copy() for part in signs]
            other[layer][unit] ^= True
            ahead = None if _name(other) in visited else least(network, other, case)
            visited.add(_name(other))
            # Pieces that only share the border are passed through: the next one may be lower.
            if ahead is not None and gap(network, ahead[0], case) <= lower + _TIGHT:
                found, signs = ahead, other
                break
    return best, value


def _name(signs: list[np.ndarray]) -> bytes:
    return b"".join(part.tobytes() for part in signs)


def gap(network: Pieces, x: FloatArray, case: Case) -> float:
    """Margin to the goal."""
    scores = network.arguments(x)[-1]
    return float(scores[case.target] - scores[case.goal])


def least(network: Pieces, signs: list[np.ndarray], case: Case) -> tuple[FloatArray, FloatArray] | None:
    """The input of least margin among those with some signs, and what each sign costs; null where none is.

    Args:
        network: the affine maps.
        signs: per layer, (units,) whether a ReLU is open.
        case: box, target and goal.
    """
    from scipy.optimize import linprog

    first = network.maps[0]
    weight, bias = first.weight, first.bias
    rows, sides = [], []
    for sign, affine in zip(signs, network.maps[1:], strict=True):
        side = np.where(sign, -1.0, 1.0)
        rows.append(side[:, None] * weight)
        sides.append(-side * bias)
        weight, bias = affine.weight @ (sign[:, None] * weight), affine.weight @ (sign * bias) + affine.bias
    answer = linprog(
        weight[case.target] - weight[case.goal],
        A_ub=np.concatenate(rows) if rows else None,
        b_ub=np.concatenate(sides) if sides else None,
        bounds=np.stack([case.low, case.high], axis=1),
        method="highs-ds",
    )
    if answer.x is None:
        return None
    costs = -np.asarray(answer.ineqlin.marginals) if rows else np.zeros(0)
    return np.clip(answer.x, case.low, case.high), costs


def _tight(
    network: Pieces, x: FloatArray, worth: FloatArray, signs: list[np.ndarray]
) -> list[tuple[int, int]]:
    """The ReLUs at their corner, as (layer, unit), those whose sign costs most first."""
    places = [(layer, unit) for layer, part in enumerate(signs) for unit in range(len(part))]
    values = np.concatenate([np.zeros(0), *network.arguments(x)[:-1]])
    at = np.flatnonzero((np.abs(values) < 1e-6) | (worth > _TIGHT))
    order = at[np.argsort(-worth[at], kind="stable")][:_TRIES]
    return [places[i] for i in order.tolist()]
