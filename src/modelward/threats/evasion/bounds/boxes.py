"""Branch and bound over the inputs: for few features, whatever the network computes of them.

Splitting the input box shrinks every intermediate interval, so that also networks without ReLUs are decided
in the end (Wang et al. 2018, "Formal security analysis of neural networks using symbolic intervals", arXiv
1804.10829v3, section 4.2). A box is halved along the feature of the largest width times slope; some slope is
granted to every feature, so that all are halved in the end. Parts of the box outside the ball are dropped.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, final

import torch
from torch import Tensor

from modelward.threats.evasion.bounds.backward import least
from modelward.threats.evasion.bounds.branch import Tree
from modelward.threats.evasion.bounds.enclosure import TINY, Enclosure
from modelward.threats.evasion.bounds.inputs import Source
from modelward.threats.evasion.bounds.margins import Margins
from modelward.threats.evasion.bounds.propagate import propagate
from modelward.threats.evasion.bounds.refine import refiner
from modelward.threats.evasion.bounds.rows import Rows
from modelward.threats.evasion.modules import as_evaluated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import fx

    from modelward.threats.evasion.bounds.branch import Effort
    from modelward.threats.evasion.bounds.cascade import Spend

FEATURES: Final = 16
"""Inputs with more features that may change are not split: halving all of them takes 2^features parts."""
NORMS: Final = frozenset({"linf", "l2", "l1"})
_FLOOR: Final = 0.1
"""Share of the steepest slope that is granted to every feature."""
_NARROW: Final = 2.0**-22
"""Boxes whose sides are all below this share of the values' size are not split: few float32 are left."""
_ROUND: Final = 1 - 2.0**-30
"""Covers the rounding of the distance from a box to the ball's centre."""


@final
@dataclass(frozen=True, order=True, slots=True)
class _Box:
    """A part of one point's inputs.

    Attributes:
        bound: lower bound of the margin against any rival.
        number: breaks ties, oldest first.
        lower: (*shape) float64.
        upper: likewise.
        slope: (*shape) how much each feature matters, about.
    """

    bound: float
    number: int
    lower: Tensor = field(compare=False)
    upper: Tensor = field(compare=False)
    slope: Tensor = field(compare=False)


def splittable(source: object) -> bool:
    """Whether the inputs of these points are worth splitting."""
    if not isinstance(source, Source) or source.norm not in NORMS:
        return False
    return int((source.upper > source.lower).flatten(1).sum(dim=1).max()) <= FEATURES


