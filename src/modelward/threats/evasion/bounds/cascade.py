"""From cheap to dear: intervals, linear relaxation, optimised slopes, branch and bound; open points only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, final

import torch

from modelward.threats.evasion.bounds.backward import least
from modelward.threats.evasion.bounds.boxes import Boxes, splittable
from modelward.threats.evasion.bounds.branch import Effort, Search
from modelward.threats.evasion.bounds.inputs import Source
from modelward.threats.evasion.bounds.margins import Margins
from modelward.threats.evasion.bounds.propagate import propagate
from modelward.threats.evasion.bounds.refine import refiner
from modelward.threats.evasion.bounds.rows import Rows
from modelward.threats.evasion.bounds.slopes import ascend, rectifiers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor, fx

    from modelward.core.check import Preset
    from modelward.threats.evasion.bounds.branch import Part, Tree
    from modelward.threats.evasion.bounds.enclosure import Enclosure

KINDS: Final = ("interval", "linear relaxation", "optimised relaxation", "branch and bound")
_ROUNDS: Final = (6, 8, 10)
"""Steps of ascent between two looks at which points are proved."""
_ROWS: Final = 256
_AGAIN: Final = 6.0
"""So many times what float64 gains on the margin alone it may gain with all intermediate bounds, about."""
_ASCENT: Final = {"quick": 0, "standard": 3, "thorough": 8}
"""Steps of ascent for the intermediate bounds, by preset."""
_WORK: Final = {"quick": 1e8, "standard": 5e8, "thorough": 5e9}
"""Coefficients that intermediate bounds of one point may take, about a second per 10^8 to 10^9."""


class Spend(Protocol):
    """Books samples before they are used; false when the budget refuses."""

    def __call__(self, *, forward: int = 0, backward: int = 0, bounds: int = 0) -> bool:
        """See `Share.take`."""
        ...


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How to bound.

    Attributes:
        graph: the traced network.
        tolerance: see `Differentiable.tolerance`.
        preset: quick stops after linear relaxation, standard after optimised relaxation.
        spend: asked before every expense.
    """

    graph: fx.GraphModule
    tolerance: float
    preset: Preset
    spend: Spend

    def book(self, forms: int) -> bool:
        """Book linear forms that are sent backward."""
        return self.spend(bounds=forms)


