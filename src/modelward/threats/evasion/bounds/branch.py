"""Branch and bound over the signs of ReLUs: complete for small networks, given time.

A domain fixes the signs of some ReLUs; its bound is that of the relaxation with multipliers for these
constraints (Wang et al. 2021, beta-CROWN, arXiv 2103.06624v2, section 3; branch and bound for networks: Bunel
et al. 2020, JMLR 21(42), section 4). The intermediate bounds stay those of the whole set.

Which ReLU to split is read off the input at which the bound is attained: at that input the network's margin
exceeds the bound by exactly the sum of what each ReLU's line loses there, so the ReLU that loses most is
split. Where the network's own margin there is not positive, the input is a candidate counterexample.
"""

from __future__ import annotations

import heapq
import itertools
import math
import operator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar, final

import torch
from torch import Tensor

from modelward.threats.evasion.bounds.backward import evaluated, least
from modelward.threats.evasion.bounds.rows import Rows
from modelward.threats.evasion.bounds.slopes import ascend, rectifiers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelward.threats.evasion.bounds.margins import Margins
    from modelward.threats.evasion.bounds.steps import Rectified

    Spend = Callable[[int], bool]
    Pieces: TypeAlias = "list[tuple[Tree[_Domain], _Domain]]"
    Splits = dict[Rectified, Tensor]

_AREA: Final = 0.05
"""Weight of a ReLU's largest possible loss beside its loss at the input."""
_DEPTH: Final = 4
_PATIENCE: Final = 3
_KEPT: Final = 8


@final
@dataclass(frozen=True, slots=True)
class Effort:
    """How much to try.

    Attributes:
        domains: per point, at most.
        batch: domains bounded at once.
        together: points worked on at once.
        steps: of ascent per domain.
        work: numbers that the network may hold in all domains of one point together: larger networks are
            given fewer domains where this is less, since each takes longer (`bounds.search`).
    """

    domains: int = 4096
    batch: int = 64
    together: int = 4
    steps: int = 8
    work: float = math.inf


@final
@dataclass(frozen=True, order=True, slots=True)
class _Domain:
    """One part of one point's inputs, against one rival.

    Attributes:
        bound: lower bound of the margin.
        number: breaks ties, oldest first.
        rival: score column.
        sign: int8 splits.
        slopes: float16 where the ascent starts.
        multipliers: likewise.
        worst: ReLUs to split next as (ReLU, position in the flat sample), the most promising first.
        tries: how often it was bounded without a split.
    """

    bound: float
    number: int
    rival: int = field(compare=False)
    sign: Splits = field(compare=False)
    slopes: Splits = field(compare=False)
    multipliers: Splits = field(compare=False)
    worst: tuple[tuple[Rectified, int], ...] = field(compare=False)
    tries: int = field(compare=False, default=0)


Part = TypeVar("Part")


@final
@dataclass(eq=False, slots=True)
class Tree(Generic[Part]):
    """What is known about one point.

    Attributes:
        point: its index in the margins.
        queue: parts of its set that are still open, a heap by bound.
        visited: parts bounded.
        inputs: margins and (*shape) float64 inputs at which the bounds of parts were attained, those with the
            least margin as the graph computes it, ascending.
        stuck: a part could neither be decided nor split.
    """

    point: int
    queue: list[Part] = field(default_factory=list)
    visited: int = 0
    inputs: list[tuple[float, Tensor]] = field(default_factory=list)
    stuck: bool = False

    @property
    def margin(self) -> float:
        """The least margin of an input seen."""
        return self.inputs[0][0] if self.inputs else math.inf

    def keep(self, margin: float, x: Tensor) -> None:
        """Remember an input if it is among the most promising."""
        if len(self.inputs) < _KEPT or margin < self.inputs[-1][0]:
            self.inputs = sorted([*self.inputs, (margin, x)], key=operator.itemgetter(0))[:_KEPT]

    @property
    def closed(self) -> bool:
        """Whether every part is proved."""
        return not self.queue and not self.stuck

    @property
    def decided(self) -> bool:
        """Whether the point is proved or has a candidate counterexample."""
        return self.closed or self.margin <= 0

    def done(self, effort: Effort) -> bool:
        """Whether there is nothing more to do: proved, attackable, stuck or too large."""
        return not self.queue or self.stuck or self.margin <= 0 or self.visited >= effort.domains


