"""Tighter bounds of intermediate values by backward linear bounds, only where they can matter.

Zhang et al. 2018 (arXiv 1811.00866v1) bound every neuron of every layer backward. Here a neuron whose sign
the intervals already decide is left alone, and so are values that one linear layer computes from a box, whose
intervals are exact.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from modelward.threats.evasion.bounds.backward import least, order
from modelward.threats.evasion.bounds.inputs import Source
from modelward.threats.evasion.bounds.rows import Known, Rows
from modelward.threats.evasion.bounds.slopes import ascend
from modelward.threats.evasion.bounds.steps import Curve, Largest, Linear, Moved, Rectified, Scaled
from modelward.threats.evasion.bounds.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.threats.evasion.bounds.enclosure import Enclosure
    from modelward.threats.evasion.bounds.steps import Step

    Spend = Callable[[int], bool]

_NUMBERS: Final = 1 << 20
"""Coefficients held at once, of the widest value."""


def refiner(
    spend: Spend, ascent: int = 0, work: float = math.inf, *, dtype: torch.dtype = torch.float32
) -> Callable[[Enclosure, bool], Enclosure]:
    """What `propagate` refines arguments with.

    Args:
        spend: asked before so many backward samples are used; when it refuses, bounds stay as they are.
        ascent: steps by which the slopes behind the signs that are still open are optimised.
        work: coefficients that may be computed in all; what would exceed it is left as it is.
        dtype: of the coefficients; float64 takes about twice as long.
    """
    left = [work]

    def refine(x: Enclosure, sign_only: bool) -> Enclosure:  # noqa: FBT001 - called by position
        if x.step is None or isinstance(x.step, (Rectified, Curve, Largest, Source)) or _exact(x.step):
            return x
        low, high, known = x.lower.flatten(1).clone(), x.upper.flatten(1).clone(), Known()
        width = sum(_widths(x))
        for steps in (0, ascent) if ascent else (0,):
            wanted = (low < 0) & (high > 0) if sign_only else low < high
            places = (wanted & low.isfinite() & high.isfinite()).nonzero()
            rows = 2 * (2 * steps + (2 if steps else 1)) * len(places)
            if not rows or rows * width > left[0] or not spend(rows):
                break
            left[0] -= rows * width
            for part in torch.split(places, chunk(x)):
                found = entries(x, part, known, steps=steps, dtype=dtype)
                point, entry = part.T
                low[point, entry] = torch.maximum(low[point, entry], found[0])
                high[point, entry] = torch.minimum(high[point, entry], found[1])
        return replace(x, lower=low.reshape(x.shape), upper=torch.maximum(low, high).reshape(x.shape))

    return refine


def entries(
    x: Enclosure, places: Tensor, known: Known, *, steps: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds of single entries, (m,) float64 each.

    Args:
        x: the value.
        places: (m, 2) point and position in the flat sample.
        known: shared by all places of the value.
        steps: of ascent.
        dtype: of the coefficients.
    """
    point, entry = places.T.repeat(1, 2)
    m, shape = len(places), x.shape[1:]
    sign = torch.ones(2 * m, dtype=dtype)
    sign[m:] = -1.0
    if _local(x):
        plane = shape[1] * shape[2]
        a = torch.zeros((2 * m, shape[0], 1, 1), dtype=dtype)
        a[torch.arange(2 * m), entry // plane, 0, 0] = sign
        window = Window(entry % plane, (shape[1], shape[2]))
        rows = Rows(point, dtype, window=window, known=known)
    else:
        a = torch.zeros((2 * m, math.prod(shape)), dtype=dtype)
        a[torch.arange(2 * m), entry] = sign
        a, rows = a.reshape(2 * m, *shape), Rows(point, dtype, known=known)
    if steps:
        ascend(x, a, rows, steps)
    found = least(x, a, rows)
    return found[:m], -found[m:]


def chunk(x: Enclosure) -> int:
    """How many entries to bound at once."""
    return max(1, _NUMBERS // (2 * max(_widths(x))))


def _widths(x: Enclosure) -> list[int]:
    """Coefficients that one row takes at the value and at each argument behind it."""
    if not _local(x):
        return [math.prod(x.shape[1:]), *(math.prod(p.shape[1:]) for s in _behind(x) for p in s.parents)]
    widths, size = [x.shape[1]], (1, 1)
    for step in _behind(x):
        if isinstance(step, Linear) and step.geometry is not None:
            size = step.geometry.grown(size)
        widths += [p.shape[1] * math.prod(size) for p in step.parents]
    return widths


def _behind(x: Enclosure) -> list[Step]:
    return [] if x.step is None else order(x.step)


def _local(x: Enclosure) -> bool:
    """Whether each entry depends on a small window of the image, through a chain of convolutions."""
    if len(x.shape) != 4:
        return False
    for step in _behind(x):
        if len(step.parents) == 1 and len(step.parents[0].shape) != 4:
            return False
        if isinstance(step, Source):
            return step.norm in {"linf", "l2", "l1"} and _receptive(x) * 2 <= math.prod(step.lower.shape[2:])
        if isinstance(step, Linear) and step.geometry is not None:
            continue
        uniform = isinstance(step, Scaled) and all(
            part.numel() == 1 or part.shape[-2:] == (1, 1) for part in (step.factor, step.offset)
        )
        if not (uniform or isinstance(step, (Rectified, Curve))):
            return False
    return False


def _receptive(x: Enclosure) -> int:
    """Pixels in the window of one entry."""
    size = (1, 1)
    for step in _behind(x):
        if isinstance(step, Linear) and step.geometry is not None:
            size = step.geometry.grown(size)
    return math.prod(size)


def _exact(step: Step) -> bool:
    """Whether intervals are exact here: one linear layer on a box, with nothing but scaling around it."""
    layers = 0
    while not isinstance(step, Source):
        if not isinstance(step, (Linear, Moved, Scaled)) or step.source.step is None:
            return False
        layers += isinstance(step, Linear)
        step = step.source.step
    return layers <= 1 and step.norm == "linf"
