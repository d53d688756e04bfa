"""Inputs worth attacking from: where bounds of the least robust parts of a set are attained."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch

from modelward.threats.evasion.bounds.backward import order
from modelward.threats.evasion.bounds.branch import Effort, Search
from modelward.threats.evasion.bounds.cascade import Cascade, Method
from modelward.threats.evasion.bounds.inputs import enclosed
from modelward.threats.evasion.bounds.propagate import traced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from modelward.numeric.types import FloatArray, IntArray
    from modelward.threats.evasion.bounds.cascade import Spend
    from modelward.threats.evasion.bounds.enclosure import Enclosure
    from modelward.threats.evasion.reach import Reach

_TOGETHER: Final = 16
_NUMBERS: Final = 1 << 15
"""Of the inputs bounded at once; activations in float64 are some ten times as many."""


@final
@dataclass(frozen=True, slots=True)
class Starts:
    """What branch and bound found for one point.

    Attributes:
        point: its position in the reach.
        proved: no admissible input of the float32 network is wrong; there is nothing to attack.
        x: (m, *shape) float64 inputs, the one with the least margin first; to be projected before use.
        margin: (m,) float64 their margins, <= 0 where the network is wrong, as far as rounding allows.
        rivals: score columns that are not excluded.
        value: the scores without a softmax, with the steps and bounds that were searched, of several points.
        row: which of them this one is.
    """

    point: int
    proved: bool
    x: FloatArray
    margin: FloatArray
    rivals: tuple[int, ...]
    value: Enclosure
    row: int


def search(
    module: nn.Module,
    reach: Reach,
    index: IntArray,
    target: IntArray,
    *,
    spend: Spend,
    effort: Effort | None = None,
) -> Iterator[Starts]:
    """Split the admissible sets of some points, and yield what was found for each as soon as it is done.

    Args:
        module: in evaluation mode.
        reach: what may change.
        index: (m,) points without missing values, answered right.
        target: (n,) score columns of all points of the reach.
        spend: asked before every expense, as `Share.take`; when it refuses, the search ends.
        effort: how much to try.

    Raises:
        OperatorUnsupported: names the operation without a sound rule.
    """
    method = Method(graph=traced(module), tolerance=0.0, preset="standard", spend=spend)
    cascade = Cascade(
        method, lambda part: enclosed(reach, np.asarray(part.numpy())), torch.from_numpy(target)
    )
    places = torch.from_numpy(index)
    size = max(1, min(_TOGETHER, _NUMBERS // math.prod(reach.shape)))
    for part in torch.split(places, size) if len(places) else ():
        with torch.no_grad():
            margins = cascade.dear(part)
        if margins is None:
            return
        for point in part[margins.certified].tolist():
            x, row = np.zeros((0, *reach.shape)), part.tolist().index(point)
            yield Starts(point, proved=True, x=x, margin=np.zeros(0), rivals=(), value=margins.value, row=row)
        tried = effort or Effort()
        most = max(tried.batch, math.floor(min(tried.domains, tried.work / _numbers(margins.value))))
        trees = Search(margins, replace(tried, domains=min(tried.domains, most)), method.book).run()
        while True:
            with torch.no_grad():
                tree = next(trees, None)
            if tree is None:
                break
            x = np.array([x.double().numpy() for _, x in tree.inputs]).reshape(-1, *reach.shape)
            margin = np.array([margin for margin, _ in tree.inputs], np.float64)
            rivals = margins.open()[:, 1][margins.open()[:, 0] == tree.point].tolist()
            left = tuple(dict.fromkeys(domain.rival for domain in tree.queue)) if tree.queue else rivals
            yield Starts(
                point=int(part[tree.point]),
                proved=tree.closed,
                x=x,
                margin=margin,
                rivals=() if tree.closed else tuple(rivals if tree.stuck else left),
                value=margins.value,
                row=tree.point,
            )


def _numbers(value: Enclosure) -> int:
    """Numbers that a network holds for one sample, from the input on."""
    steps = order(value.step) if value.step is not None else []
    return value.shape[1:].numel() + sum(parent.shape[1:].numel() for s in steps for parent in s.parents)