@final
class Cascade:
    """The proofs of one batch of points.

    Args:
        method: how to bound.
        enclose: the admissible inputs of points at given positions in the batch.
        target: (n,) int64 columns of their labels.

    Attributes:
        proved: (n,) int64 index into `KINDS` of each point's proof, -1 for none.
        bounded: (n,) whether a point was bounded at all.
    """

    def __init__(self, method: Method, enclose: Callable[[Tensor], Enclosure], target: Tensor) -> None:
        self._method, self._enclose, self._target = method, enclose, target
        self.proved = torch.full((len(target),), -1)
        self.bounded = torch.zeros(len(target), dtype=torch.bool)

    def cheap(self, index: Tensor) -> bool:
        """Intervals, and a backward pass for the margins that these leave open.

        Args:
            index: (m,) positions of points.

        Returns:
            Whether the budget allowed it.
        """
        if not self._method.spend(forward=2 * len(index)):
            return False
        self.bounded[index] = True
        margins = self._margins(propagate(self._method.graph, self._enclose(index)), index)
        self._settle(margins, index, 0)
        return self._relax(margins, index)

    def dear(self, index: Tensor) -> Margins | None:
        """Backward bounds of intermediate values, then slopes; the margins, null at the budget's end."""
        if not self._method.spend(forward=2 * len(index)):
            return None
        preset = self._method.preset
        refine = refiner(self._method.book, _ASCENT[preset], _WORK[preset] * len(index))
        margins = self._margins(propagate(self._method.graph, self._enclose(index), refine), index)
        if not self._relax(margins, index) or not self._sharpen(margins, index):
            return None
        if self._method.preset != "quick" and not self._optimise(margins, index):
            return None
        return margins

    def search(self, margins: Margins, index: Tensor, effort: Effort) -> list[tuple[int, Tensor]]:
        """Branch and bound; returns positions and inputs that the graph gets wrong.

        Signs of ReLUs are split where there are any, then inputs where few features may change.
        """
        found = []
        left = torch.tensor(sorted(set(margins.open()[:, 0].tolist())), dtype=torch.int64)
        if rectifiers(margins.value):
            trees = {tree.point: tree for tree in Search(margins, effort, self._method.book).run()}
            found = self._decided(trees.values(), index)
            undecided = [p for p in left.tolist() if p not in trees or not trees[p].decided]
            left = torch.tensor(undecided, dtype=torch.int64)
        source = self._enclose(index[left]).step if len(left) else None
        if isinstance(source, Source) and splittable(source):
            part, method = index[left], self._method
            boxes = Boxes(method.graph, source, self._target[part], method.tolerance)
            found += self._decided(boxes.run(effort, method.spend), part)
        return found

    def _decided(self, trees: Iterable[Tree[Part]], index: Tensor) -> list[tuple[int, Tensor]]:
        found = []
        for tree in trees:
            if tree.closed:
                self.proved[index[tree.point]] = 3
            elif tree.margin <= 0:
                found.append((int(index[tree.point]), tree.inputs[0][1]))
        return found

    def _margins(self, scores: Enclosure, index: Tensor) -> Margins:
        return Margins(scores, self._target[index], self._method.tolerance)

    def _settle(self, margins: Margins, index: Tensor, kind: int) -> None:
        fresh = margins.certified & (self.proved[index] < 0)
        self.proved[index[fresh]] = kind

    def _relax(self, margins: Margins, index: Tensor) -> bool:
        pairs = margins.open()
        if not self._method.book(len(pairs)):
            return False
        for part in torch.split(pairs, _ROWS):
            rows = Rows(part[:, 0], torch.float32)
            margins.improve(part, least(margins.value, margins.differences(part, torch.float32), rows))
        self._settle(margins, index, 1)
        return True

    def _sharpen(self, margins: Margins, index: Tensor) -> bool:
        """Bound points again in float64 whose proof may fail by the rounding of coefficients alone."""
        left = (~margins.certified).nonzero()[:, 0]
        if not len(left):
            return True
        if not self._method.book(len(left)):
            return False
        worst = torch.stack([left, margins.lower[left].argmin(dim=1)], dim=1)
        a = margins.differences(worst, torch.float64)
        wide = least(margins.value, a, Rows(left, torch.float64))
        narrow = margins.lower[left].amin(dim=1)
        near = left[wide + _AGAIN * (wide - narrow) > margins.needed[left]]
        if not len(near):
            return True
        method = self._method
        if not method.spend(forward=2 * len(near)):
            return False
        refine = refiner(method.book, 0, _WORK[method.preset] * len(near), dtype=torch.float64)
        fine = self._margins(propagate(method.graph, self._enclose(index[near]), refine), index[near])
        pairs = fine.open()
        if not method.book(len(pairs)):
            return False
        a = fine.differences(pairs, torch.float64)
        fine.improve(pairs, least(fine.value, a, Rows(pairs[:, 0], torch.float64)))
        margins.lower[near] = torch.maximum(margins.lower[near], fine.lower)
        self._settle(margins, index, 1)
        return True

    def _optimise(self, margins: Margins, index: Tensor) -> bool:
        pairs = margins.open()
        # A point needs all its rivals, so the rows of a point stay together.
        for part in torch.split(pairs, _ROWS):
            rows: Rows | None = None
            kept = part
            for steps in _ROUNDS:
                if not self._method.book((2 * steps + 1) * len(kept)):
                    return False
                alpha = {} if rows is None else rows.alpha
                rows = Rows(kept[:, 0], torch.float32, alpha=alpha)
                a = margins.differences(kept, torch.float32)
                ascend(margins.value, a, rows, steps)
                margins.improve(kept, least(margins.value, a, rows))
                point, rival = kept.T
                left = ~margins.certified[point] & (margins.lower[point, rival] <= margins.needed[point])
                kept = kept[left]
                if not len(kept):
                    break
                for step, slope in list(rows.alpha.items()):
                    rows.alpha[step] = slope[left]
        self._settle(margins, index, 2)
        return True
