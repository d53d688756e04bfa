"""From one library's trees to `Forest`: thresholds pulled back, nodes renumbered, everything checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.adapters.trees.inputs import Source, pulled_back
from modelward.core.trees import Forest, Link
from modelward.errors import FileDamaged, OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.numeric.types import BoolArray, FloatArray, IntArray

_LINKED: Final = 1e-5
"""Raw margins below this may become equal probabilities: float32 holds 24 bits near 1/2 and 1/k."""
_SATURATED: Final = 30.0
"""Two logistic functions are told apart in float64 up to here (1 - 1e-13)."""
_MOST_NODES: Final = 20_000_000


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree as its library stores it; node 0 is the root.

    Attributes:
        column: (m,) int64 column that a node looks at; -1 at leaves.
        threshold: (m,) float64, left when the column's value is <= it.
        left: (m,) int64.
        right: (m,) int64.
        missing_left: (m,) bool.
        value: (m, k) float64.
        members: node to (c,) bool, which codes go left; other codes go where `others_left` says.
        others_left: codes outside of `members` go left.
    """

    column: IntArray
    threshold: FloatArray
    left: IntArray
    right: IntArray
    missing_left: BoolArray
    value: FloatArray
    members: dict[int, BoolArray] = field(default_factory=dict)
    others_left: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """What the trees add up to.

    Attributes:
        base: (k,) float64.
        link: see `Forest`.
        unit: unit roundoff of the library's sum: 2**-24 for float32, 2**-53 for float64.
    """

    base: FloatArray
    link: Link
    unit: float = 2.0**-53


def assemble(trees: Sequence[Tree], sources: Sequence[Source], total: Sum, width: int) -> Forest:
    """Put trees together.

    Args:
        trees: at least one.
        sources: per column that nodes look at.
        total: what they add up to.
        width: input features of the model.

    Raises:
        FileDamaged: nodes do not form trees, or a number is out of range.
        OperatorUnsupported: a step cannot be folded into thresholds.
    """
    if not trees:
        raise FileDamaged("the model has no trees")
    orders = [_order(tree) for tree in trees]
    starts = np.cumsum([0, *map(len, orders)])
    if starts[-1] > _MOST_NODES:
        raise OperatorUnsupported(f"{starts[-1]} nodes are more than the {_MOST_NODES} that are searched")
    parts = [
        _renumbered(tree, order, int(at)) for tree, order, at in zip(trees, orders, starts, strict=False)
    ]
    column, threshold, left, right, missing_left, value = (
        np.concatenate([part[i] for part in parts]) for i in range(6)
    )
    if not np.isfinite(value).all() or not np.isfinite(total.base).all():
        raise FileDamaged("a leaf holds NaN or an infinity")
    if np.isnan(threshold[column >= 0]).any() or (column >= len(sources)).any():
        raise FileDamaged("a split is out of range")
    members = {
        int(at) + int(np.flatnonzero(order == node)[0]): (row, tree.others_left)
        for tree, order, at in zip(trees, orders, starts, strict=False)
        for node, row in tree.members.items()
        if node in order
    }
    nodes = _Nodes(column=column, threshold=threshold, missing_left=missing_left, members=members)
    nodes.fold(sources)
    return Forest(
        width=width,
        roots=np.asarray(starts[:-1], np.int64),
        feature=np.where(column >= 0, nodes.feature, -1),
        threshold=nodes.threshold,
        left=left,
        right=right,
        missing_left=nodes.missing_left,
        subset=nodes.subset,
        codes=nodes.table(),
        other_left=np.array(nodes.others, np.bool_),
        value=value,
        base=total.base,
        link=total.link,
        slack=_slack(trees, total),
    )


def _order(tree: Tree) -> IntArray:
    """Nodes in an order in which children stand behind their parents; reached ones only."""
    m = len(tree.column)
    if not m or any(len(a) != m for a in (tree.threshold, tree.left, tree.right, tree.value)):
        raise FileDamaged("a tree's lists have different lengths")
    inner, left, right = tree.column >= 0, tree.left, tree.right
    children = np.concatenate([left[inner], right[inner]])
    if ((children < 1) | (children >= m)).any():
        raise FileDamaged("a tree has a child that does not exist")
    level, found, count = np.zeros(1, np.int64), [np.zeros(1, np.int64)], 1
    while True:
        level = level[inner[level]]
        if len(level) == 0:
            break
        level = np.concatenate([left[level], right[level]])
        count += len(level)
        if count > m:
            raise FileDamaged("a tree's nodes run in a circle")
        found.append(level)
    order = np.concatenate(found)
    if len(np.unique(order)) != len(order):
        raise FileDamaged("two nodes of a tree share a child")
    return order


