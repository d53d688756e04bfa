"""One question to the copy, the faster ways to ask it, and the check that these say the same.

A wrong slope would make a model look robust, so that no way but the plain one is trusted: its answers are
compared with those of the plain one again and again, and it is given up at the first that differ.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias, final

import torch
from torch import Tensor

from modelward.threats.evasion.gradient.losses import logarithms, loss, margin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from modelward.threats.evasion.gradient.losses import Loss

_NEAR: Final = 1e-3
"""Two margins agree within this part of the larger of 1 and their size: float32 sums in another order."""
_SLOPE: Final = 1e-2
"""Two slopes agree when the norm of their difference is at most this part of the larger norm."""
_COMPARED: Final = 16
_KINKS: Final = 1 / 16
"""Share of the slopes that may differ: rounding decides on which side of a ReLU's corner an input lies."""
_OFTEN: Final = 4
"""A step is recorded when it is asked for this often with a batch of about the same size."""
_LEAST: Final = 8
BEFORE: Final = 3
"""How often a step runs before it is recorded, so that libraries have prepared what a recording may not."""
_RUNS: Final = BEFORE + 2
"""And once for the record, and once to be compared with it."""


class Question(NamedTuple):
    """What the copy is asked about.

    Attributes:
        x: (b, *shape).
        target: (b,) int64 true columns.
        goal: (b,) int64 columns, -1 for none.
    """

    x: Tensor
    target: Tensor
    goal: Tensor

    def each(self, change: Callable[[Tensor], Tensor]) -> Question:
        """The same with something done to every tensor."""
        return Question(change(self.x), change(self.target), change(self.goal))

    def parts(self, size: int) -> list[Question]:
        """At most so many rows each."""
        return [Question(*part) for part in zip(*(torch.split(each, size) for each in self), strict=True)]


@final
@dataclass(frozen=True, slots=True)
class Seen:
    """What the copy said to a batch.

    Attributes:
        wrong: (b,) whether the decision differs from the label.
        margin: (b,) difference to the goal, or to the best other class, of logits.
        value: (b,) the loss asked for.
        slope: (b, *shape) of the loss, or null when none was asked for.
    """

    wrong: Tensor
    margin: Tensor
    value: Tensor
    slope: Tensor | None

    def each(self, change: Callable[[Tensor], Tensor]) -> Seen:
        """The same with something done to every tensor."""
        wrong, gap, value = change(self.wrong), change(self.margin), change(self.value)
        return Seen(wrong, gap, value, None if self.slope is None else change(self.slope))


def joined(parts: Sequence[Seen]) -> Seen:
    """Answers to the parts of a batch as one."""
    if len(parts) == 1:
        return parts[0]
    wrong, gap, value = (
        torch.cat(each)
        for each in zip(*((part.wrong, part.margin, part.value) for part in parts), strict=True)
    )
    slopes = [part.slope for part in parts if part.slope is not None]
    return Seen(wrong, gap, value, torch.cat(slopes) if slopes else None)


class Way(Protocol):
    """How a batch is asked about."""

    def __call__(self, asked: Question, kind: Loss | None) -> Seen:
        """Ask.

        Args:
            asked: the batch.
            kind: the loss to differentiate; null for no slope, the value is then the margin.
        """
        ...


@final
@dataclass(frozen=True, slots=True)
class Plain:
    """Operation by operation; nothing in it waits for a device, so that it can be recorded.

    Attributes:
        module: in evaluation mode.
        last: give images to it with their channels last in memory.
    """

    module: nn.Module
    last: bool = False

    def __call__(self, asked: Question, kind: Loss | None) -> Seen:
        """See `Way`."""
        x, target, goal = asked
        if self.last:
            x = x.contiguous(memory_format=torch.channels_last)
        if kind is None:
            with torch.no_grad():
                scores = logarithms(self.module(x))
            gap = margin(scores, target, goal)
            return Seen(scores.argmax(dim=1) != target, gap, gap, None)
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            scores = logarithms(self.module(x))
            value = loss(kind, scores, target, goal)
            slope: Tensor | None = None
            if value.requires_grad:
                (slope,) = torch.autograd.grad(value.sum(), x, allow_unused=True)
        slope = torch.zeros_like(x) if slope is None else torch.nan_to_num(slope)
        scores = scores.detach()
        gap = margin(scores, target, goal)
        return Seen(scores.argmax(dim=1) != target, gap, value.detach(), slope.contiguous())


@final
@dataclass(frozen=True, slots=True)
class Full:
    """One way for batches of one size, which it was worth preparing for, and another for all others.

    Attributes:
        way: for full batches.
        rest: for others.
        rows: of a full batch.
    """

    way: Way
    rest: Way
    rows: int

    def __call__(self, asked: Question, kind: Loss | None) -> Seen:
        """See `Way`."""
        return (self.way if len(asked.x) == self.rows else self.rest)(asked, kind)


def agree(one: Seen, other: Seen) -> bool:
    """Whether two answers to the same batch are the same up to rounding.

    Every margin must be, and of losses and slopes all but one in 16.
    """
    if not bool(torch.isclose(one.margin, other.margin, rtol=_NEAR, atol=_NEAR, equal_nan=True).all()):
        return False
    off = ~torch.isclose(one.value, other.value, rtol=_NEAR, atol=_NEAR, equal_nan=True)
    if one.slope is not None and other.slope is not None:
        first, second = one.slope.flatten(1), other.slope.flatten(1)
        size = torch.maximum(first.norm(dim=1), second.norm(dim=1))
        off = off | ((first - second).norm(dim=1) > _SLOPE * size)
    return (one.slope is None) == (other.slope is None) and int(off.sum()) <= _KINKS * len(off)


