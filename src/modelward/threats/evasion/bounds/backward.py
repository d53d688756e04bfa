"""Backward linear bounds: what a linear function of a value is at least, over everything enclosed.

Coefficients may be computed in float32: their rounding is bounded as that of the network itself is, and
subtracted. Sums of offsets are taken in float64.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from modelward.numeric.rounding import gamma
from modelward.threats.evasion.bounds.enclosure import TINY
from modelward.threats.evasion.bounds.steps import BLOCK, total

if TYPE_CHECKING:
    from modelward.threats.evasion.bounds.enclosure import Enclosure
    from modelward.threats.evasion.bounds.rows import Rows
    from modelward.threats.evasion.bounds.steps import Step

_SPARE: Final = 64
"""Operations on coefficients beside those that a step counts: signs, casts, and sums over the consumers of a
value, of which no more than this are allowed for."""
_MANY: Final = 1 << 20
"""Numbers of a layer from which a sum in float32 would cost too much, or say nothing at all."""
_UP: Final = 1 + 2.0**-20
"""Covers the rounding of the slack itself."""


def least(value: Enclosure, a: Tensor, rows: Rows, *, sound: bool = True) -> Tensor:
    """Lower bounds of a . value, as the network computes the value.

    Args:
        value: (n, *shape).
        a: (r, *shape) coefficients, of the rows' precision.
        rows: which point each row belongs to, and what was chosen for it.
        sound: subtract what rounding can cost; false while slopes are optimised.

    Returns:
        (r,) float64; -infinity where nothing finite can be said.
    """
    if rows.window is not None:
        rows.window.reset()
    found = _interval(value, a, rows) if value.step is None else _pulled(value.step, a, rows, sound=sound)
    return torch.where(found.isnan(), -torch.inf, found)


def _pulled(last: Step, a: Tensor, rows: Rows, *, sound: bool) -> Tensor:
    offset = a.new_zeros(len(a), dtype=torch.float64)
    waiting = {last: a}
    used: Counter[Step] = Counter()
    for step in order(last):
        coefficients = waiting.pop(step, None)
        if coefficients is None:
            continue
        if sound:
            offset = offset - _lost(step, coefficients, rows)
        parts, more = step.pull(coefficients, rows)
        offset = offset + more
        if sound and step.errors.size is not None and step.parents:
            offset = offset - (step.errors.count + _SPARE) * TINY * rows.floor(step)
        for parent, part in zip(step.parents, parts, strict=True):
            if parent.step is None:
                offset = offset + _interval(parent, part, rows)
            else:
                used[parent.step] += 1
                if used[parent.step] > _SPARE // 2:
                    offset = offset - torch.inf
                known = waiting.get(parent.step)
                waiting[parent.step] = part if known is None else known + part
    return offset


def _lost(step: Step, a: Tensor, rows: Rows) -> Tensor | float:
    errors = step.errors
    if errors.runtime is None and errors.size is None:
        return 0.0
    parts = (a.detach().abs() * rows.slack(step, slack)).flatten(1)
    # Nothing is negative, so that sums in any order and precision may be made up for by a factor.
    count = parts.shape[1]
    dtype = rows.dtype if count < _MANY else torch.float64
    return parts.sum(dim=1, dtype=dtype).double() * (1 + gamma(count, _kind(dtype))) * _UP + count * TINY


def _kind(dtype: torch.dtype) -> type[np.float32 | np.float64]:
    return np.float32 if dtype == torch.float32 else np.float64


def slack(step: Step, dtype: torch.dtype) -> Tensor:
    """What each unit of coefficient at a step's result may cost by rounding, (n, *shape) float64."""
    errors, lost = step.errors, torch.full((), TINY, dtype=torch.float64)
    if errors.size is not None:
        # Sums of float64 run over all entries, sums of float32 over a block of them.
        count = errors.count + _SPARE + (errors.size[0].numel() if dtype == torch.float64 else BLOCK)
        lost = lost + gamma(count, _kind(dtype)) * (errors.size + TINY)
    return lost if errors.runtime is None else lost + errors.runtime


def _interval(value: Enclosure, a: Tensor, rows: Rows) -> Tensor:
    """Bound by the interval alone: products and sum in float64, coefficients as rounded before."""
    lower, upper = rows.gather(value.lower), rows.gather(value.upper)
    wide = a.double()
    up, down = wide.clamp_min(0), wide.clamp_max(0)
    bound = total(up * lower) + total(down * upper)
    unit = gamma(_SPARE, _kind(rows.dtype)) + 2.0**-38
    return bound - unit * total(wide.abs() * torch.maximum(lower.abs(), upper.abs()))


def order(last: Step) -> list[Step]:
    """All steps behind one, each before its parents."""
    found: list[Step] = []
    entered: set[Step] = set()
    stack: list[tuple[Step, bool]] = [(last, False)]
    while stack:
        step, done = stack.pop()
        if done:
            found.append(step)
        elif step not in entered:
            entered.add(step)
            stack.append((step, True))
            stack.extend((p.step, False) for p in step.parents if p.step is not None)
    return found[::-1]


def evaluated(last: Step, x: Tensor) -> dict[Step, Tensor] | None:
    """Values of all steps at given inputs, up to rounding; null where some value has no step.

    Args:
        last: the result.
        x: (r, *shape) what the first step stands for.
    """
    values: dict[Step, Tensor] = {}
    for step in reversed(order(last)):
        if not step.parents:
            values[step] = x
            continue
        if any(parent.step is None for parent in step.parents):
            return None
        values[step] = step.value(*(values[p.step] for p in step.parents if p.step is not None))
    return values
