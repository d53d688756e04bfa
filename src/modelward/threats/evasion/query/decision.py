"""Decision-based attacks: SurFree, HopSkipJump, RayS and taking changes back, many points a call.

Sources: Maho, Furon and Le Merrer 2021, "SurFree" (arXiv 2011.12807v1, sections 4 and 5); Chen, Jordan and
Wainwright 2020, "HopSkipJumpAttack" (arXiv 1904.02144v5, algorithm 2, equations 9, 12, 16); Chen and Gu 2020,
"RayS" (arXiv 2006.12792v2, algorithms 2 and 3); Schott et al. 2019 (arXiv 1805.09190v3, section 6, the
pointwise attack). Theirs ask about one input at a time; here all points step together, and where few points
are left several candidates of each fill the call.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.numeric.types import BoolArray, FloatArray, IntArray
    from modelward.threats.evasion.query.frontier import Frontier

    Step = Callable[["Frontier", IntArray, float], None]

_FEW: Final = 2000
"""Up to so many queries SurFree comes at least as near as HopSkipJump."""
_PROBE: Final = 0.1
"""How far HopSkipJump's probes lie from the boundary, in units of the distance. Theirs is 1 / d in d
dimensions (section 3.3), which is less than the boundary is known to: twice the distance was left."""
_ANGLE: Final = math.pi / 6
_KAPPA: Final = 0.1
_FIRST_PROBES: Final = 40
_HALVINGS: Final = 6
_SECTIONS: Final = (0.5, 0.75, 0.9, 0.97)
_SMOOTH: Final = 0.5
"""Share of SurFree's directions that are smooth over the image, as its section 5.3 advises."""