@final
class Search:
    """Branch and bound for the open points of some margins.

    Args:
        margins: of a batch of points; the relaxation behind their value is what is searched.
        effort: how much to try.
        spend: asked before so many backward samples are used.
    """

    def __init__(self, margins: Margins, effort: Effort, spend: Spend) -> None:
        self._margins, self._effort, self._spend = margins, effort, spend
        self._needed = margins.needed
        self._relus = rectifiers(margins.value)
        self._number = itertools.count()
        self._refused = False

    def run(self) -> Iterator[Tree[_Domain]]:
        """Work on the points, those nearest to a proof first; a tree is yielded as soon as it is done.

        When the budget refuses, all trees that were begun are yielded as they are.
        """
        pairs = self._margins.open()
        worst = self._margins.lower.amin(dim=1)
        waiting = sorted({int(p) for p in pairs[:, 0]}, key=lambda point: -float(worst[point]))
        active: list[Tree[_Domain]] = []
        while (waiting or active) and not self._refused:
            while waiting and len(active) < self._effort.together:
                active.append(self._root(waiting.pop(0), pairs))
            for tree in [tree for tree in active if tree.done(self._effort)]:
                active.remove(tree)
                yield tree
            if active:
                self._advance(active)
        yield from active

    def _root(self, point: int, pairs: Tensor) -> Tree[_Domain]:
        tree: Tree[_Domain] = Tree(point)
        for rival in pairs[pairs[:, 0] == point, 1].tolist():
            bound = float(self._margins.lower[point, rival])
            tree.queue.append(_Domain(bound, next(self._number), rival, {}, {}, {}, ()))
        heapq.heapify(tree.queue)
        return tree

    def _advance(self, trees: list[Tree[_Domain]]) -> None:
        """Split the worst domains of some trees and bound what comes of them."""
        share = max(1, self._effort.batch // len(trees))
        parts: Pieces = []
        for tree in trees:
            chosen = [heapq.heappop(tree.queue) for _ in range(min(len(tree.queue), max(1, share // 2)))]
            depth = max(1, min(_DEPTH, (share // max(1, len(chosen))).bit_length() - 1))
            for domain in chosen:
                parts += [(tree, part) for part in _split(domain, depth)]
        if not self._spend(2 * (self._effort.steps + 1) * len(parts)):
            self._refused = True
            for tree, _ in parts:
                tree.stuck = True
            return
        for start in range(0, len(parts), 2 * self._effort.batch):
            self._bound(parts[start : start + 2 * self._effort.batch])

    def _bound(self, parts: Pieces) -> None:
        domains = [domain for _, domain in parts]
        points = torch.tensor([tree.point for tree, _ in parts])
        pairs = torch.stack([points, torch.tensor([domain.rival for domain in domains])], dim=1)
        a = self._margins.differences(pairs, torch.float32)
        rows = Rows(points, torch.float32, seen={})
        self._start(rows, domains)
        steps = self._effort.steps * (1 + 3 * max(domain.tries for domain in domains))
        ascend(self._margins.value, a, rows, steps)
        with torch.no_grad():
            found: list[Tensor] = []
            bound = least(self._margins.value, a, replace(rows, least=found))
            inputs = found[0] if found else None
            scores = self._losses(rows, inputs)
        self._note(parts, inputs)
        self._file(parts, bound, rows, scores)

    def _start(self, rows: Rows, domains: list[_Domain]) -> None:
        for step in self._relus:
            shape = step.source.shape[1:]
            if any(step in domain.sign for domain in domains):
                none = torch.zeros(shape, dtype=torch.int8)
                rows.sign[step] = torch.stack([d.sign.get(step, none) for d in domains])
            if all(step in domain.slopes for domain in domains):
                rows.alpha[step] = torch.stack([domain.slopes[step] for domain in domains]).float()
            if step in rows.sign:
                zero = torch.zeros(shape, dtype=torch.float16)
                rows.beta[step] = torch.stack([d.multipliers.get(step, zero) for d in domains]).float()

    def _losses(self, rows: Rows, inputs: Tensor | None) -> Tensor:
        """(r, ReLUs) what the lines lose at the inputs, ReLU by ReLU; 0 where the sign is known."""
        values = None
        if inputs is not None and self._margins.value.step is not None:
            values = evaluated(self._margins.value.step, inputs.float())
        parts = []
        for step in self._relus:
            lines, a = rows.lines(step), (rows.seen or {})[step]
            loss = _AREA * -a.clamp_max(0) * lines.height
            if values is not None and step.source.step is not None:
                z = values[step.source.step]
                up, down = a.clamp_min(0), a.clamp_max(0)
                below, above = rows.alpha[step] * z, lines.above * z + lines.height
                loss = loss + (a * torch.relu(z) - up * below - down * above).clamp_min(0)
            parts.append(torch.where(rows.slopes(step).open, loss + 1e-12, 0.0).flatten(1))
        return torch.cat(parts, dim=1) if parts else torch.zeros(len(rows.point), 0)

    def _note(self, parts: Pieces, inputs: Tensor | None) -> None:
        """Keep the inputs with the least margin of the network itself."""
        for tree, _ in parts:
            tree.visited += 1
        if inputs is None or self._margins.value.step is None:
            return
        values = evaluated(self._margins.value.step, inputs.float())
        if values is None:
            return
        scores = values[self._margins.value.step].double()
        target = torch.tensor([int(self._margins.target[tree.point]) for tree, _ in parts])
        rival = scores.scatter(1, target[:, None], -torch.inf).amax(dim=1)
        margin = scores.gather(1, target[:, None])[:, 0] - rival
        for i, (tree, _) in enumerate(parts):
            tree.keep(float(margin[i]), inputs[i])

    def _file(self, parts: Pieces, bound: Tensor, rows: Rows, scores: Tensor) -> None:
        """Put domains that are not proved back into their queues."""
        best = scores.topk(min(_DEPTH, scores.shape[1]), dim=1)
        ends = list(itertools.accumulate(step.source.lower[0].numel() for step in self._relus))
        for i, (tree, domain) in enumerate(parts):
            if float(bound[i]) > float(self._needed[tree.point]):
                continue
            worst = tuple(
                self._place(ends, int(place))
                for place, score in zip(best.indices[i], best.values[i], strict=True)
                if score > 0
            )
            if not worst and domain.tries >= _PATIENCE:
                tree.stuck = True
            part = _Domain(
                max(domain.bound, float(bound[i])),
                next(self._number),
                domain.rival,
                domain.sign,
                {step: value[i].half() for step, value in rows.alpha.items()},
                {step: value[i].half() for step, value in rows.beta.items()},
                worst,
                0 if worst else domain.tries + 1,
            )
            heapq.heappush(tree.queue, part)

    def _place(self, ends: list[int], position: int) -> tuple[Rectified, int]:
        which = next(i for i, end in enumerate(ends) if position < end)
        return self._relus[which], position - (ends[which - 1] if which else 0)


def _split(domain: _Domain, depth: int) -> Iterator[_Domain]:
    """All sign patterns of the next ReLUs; the domain itself when it has none to split."""
    chosen = domain.worst[:depth]
    for signs in itertools.product((-1, 1), repeat=len(chosen)):
        split = dict(domain.sign)
        for (step, place), sign in zip(chosen, signs, strict=True):
            old = split.get(step)
            flat = torch.zeros(step.source.shape[1:], dtype=torch.int8) if old is None else old.clone()
            flat.view(-1)[place] = sign
            split[step] = flat
        yield _Domain(
            domain.bound,
            domain.number,
            domain.rival,
            split,
            domain.slopes,
            domain.multipliers,
            (),
            domain.tries,
        )
