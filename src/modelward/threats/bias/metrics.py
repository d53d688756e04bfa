"""Group metrics over all intersections of sensitive columns, from one contingency table.

The rows are counted once into cells (group x outcome); everything after, resampling included, costs cells
and not rows. The sampling model is that rows are independent draws from one population.

Five gaps, each the largest difference of a rate between two groups:

    demographic-parity   P(say yes)                Dwork et al. (2012), ITCS; Feldman et al. (2015), KDD
    equal-opportunity    P(say yes | yes)          Hardt, Price and Srebro (2016), NeurIPS, Definition 2.2
    predictive-equality  P(say yes | no)           Corbett-Davies et al. (2017), KDD, section 2
    equalised-odds       the larger of the two     Hardt, Price and Srebro (2016), NeurIPS, Definition 2.1
    accuracy             P(right)                  Berk et al. (2021), Sociol. Methods Res. 50(1), overall
    accuracy
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from math import prod
from operator import add
from typing import TYPE_CHECKING, Final, TypeVar, final

import numpy as np

from modelward.errors import InputError
from modelward.numeric.bootstrap import count_bootstrap, max_critical
from modelward.numeric.proportion import score_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from modelward.numeric.types import BoolArray, FloatArray, IntArray

_Number = TypeVar("_Number", np.int64, np.float64)

# Outcomes of a row. With more than two classes "no" means "not the positive class", and a no answered by a
# no can still be the wrong class.
_RIGHT_NO, _WRONG_NO, _FALSE_YES, _MISSED_YES, _RIGHT_YES = range(5)
_OUTCOMES: Final = 5
# Rate: outcomes counted above, outcomes counted below the line.
_RATES: Final = {
    "selection": ((_FALSE_YES, _RIGHT_YES), tuple(range(_OUTCOMES))),
    "true-positive": ((_RIGHT_YES,), (_MISSED_YES, _RIGHT_YES)),
    "false-positive": ((_FALSE_YES,), (_RIGHT_NO, _WRONG_NO, _FALSE_YES)),
    "accuracy": ((_RIGHT_NO, _RIGHT_YES), tuple(range(_OUTCOMES))),
}
_GAPS: Final = {
    "demographic-parity": ("selection",),
    "equal-opportunity": ("true-positive",),
    "predictive-equality": ("false-positive",),
    "equalised-odds": ("true-positive", "false-positive"),
    "accuracy": ("accuracy",),
}
_DENSE_CELLS: Final = 1 << 22  # larger tables are counted by sorting
_ALL_PAIRS: Final = 16  # groups up to which every pair is followed in every draw


@final
@dataclass(frozen=True, slots=True)
class GroupOptions:
    """How groups are compared.

    Attributes:
        positive: class index that counts as "yes" (one versus rest); None compares accuracy only.
        minimum: rows that a rate needs below its line in a group before the group is compared in it.
        depth: most columns in one intersection.
        confidence: joint, over all intersections, groups and metrics.
        draws: resampled tables.
        seed: fixes them.
    """

    positive: int | None = 1
    minimum: int = 30
    depth: int = 3
    confidence: float = 0.95
    draws: int = 1000
    seed: int = 0


@final
@dataclass(frozen=True, slots=True)
class GroupRate:
    """One rate of one group: `k` of `n` rows.

    Attributes:
        k: rows counted above the line.
        n: rows counted below the line, at least 1.
        value: k / n.
        lower: lower end of the interval.
        upper: upper end. The intervals of all compared rates hold jointly.
        compared: whether n reaches the minimum; otherwise the rate is in no gap and in no joint statement.
    """

    k: int
    n: int
    value: float
    lower: float
    upper: float
    compared: bool


@final
@dataclass(frozen=True, slots=True)
class Group:
    """One non-empty group: the level of each column of its intersection, its rows, and its defined rates."""

    levels: tuple[int, ...]
    n: int
    rates: dict[str, GroupRate]


@final
@dataclass(frozen=True, slots=True)
class Gap:
    """Largest difference of a rate between two groups that are compared in it.

    Attributes:
        metric: name of the gap.
        value: in [0, 1].
        lower: lower end; above 0 only when some pair of groups differs beyond chance.
        upper: upper end. The intervals of all gaps of a report hold jointly.
        highest: levels of the group with the highest rate.
        lowest: levels of the group with the lowest rate.
        compared: number of groups compared, at least 2.
        too_small: levels of the non-empty groups left out because the rate has too few rows.
    """

    metric: str
    value: float
    lower: float
    upper: float
    highest: tuple[int, ...]
    lowest: tuple[int, ...]
    compared: int
    too_small: tuple[tuple[int, ...], ...]


@final
@dataclass(frozen=True, slots=True)
class Intersection:
    """All groups of one set of columns.

    Attributes:
        columns: indices of the columns, ascending.
        groups: non-empty groups in order of their levels.
        gaps: one per metric; a metric in which fewer than two groups can be compared is absent.
    """

    columns: tuple[int, ...]
    groups: tuple[Group, ...]
    gaps: tuple[Gap, ...]


@final
@dataclass(frozen=True, slots=True)
class _Rate:
    """One rate of all groups of one intersection; arrays of shape (groups,)."""

    name: str
    k: IntArray
    n: IntArray
    compared: BoolArray
    reference: FloatArray  # the rate that holds in the resampled population


@final
@dataclass(frozen=True, slots=True)
class _Slice:
    """One intersection: which cells of the full table make up which group."""

    columns: tuple[int, ...]
    levels: IntArray  # (groups, columns)
    order: IntArray  # finest groups sorted by group of this intersection
    starts: IntArray  # where each group begins in that order
    counts: IntArray  # (groups, outcomes)
    rates: tuple[_Rate, ...]

    def gather(self, tables: IntArray) -> IntArray:
        """Sum tables of shape (b, finest groups, outcomes) into (b, groups, outcomes)."""
        return np.add.reduceat(tables[:, self.order], self.starts, axis=1)


def group_gaps(
    codes: Sequence[ArrayLike],
    levels: Sequence[int],
    y: ArrayLike,
    prediction: ArrayLike,
    options: GroupOptions,
) -> tuple[Intersection, ...]:
    """Rates and gaps of all intersections of up to `options.depth` columns, with joint intervals.

    Rates: the score pivot (observed - true) / sqrt(true (1 - true) / n) is resampled for all compared rates
    at once; the quantile c of its largest size replaces the normal value in Wilson's interval. Gaps: the
    same with the pivots of all pairwise differences, whose intervals are put together from Wilson intervals
    by Newcombe's hybrid; the largest lower (upper) end over all pairs bounds the largest difference. A naive
    bootstrap of the gap itself would be wrong near 0, where resampling only ever adds difference. The
    population resampled is the table plus one row per finest group with the pooled outcome shares, so that a
    rate of 0 or 1 seen in a small group does not look certain.

    Args:
        codes: one integer array of shape (n,) per column, values 0..levels-1; a missing value is a level of
            its own.
        levels: number of levels per column.
        y: true class indices, shape (n,).
        prediction: predicted class indices, shape (n,).
        options: positive class, minimum group, depth, confidence, draws, seed.

    Returns:
        One entry per set of columns, smaller sets first.

    Raises:
        InputError: shapes, codes or options out of range, or too many combinations of levels to be counted.

    Source: metrics: see the module; pivot and max-|t| quantile: Romano and Wolf (2005), Econometrica 73(4);
    Wilson (1927), JASA 22(158); difference of two rates: Newcombe (1998), Stat. Med. 17, 873-890, method 10.
    """
    if options.depth < 1 or options.minimum < 1:
        raise InputError(f"depth {options.depth} and minimum group {options.minimum} must be at least 1")
    columns = _checked(codes, levels)
    truth, said = _vector(y, "labels"), _vector(prediction, "predictions")
    if {truth.shape, said.shape} != {columns[0].shape}:
        raise InputError(
            f"{truth.size} labels, {said.size} predictions and {columns[0].size} codes differ in number"
        )
    finest, counts, used = _count(columns, levels, _outcome(truth, said, options.positive))
    # One row per group, shaped like the whole data, brought back to the same total.
    pooled = counts.sum(axis=0) / counts.sum()
    population = (counts + pooled) * (counts.sum() / (counts.sum() + len(counts)))
    subsets = [s for k in range(1, options.depth + 1) for s in combinations(range(len(columns)), k)]
    slices = [_slice(subset, finest, counts, population, options) for subset in subsets]

    def largest(cells: IntArray) -> FloatArray:
        tables = np.zeros((len(cells), len(finest), _OUTCOMES), np.int64)
        tables[..., used] = cells.reshape(len(cells), len(finest), -1)
        return np.asarray(np.max([_pivots(part, part.gather(tables)) for part in slices], axis=0))

    pivots = count_bootstrap(population[:, used], largest, draws=options.draws, seed=options.seed)
    single = max_critical(pivots[:, :1], options.confidence)
    paired = max_critical(pivots[:, 1:], options.confidence)
    return tuple(_intersection(part, single, paired) for part in slices)


def _vector(values: ArrayLike, what: str) -> IntArray:
    array = np.asarray(values)
    if array.ndim != 1 or not (np.issubdtype(array.dtype, np.integer) or array.dtype == np.bool_):
        raise InputError(f"{what} of shape {array.shape} and type {array.dtype} are no class indices")
    return array


def _checked(codes: Sequence[ArrayLike], levels: Sequence[int]) -> list[IntArray]:
    columns = [_vector(column, "codes") for column in codes]
    if not columns or len(columns) != len(levels):
        raise InputError(f"{len(columns)} columns and {len(levels)} numbers of levels: one each is needed")
    for index, (column, size) in enumerate(zip(columns, levels, strict=True)):
        if column.size == 0 or column.shape != columns[0].shape:
            raise InputError(f"column {index} has {column.size} rows: all need the same number, at least 1")
        if column.min() < 0 or column.max() >= size:
            raise InputError(f"column {index} has codes {column.min()}..{column.max()} outside 0..{size - 1}")
    if prod(levels) * _OUTCOMES >= 1 << 62:
        raise InputError(f"{prod(levels):.1e} combinations of levels cannot be counted; give fewer columns")
    return columns


def _outcome(truth: IntArray, said: IntArray, positive: int | None) -> IntArray:
    right = truth == said
    if positive is None:
        return np.where(right, _RIGHT_NO, _WRONG_NO)
    yes, said_yes = truth == positive, said == positive
    code = 2 * yes.view(np.int8) + said_yes.view(np.int8)  # 0 no-no, 1 no-yes, 2 yes-no, 3 yes-yes
    table = np.array([_WRONG_NO, _FALSE_YES, _MISSED_YES, _RIGHT_YES], np.int64)
    return np.asarray(table[code] - (right & ~yes))


def _count(
    columns: list[IntArray], levels: Sequence[int], outcome: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Levels (groups, columns) of non-empty finest groups, counts (groups, outcomes), outcomes that occur."""
    key = columns[0].astype(np.int64)
    for column, size in zip(columns[1:], levels[1:], strict=True):
        key *= size
        key += column
    key *= _OUTCOMES
    key += outcome
    if prod(levels) * _OUTCOMES <= max(_DENSE_CELLS, 4 * key.size):
        dense = np.bincount(key, minlength=prod(levels) * _OUTCOMES).reshape(-1, _OUTCOMES)
        present = np.flatnonzero(dense.any(axis=1))
        counts = dense[present]
    else:
        cell, repeats = np.unique(key, return_counts=True)
        present, row = np.unique(cell // _OUTCOMES, return_inverse=True)
        counts = np.zeros((len(present), _OUTCOMES), np.int64)
        counts[row, cell % _OUTCOMES] = repeats
    finest = np.zeros((len(present), len(levels)), np.int64)
    rest: IntArray = present.astype(np.int64)
    for index in reversed(range(len(levels))):
        finest[:, index] = rest % levels[index]
        rest = rest // levels[index]
    return finest, counts, np.flatnonzero(counts.any(axis=0))


def _fraction(name: str, table: NDArray[_Number]) -> tuple[NDArray[_Number], NDArray[_Number]]:
    """Counts above and below the line of a rate, from a table whose last axis are the outcomes."""
    above, below = (reduce(add, (table[..., outcome] for outcome in part)) for part in _RATES[name])
    return above, below


def _slice(
    columns: tuple[int, ...],
    finest: IntArray,
    counts: IntArray,
    population: FloatArray,
    options: GroupOptions,
) -> _Slice:
    levels, group = np.unique(finest[:, columns], axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    starts = np.searchsorted(group.ravel()[order], np.arange(len(levels)))
    table = np.add.reduceat(counts[order], starts, axis=0)
    shares = np.add.reduceat(population[order], starts, axis=0)
    rates = []
    for name in _RATES if options.positive is not None else ["accuracy"]:
        k, n = _fraction(name, table)
        part, whole = _fraction(name, shares)
        reference = np.divide(part, whole, out=np.zeros(len(n)), where=whole > 0)
        rates.append(_Rate(name, k, n, n >= options.minimum, np.clip(reference, 0, 1)))
    return _Slice(columns, levels, order, starts, table, tuple(rates))


def _pivots(part: _Slice, tables: IntArray) -> FloatArray:
    """Largest score pivot of a rate and of a difference of two rates, per resampled table: shape (b, 2)."""
    largest = np.zeros((len(tables), 2))
    for rate in part.rates:
        k, n = (count[:, rate.compared] for count in _fraction(rate.name, tables))
        reference = rate.reference[rate.compared]
        variance = reference * (1.0 - reference) / np.maximum(n, 1)
        shift = np.where(n > 0, k / np.maximum(n, 1) - reference, 0.0)
        scale = np.sqrt(np.where(variance > 0, variance, 1.0))
        pivot = np.where(variance > 0, shift / scale, 0.0)
        largest[:, 0] = np.maximum(largest[:, 0], np.abs(pivot).max(axis=1, initial=0.0))
        if pivot.shape[1] <= _ALL_PAIRS:
            i, j = np.triu_indices(pivot.shape[1], 1)
            joint = variance[:, i] + variance[:, j]
            size = np.abs(shift[:, i] - shift[:, j]) / np.sqrt(np.where(joint > 0, joint, 1.0))
            pair = size.max(axis=1, initial=0.0)
        else:
            # |a s - b t| / sqrt(s^2 + t^2) <= sqrt(a^2 + b^2) for opposite signs (Cauchy-Schwarz), else
            # max(|a|, |b|).
            pair = np.hypot(pivot.max(axis=1, initial=0.0), pivot.min(axis=1, initial=0.0))
        largest[:, 1] = np.maximum(largest[:, 1], pair)
    return largest


def _intersection(part: _Slice, single: float, paired: float) -> Intersection:
    names = [tuple(int(level) for level in row) for row in part.levels]
    table: list[dict[str, GroupRate]] = [{} for _ in names]
    for rate in part.rates:
        lower, upper = score_interval(rate.k, rate.n, single)
        for group in np.flatnonzero(rate.n > 0):
            k, n = int(rate.k[group]), int(rate.n[group])
            table[group][rate.name] = GroupRate(
                k, n, k / n, float(lower[group]), float(upper[group]), bool(rate.compared[group])
            )
    rows = part.counts.sum(axis=1)
    groups = tuple(Group(name, int(n), rates) for name, n, rates in zip(names, rows, table, strict=True))
    by_rate = {rate.name: _gap(rate, names, paired) for rate in part.rates}
    gaps = []
    for metric, parts in _GAPS.items():
        found = [gap for name in parts if (gap := by_rate.get(name)) is not None]
        if len(found) == len(parts):
            worst = max(found, key=lambda gap: gap.value)
            gaps.append(
                Gap(
                    metric,
                    worst.value,
                    max(gap.lower for gap in found),
                    max(gap.upper for gap in found),
                    worst.highest,
                    worst.lowest,
                    worst.compared,
                    worst.too_small,
                )
            )
    return Intersection(part.columns, groups, tuple(gaps))


def _gap(rate: _Rate, names: list[tuple[int, ...]], critical: float) -> Gap | None:
    kept = np.flatnonzero(rate.compared)
    if len(kept) < 2:
        return None
    value = rate.k[kept] / rate.n[kept]
    low, high = score_interval(rate.k[kept], rate.n[kept], critical)
    down, up = value - low, high - value
    lower, upper = 0.0, 0.0
    for g in range(len(kept)):  # against all groups at once; the pair of a group with itself cannot win
        difference = value[g] - value
        others = np.arange(len(kept)) != g
        lower = max(lower, float((difference - np.hypot(down[g], up)).max()))
        upper = max(upper, float((difference + np.hypot(up[g], down))[others].max()))
    top, bottom = int(np.argmax(value)), int(np.argmin(value))
    return Gap(
        rate.name,
        float(value[top] - value[bottom]),
        lower,
        min(1.0, upper),
        names[kept[top]],
        names[kept[bottom]],
        len(kept),
        tuple(name for g, name in enumerate(names) if not rate.compared[g]),
    )