def _renumbered(
    tree: Tree, order: IntArray, at: int
) -> tuple[IntArray, FloatArray, IntArray, IntArray, BoolArray, FloatArray]:
    place = np.full(len(tree.column), -1, np.int64)
    place[order] = np.arange(at, at + len(order))
    column = tree.column[order]
    inner, own = column >= 0, place[order]
    left = np.where(inner, place[np.where(inner, tree.left[order], 0)], own)
    right = np.where(inner, place[np.where(inner, tree.right[order], 0)], own)
    value = np.where(inner[:, None], 0.0, tree.value[order])
    return column, np.where(inner, tree.threshold[order], 0.0), left, right, tree.missing_left[order], value


@final
class _Nodes:
    """All nodes while their columns are replaced by the model's features."""

    def __init__(
        self,
        *,
        column: IntArray,
        threshold: FloatArray,
        missing_left: BoolArray,
        members: dict[int, tuple[BoolArray, bool]],
    ) -> None:
        self.column, self.threshold, self.members = column, threshold.copy(), members
        self.missing_left = missing_left.copy()
        self.feature = np.full(len(column), -1, np.int64)
        self.subset = np.full(len(column), -1, np.int64)
        self.others: list[bool] = []
        self._rows: list[BoolArray] = []
        self._known: dict[tuple[bytes, bool], int] = {}

    def fold(self, sources: Sequence[Source]) -> None:
        """Replace every column by its source."""
        for number in np.unique(self.column[self.column >= 0]):
            source = sources[number]
            index = np.flatnonzero(self.column == number)
            self.feature[index] = source.feature
            coded = np.array([i for i in index if int(i) in self.members or source.codes], np.int64)
            plain = np.setdiff1d(index, coded)
            before = self.threshold[plain].copy()
            if len(plain):
                self.threshold[plain] = pulled_back(source.step, before)
            for i in coded:
                self._code(int(i), source)
            if not np.isnan(source.missing):
                self.missing_left[plain] = source.missing <= before

    def _code(self, node: int, source: Source) -> None:
        row, other = self.members.get(node, (None, False))
        codes = source.codes or len(row if row is not None else ())
        images = np.array([*source.step(np.arange(codes, dtype=np.float64)), source.other])
        if not source.codes:
            images[-1] = np.inf  # outside of the codes that the node names
        going = self._going(node, images, (row, other))
        if not np.isnan(source.missing):
            self.missing_left[node] = self._going(node, np.array([source.missing]), (row, other))[0]
        key = (going[:-1].tobytes(), bool(going[-1]))
        if key not in self._known:
            self._known[key] = len(self._rows)
            self._rows.append(going[:-1])
            self.others.append(bool(going[-1]))
        self.subset[node] = self._known[key]
        self.threshold[node] = 0.0

    def _going(self, node: int, image: FloatArray, codes: tuple[BoolArray | None, bool]) -> BoolArray:
        row, other = codes
        if row is None:
            left = image <= self.threshold[node]
        else:
            inside = (image >= 0) & (image < len(row))
            place = np.where(inside, image, 0).astype(np.int64)
            left = np.where(inside, row[place] if len(row) else False, other)
        return np.asarray(np.where(np.isnan(image), self.missing_left[node], left))

    def table(self) -> BoolArray:
        """(s, c) all sets of codes, as wide as the widest; a code that a row lacks goes its other way."""
        width = max((len(row) for row in self._rows), default=0)
        table = np.zeros((len(self._rows), width), np.bool_)
        for i, row in enumerate(self._rows):
            table[i] = self.others[i]
            table[i, : len(row)] = row
        return table


def _slack(trees: Sequence[Tree], total: Sum) -> float:
    """How far a computed raw margin may lie from the exact one, in the library and in ours.

    Sums of n numbers: Higham 2002, Accuracy and Stability of Numerical Algorithms, section 4.2: error at most
    (n - 1) u times the sum of the absolute values, to first order, whatever the order; here once per column.
    """
    largest = np.stack([np.abs(tree.value[tree.column < 0]).max(axis=0) for tree in trees])
    terms = (largest > 0).sum(axis=0) + 2
    reach = largest.sum(axis=0) + np.abs(total.base)
    if total.link == "sigmoid" and reach.max() > _SATURATED:
        raise OperatorUnsupported(
            f"raw scores reach {reach.max():.3g}, where logistic functions cannot tell classes apart"
        )
    whole = all((tree.value == np.rint(tree.value)).all() for tree in trees) and reach.max() < 2**50
    single = len(trees) == 1 and not total.base.any()
    if total.link == "identity" and (single or (whole and (total.base == np.rint(total.base)).all())):
        return 0.0
    rounding = 2 * (1 + 2.0**-10) * float((terms * total.unit * reach).max())
    return rounding + (0.0 if total.link == "identity" else _LINKED)