@final
class Boxes:
    """Branch and bound over the input boxes of some points.

    Args:
        graph: the traced network.
        source: the inputs of the points, for which `splittable` holds.
        target: (n,) int64 columns of their labels.
        tolerance: see `Differentiable.tolerance`.
    """

    def __init__(self, graph: fx.GraphModule, source: Source, target: Tensor, tolerance: float) -> None:
        self._graph, self._source, self._target, self._tolerance = graph, source, target, tolerance
        self._number = itertools.count()
        self._refused = False

    def run(self, effort: Effort, spend: Spend) -> Iterator[Tree[_Box]]:
        """Work on one point after the other; trees are yielded as they are when the budget refuses.

        Args:
            effort: how much to try.
            spend: asked before every expense.
        """
        for point in range(len(self._target)):
            tree: Tree[_Box] = Tree(point)
            parts = [(self._source.lower[point], self._source.upper[point])]
            while self._bounded(tree, parts, spend) and not tree.done(effort):
                count = min(len(tree.queue), max(1, effort.batch // 2))
                chosen = [heapq.heappop(tree.queue) for _ in range(count)]
                parts = [half for box in chosen for half in self._halves(box)]
            yield tree
            if self._refused:
                return

    def _bounded(self, tree: Tree[_Box], parts: list[tuple[Tensor, Tensor]], spend: Spend) -> bool:
        """Bound boxes, and queue those that are not proved; false when the budget refuses."""
        lower, upper = (torch.stack(ends) for ends in zip(*parts, strict=True))
        near = self._near(tree.point, lower, upper)
        lower, upper = lower[near], upper[near]
        tree.visited += len(lower)
        if not len(lower):
            return True
        margins = self._margins(tree.point, lower, upper, spend)
        if margins is None:
            return self._refuse(tree)
        left = (~margins.certified).nonzero()[:, 0]
        if not len(left):
            return True
        if not spend(forward=len(left), backward=len(left)):
            return self._refuse(tree)
        lower, upper, bounds = lower[left], upper[left], margins.lower[left].amin(dim=1)
        slopes = self._noted(tree, (lower + upper) / 2)
        sizes = torch.maximum(lower.abs(), upper.abs()).flatten(1).amax(dim=1)
        narrow = (upper - lower).flatten(1).amax(dim=1) <= _NARROW * sizes
        tree.stuck |= bool(narrow.any())
        for low, high, bound, slope in zip(lower, upper, bounds.tolist(), slopes, strict=True):
            heapq.heappush(tree.queue, _Box(bound, next(self._number), low, high, slope))
        return True

    def _refuse(self, tree: Tree[_Box]) -> bool:
        tree.stuck = self._refused = True
        return False

    def _margins(self, point: int, lower: Tensor, upper: Tensor, spend: Spend) -> Margins | None:
        """Margins over boxes, null when the budget refuses."""
        if not spend(forward=2 * len(lower)):
            return None
        middle, none = (lower + upper) / 2, torch.zeros_like(lower)
        source = replace(
            self._source, norm="linf", lower=lower, upper=upper, origin=middle, scale=none, blur=none
        )
        refine = refiner(lambda forms: spend(bounds=forms))
        scores = propagate(self._graph, Enclosure(lower, upper, step=source), refine)
        margins = Margins(scores, self._target[point].expand(len(lower)), self._tolerance)
        pairs = margins.open()
        if not spend(bounds=len(pairs)):
            return None
        a = margins.differences(pairs, torch.float32)
        margins.improve(pairs, least(margins.value, a, Rows(pairs[:, 0], torch.float32)))
        return margins

    def _near(self, point: int, lower: Tensor, upper: Tensor) -> Tensor:
        """(m,) which boxes may touch the ball."""
        source = self._source
        if source.norm == "linf":
            return torch.ones(len(lower), dtype=torch.bool)
        origin, scale = source.origin[point], source.scale[point]
        gap = torch.maximum(lower - origin, origin - upper) - source.blur[point]
        units = torch.where(scale > 0, gap.clamp_min(0) / scale.clamp_min(TINY), 0.0)
        return _length(units, source.norm) * _ROUND <= source.eps

    def _noted(self, tree: Tree[_Box], x: Tensor) -> Tensor:
        """Keep inputs with their margins, and say how steep the margin is there in each feature."""
        source, point = self._source, tree.point
        if source.norm != "linf":
            move, scale = x - source.origin[point], source.scale[point]
            length = _length(torch.where(scale > 0, move / scale.clamp_min(TINY), 0.0), source.norm)
            share = (source.eps * _ROUND / length.clamp_min(TINY)).clamp_max(1)
            x = source.origin[point] + move * share.reshape(-1, *[1] * (x.dim() - 1))
        start = x.float().requires_grad_()
        with torch.enable_grad(), as_evaluated(self._graph):
            scores = self._graph(start)
            own = scores[:, self._target[point]]
            rivals = scores.index_fill(1, self._target[point], -torch.inf).amax(dim=1)
            margin = own - rivals
            (slope,) = torch.autograd.grad(margin.sum(), start)
        for value, place in zip(margin.detach().double().tolist(), x, strict=True):
            tree.keep(value, place)
        slope = slope.double().abs().nan_to_num(0.0, 0.0, 0.0)
        steepest = slope.flatten(1).amax(dim=1).clamp_min(TINY).reshape(-1, *[1] * (x.dim() - 1))
        return slope + _FLOOR * steepest

    def _halves(self, box: _Box) -> list[tuple[Tensor, Tensor]]:
        """Both halves."""
        width = box.upper - box.lower
        place = int((width * box.slope).argmax())
        middle = (box.lower + box.upper).flatten()[place] / 2
        left, right = box.upper.clone(), box.lower.clone()
        left.view(-1)[place] = right.view(-1)[place] = middle
        return [(box.lower, left), (right, box.upper)]


def _length(units: Tensor, norm: str) -> Tensor:
    flat = units.flatten(1)
    return flat.square().sum(dim=1).sqrt() if norm == "l2" else flat.abs().sum(dim=1)