def decide(frontier: Frontier) -> None:
    """Search from all standing points; groups are as small as the query limit can carry to their end."""
    arena = frontier.arena
    if not arena.reach.free.any():
        arena.tried |= arena.standing
        return
    points, done = np.flatnonzero(arena.standing), 0
    while done < len(points) and not frontier.refused:
        left = arena.share.queries_left()
        size = 256 if left is None else max(1, min(256, left // frontier.queries))
        group = points[done : done + size]
        frontier.begin(group)
        for step, until in plan(frontier):
            step(frontier, group, until)
        done += size
        arena.share.progress(min(1.0, done / len(points)))


def plan(frontier: Frontier) -> tuple[tuple[Step, float], ...]:
    """Which searches follow one another, and the share of the queries at which each ends."""
    reach = frontier.arena.reach
    if reach.threat.norm in {"l0", "l1", "patch"}:
        return ((take_back, 1.0),)
    start: tuple[tuple[Step, float], ...] = (
        ((take_back, 0.3),) if reach.category.any() or reach.groups else ()
    )
    if reach.threat.norm == "linf":
        return (*start, (rays, 1.0))
    if frontier.queries <= _FEW:
        return (*start, (surfree, 1.0))
    return (*start, (surfree, 0.3), (hopskip, 1.0))


def take_back(frontier: Frontier, index: IntArray, until: float) -> None:
    """Set random sets of changed cells back, or halfway back; sets halve where none helps."""
    reach = frontier.arena.reach
    share = np.full(len(reach.points), 0.5)
    patience = np.zeros(len(reach.points), np.int64)
    while len(index := frontier.active(index, until)):
        index = index[patience[index] < 3 * math.ceil(math.log2(reach.cells.max() + 2)) + 20]
        if len(index) == 0:
            return
        width = frontier.width(index, 8)
        x, origin = frontier.x[index], frontier.origin(index)
        touched = reach.touched(reach.units(x, origin))
        count = touched.sum(axis=1)
        chance = np.maximum(share[index], 1.0 / np.maximum(count, 1))
        draws = frontier.random.random((len(index), width, touched.shape[1]))
        chosen = touched[:, None] & (draws < chance[:, None, None])
        lone = np.where(touched[:, None], draws, 2.0).argmin(axis=2)
        np.put_along_axis(chosen, lone[:, :, None], np.asarray(touched.any(axis=1))[:, None, None], axis=2)
        keep = np.where(reach.threat.graded & (frontier.random.random((len(index), width)) < 0.5), 0.5, 0.0)
        kept = np.where(chosen[:, :, reach.cells], frontier.spread(keep), 1.0)
        change = np.nan_to_num(x - origin)[:, None] * np.where(_switches(frontier), np.rint(kept), kept)
        before = frontier.size[index]
        if frontier.ask(origin[:, None] + change, index) is None:
            return
        better = frontier.size[index] < before
        share[index] = np.where(better, np.minimum(0.5, share[index] * 1.5), share[index] * 0.7)
        patience[index] = np.where(better, 0, patience[index] + width)


def surfree(frontier: Frontier, index: IntArray, until: float) -> None:
    """Turn towards the point on circles in random planes through it and the nearest wrong input."""
    angle = np.full(len(frontier.size), _ANGLE)
    while len(index := frontier.active(index, until)):
        pairs = max(1, frontier.width(index, 8) // 2)
        x, origin = frontier.x[index], frontier.origin(index)
        radius, axis = _polar(frontier, x - origin)
        turn = _orthogonal(frontier, _directions(frontier, (len(index), pairs)), axis)
        turn = np.concatenate([turn, -turn], axis=1)
        before = frontier.size[index]

        def on_circle(at: FloatArray, turn: FloatArray = turn, axis: FloatArray = axis) -> FloatArray:
            """Semicircle over the way as its diameter: nearer by the cosine of the angle."""
            cosine, sine = frontier.spread(np.cos(at)), frontier.spread(np.sin(at))
            return np.asarray(cosine * (cosine * axis[:, None] + sine * turn))

        scale = _scale(frontier) * frontier.spread(radius)[:, None]
        at = np.repeat(angle[index][:, None], 2 * pairs, axis=1)
        rest = np.where(_switches(frontier), x - origin, 0.0)[:, None]
        wrong = frontier.ask(origin[:, None] + rest + scale * on_circle(at), index)
        if wrong is None:
            return
        hit = wrong.any(axis=1)
        angle[index] *= np.where(hit, 1 + _KAPPA, 1 - _KAPPA)
        angle[index] = np.clip(angle[index], 1e-3, math.pi / 3)
        if hit.any():
            some, best = np.flatnonzero(hit), wrong.argmax(axis=1)[hit]
            further = np.minimum(at[some, :1] * np.array([[1.5, 2.0, 2.5]]), 0.49 * math.pi)
            circle = on_circle(further, turn[some, best][:, None], axis[some])
            if frontier.ask((origin[:, None] + rest)[some] + scale[some] * circle, index[some]) is None:
                return
        stuck = index[(angle[index] <= 1e-3) & (frontier.size[index] >= before)]
        angle[stuck] = _ANGLE


def hopskip(frontier: Frontier, index: IntArray, until: float) -> None:
    """Estimate the boundary's normal from decisions around it, step along it, and return to the boundary."""
    linf = frontier.arena.reach.threat.norm == "linf"
    turn = 0
    while len(index := frontier.active(index, until)):
        turn += 1
        wanted = round(_FIRST_PROBES * math.sqrt(turn))
        x, origin = frontier.x[index], frontier.origin(index)
        size = frontier.size[index]
        reach = size * _PROBE
        normal = np.zeros_like(x)
        left = int((frontier.queries * until - frontier.used[index]).min())
        for start in range(0, max(1, min(wanted, left)), 16):
            probes = _directions(frontier, (len(index), min(16, max(1, min(wanted, left) - start))))
            moved = x[:, None] + frontier.spread(reach)[:, None] * _scale(frontier) * probes
            wrong = frontier.ask(moved, index)
            if wrong is None:
                return
            sign = np.where(wrong, 1.0, -1.0)
            # The mean is taken off where both answers occurred (equation 16).
            sign -= np.where(
                np.abs(sign.mean(axis=1, keepdims=True)) < 1, sign.mean(axis=1, keepdims=True), 0
            )
            normal += (frontier.spread(sign) * probes).sum(axis=1)
        normal = np.sign(normal) if linf else _polar(frontier, normal * _scale(frontier))[1]
        steps = (size / math.sqrt(turn))[:, None] * 0.5 ** np.arange(_HALVINGS)
        ends = x[:, None] + frontier.spread(steps) * _scale(frontier) * normal[:, None]
        alive = np.isin(index, frontier.active(index))
        index, ends, origin = index[alive], ends[alive], origin[alive]
        wrong = frontier.ask(ends, index) if len(index) else None
        if wrong is None:
            return
        rows = np.flatnonzero(wrong.any(axis=1))
        frontier.shorten(index[rows], ends[rows, wrong[rows].argmax(axis=1)])


def rays(frontier: Frontier, index: IntArray, until: float) -> None:
    """Turn blocks of a direction of signs, keep what is wrong at the same length, and shorten it."""
    index = frontier.active(index, until)
    signs = _first_rays(frontier, index)
    turn = np.zeros(len(frontier.size), np.int64)
    numbers = np.flatnonzero(frontier.arena.reach.numeric.reshape(-1))
    while len(index := frontier.active(index, until)) and len(numbers):
        width = frontier.width(index, 4)
        tried = np.repeat(signs[index][:, None], width, axis=1)
        for row, point in enumerate(index):
            for at in range(width):
                tried[row, at, numbers[block(int(turn[point]) + at, len(numbers))]] *= -1
        turn[index] += width
        wrong = frontier.ask(_along(frontier, index, tried, np.ones((len(index), width))), index)
        if wrong is None:
            return
        rows = np.flatnonzero(wrong.any(axis=1))
        if len(rows) == 0:
            continue
        better = index[rows]
        signs[better] = tried[rows, wrong[rows].argmax(axis=1)]
        parts = np.array(_SECTIONS)
        goal = np.minimum(frontier.eps / frontier.size[better] * (1 - 1e-6), parts[0])
        parts = np.concatenate([goal[:, None], np.repeat(parts[None], len(rows), axis=0)], axis=1)
        alive = np.isin(better, frontier.active(better))
        ask, parts = better[alive], parts[alive]
        many = np.repeat(signs[ask][:, None], parts.shape[1], axis=1)
        if len(ask) and frontier.ask(_along(frontier, ask, many, parts), ask) is None:
            return


def _first_rays(frontier: Frontier, index: IntArray) -> FloatArray:
    """The direction of the nearest wrong input's signs, or all up or all down, whichever is wrong nearest."""
    signs = np.ones((len(frontier.size), math.prod(frontier.arena.reach.shape)))
    change = (frontier.x - frontier.arena.reach.points.astype(np.float64)).reshape(len(signs), -1)
    signs[change < 0] = -1.0
    if len(index) == 0:
        return signs
    up = np.ones_like(signs[index])
    choices = np.stack([signs[index], up, -up], axis=1)
    wrong = frontier.ask(_along(frontier, index, choices, np.ones((len(index), 3))), index)
    if wrong is not None:
        rows = np.flatnonzero(wrong.any(axis=1))
        signs[index[rows]] = choices[rows, wrong[rows].argmax(axis=1)]
    return signs


def _along(frontier: Frontier, index: IntArray, signs: FloatArray, parts: FloatArray) -> FloatArray:
    """(m, w, *shape) numbers moved by a part of the frontier's size in the direction of signs, (m, w, d)."""
    reach = frontier.arena.reach
    origin = frontier.origin(index)[:, None]
    steps = frontier.spread(parts * frontier.size[index][:, None])
    moved = origin + steps * _scale(frontier) * signs.reshape(*signs.shape[:2], *reach.shape)
    return np.where(_switches(frontier), frontier.x[index][:, None], moved)


def _directions(frontier: Frontier, count: tuple[int, int]) -> FloatArray:
    """(m, w, *shape) random directions of length 1; on images half of them vary smoothly."""
    from modelward.threats.evasion.geometry import planes, samples, spatial

    reach = frontier.arena.reach
    draws = frontier.random.standard_normal((*count, *reach.shape))
    if spatial(reach.shape) and not frontier.arena.points.data.columns:
        flat = planes(draws.reshape(-1, *reach.shape), reach.shape)
        smooth = frontier.random.random(len(flat)) < _SMOOTH
        flat = np.where(smooth[:, None, None, None], _smoothed(flat), flat)
        draws = samples(flat, reach.shape).reshape(draws.shape)
    draws = np.where(reach.numeric, draws, 0.0)
    length = np.sqrt(np.square(draws).reshape(*count, -1).sum(axis=2))
    return np.asarray(draws / frontier.spread(np.maximum(length, 1e-12)))


def _smoothed(flat: FloatArray) -> FloatArray:
    """White noise without its upper three quarters of frequencies per axis (type II cosine transform)."""
    from scipy.fft import dctn, idctn

    height, width = flat.shape[2:]
    waves = dctn(flat, axes=(2, 3), norm="ortho")
    waves[:, :, math.ceil(height / 4) :] = 0.0
    waves[:, :, :, math.ceil(width / 4) :] = 0.0
    return np.asarray(idctn(waves, axes=(2, 3), norm="ortho"))


def _polar(frontier: Frontier, change: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Length of each change of numbers in units, and its direction."""
    unit = np.where(_switches(frontier), 0.0, np.nan_to_num(change)) / _scale(frontier)
    length = np.sqrt(np.square(unit).reshape(len(unit), -1).sum(axis=1))
    return length, np.asarray(unit / frontier.spread(np.maximum(length, 1e-12)))


def _orthogonal(frontier: Frontier, directions: FloatArray, axis: FloatArray) -> FloatArray:
    """Directions (m, w, *shape) without their part along an axis (m, *shape), of length 1."""
    flat, along = directions.reshape(*directions.shape[:2], -1), axis.reshape(len(axis), 1, -1)
    flat = flat - (flat * along).sum(axis=2, keepdims=True) * along
    length = np.sqrt(np.square(flat).sum(axis=2))
    return np.asarray(flat.reshape(directions.shape) / frontier.spread(np.maximum(length, 1e-12)))


def _scale(frontier: Frontier) -> FloatArray:
    return frontier.arena.reach.scale


def _switches(frontier: Frontier) -> BoolArray:
    """(*shape) what is no number that may change."""
    return ~frontier.arena.reach.numeric


def block(turn: int, size: int) -> slice:
    """Features that the turn-th question turns: all, two halves, four quarters, ..., then from the start.

    Args:
        turn: number >= 0.
        size: number of features, >= 1.
    """
    blocks = 1
    while blocks < size and turn >= blocks:
        turn -= blocks
        blocks *= 2
    blocks = min(blocks, size)
    turn %= blocks
    return slice(turn * size // blocks, (turn + 1) * size // blocks)