def bucket(rows: int) -> int:
    """The power of two, from 8 on, that a batch is filled up to."""
    return max(_LEAST, 1 << (rows - 1).bit_length())


_Tape: TypeAlias = tuple[Question, "Callable[[], Seen]"]
"""What a recording reads, and what plays it."""


@final
class Recorded:
    """Another way, recorded per loss and size of batch, and played from then on.

    Batches are filled up with their own first row to a power of two. Every recording is compared with what it
    is of, at once; the call raises `RuntimeError` where they differ.

    Args:
        way: what is recorded.
        record: takes a step that reads and writes fixed tensors; returns what runs it again.
        affords: books the samples that recording sends forward and backward; where it refuses, nothing is
            recorded.

    Attributes:
        filled: rows that only filled a batch up.
    """

    def __init__(
        self,
        way: Way,
        record: Callable[[Callable[[], Seen]], Callable[[], Seen]],
        affords: Callable[[int, int], bool],
    ) -> None:
        self._way, self._record, self._affords = way, record, affords
        self._tapes: dict[tuple[int, Loss | None], _Tape] = {}
        self._asked: Counter[tuple[int, Loss | None]] = Counter()
        self.filled = 0

    def __call__(self, asked: Question, kind: Loss | None) -> Seen:
        """See `Way`."""
        rows = len(asked.x)
        size = bucket(rows)
        self._asked[size, kind] += 1
        if (size, kind) not in self._tapes:
            runs = _RUNS * size
            if self._asked[size, kind] < _OFTEN or not self._affords(runs, 0 if kind is None else runs):
                return self._way(asked, kind)
            self._tapes[size, kind] = self._taped(asked, size, kind)
        self.filled += size - rows
        return _played(self._tapes[size, kind], asked)

    def _taped(self, asked: Question, size: int, kind: Loss | None) -> _Tape:
        given = asked.each(lambda values: values.new_empty((size, *values.shape[1:])))
        _fill(given, asked)
        tape = (given, self._record(lambda: self._way(given, kind)))
        if not agree(_played(tape, asked), self._way(asked, kind)):
            raise RuntimeError(f"a recording of {size} samples answers otherwise than what it is of")
        return tape


def _fill(given: Question, asked: Question) -> None:
    for place, values in zip(given, asked, strict=True):
        place[: len(values)].copy_(values.detach())
        place[len(values) :].copy_(values[:1].detach())


def _played(tape: _Tape, asked: Question) -> Seen:
    given, play = tape
    _fill(given, asked)
    rows = len(asked.x)
    return play().each(lambda values: values[:rows].clone())  # the next play writes to the same memory


@final
class Checked:
    """The first of some ways that does not fail and says what the plain one says.

    Compared are up to 16 rows of the 1st, 4th, 16th, 64th... question of each loss, and size of batch.

    Args:
        plain: what is right by definition.
        ways: names and faster ways, the best first.
        affords: books samples sent forward and backward for comparisons; while it refuses, the plain way
            answers.
        sized: whether a way may do otherwise for another size of batch.

    Attributes:
        notes: what was given up, and why.
    """

    def __init__(
        self,
        plain: Way,
        ways: Sequence[tuple[str, Way]],
        affords: Callable[[int, int], bool],
        *,
        sized: bool = True,
    ) -> None:
        self._plain, self._ways, self._affords, self._sized = plain, list(ways), affords, sized
        self._asked: Counter[tuple[int, Loss | None]] = Counter()
        self.notes: list[str] = []

    @property
    def name(self) -> str:
        """The way that is used."""
        return self._ways[0][0] if self._ways else "plain"

    def prefer(self, name: str, way: Way) -> None:
        """Use another way from now on, as long as it stands its checks."""
        self._ways.insert(0, (name, way))
        self._asked.clear()

    def __call__(self, asked: Question, kind: Loss | None) -> Seen:
        """See `Way`."""
        if not self._ways:
            return self._plain(asked, kind)
        length = len(asked.x)
        key = (bucket(length) if self._sized else 0, kind)
        count = self._asked[key] + 1
        compared = min(_COMPARED, length)
        due = count & (count - 1) == 0 and count.bit_length() % 2 == 1
        if due and not self._affords(compared, 0 if kind is None else compared):
            return self._plain(asked, kind)
        self._asked[key] = count
        try:
            seen = self._ways[0][1](asked, kind)
        except (RuntimeError, TypeError, ValueError, ImportError, OSError) as error:
            self._give_up(str(error).strip().split("\n", 1)[0] or type(error).__name__)
            seen = None
        if seen is not None and due:
            rows = torch.linspace(0, length - 1, compared).round().long().to(asked.x.device)
            sure = self._plain(asked.each(lambda values: values[rows]), kind)
            if not agree(seen.each(lambda values: values[rows]), sure):
                self._give_up("its answers differ from those of the plain step")
                seen = None
        return self._plain(asked, kind) if seen is None else seen

    def _give_up(self, reason: str) -> None:
        name, _ = self._ways.pop(0)
        self._asked.clear()
        self.notes.append(f"{name}: given up, {reason}")
