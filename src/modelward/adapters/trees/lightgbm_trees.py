"""LightGBM's text.

Source: LightGBM 4.7 `include/LightGBM/tree.h` (NumericalDecision, CategoricalDecision), `src/io/tree.cpp`,
`src/boosting/gbdt_model_text.cpp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from modelward.adapters.trees.build import Sum, Tree, assemble
from modelward.adapters.trees.inputs import plain, unchanged
from modelward.errors import FileDamaged, OperatorUnsupported

if TYPE_CHECKING:
    from modelward.core.trees import Forest, Link
    from modelward.numeric.types import BoolArray, IntArray

_CATEGORICAL: Final = 1
_DEFAULT_LEFT: Final = 2
_NONE, _ZERO = 0, 1
_TINY: Final = 1e-35
_LINKS: Final[dict[str, Link]] = {
    "binary": "softmax",
    "cross_entropy": "softmax",
    "multiclass": "softmax",
    "multiclassova": "sigmoid",
}


def read(text: str) -> Forest:
    """The trees of a model in LightGBM's text format.

    Raises:
        FileDamaged: the text is no such model.
        OperatorUnsupported: its leaves are linear models, or zeros stand for missing values.
    """
    try:
        return _read(text)
    except (KeyError, ValueError, IndexError, OverflowError) as error:
        raise FileDamaged(f"the LightGBM text cannot be read ({str(error)[:200]})") from error


def _read(text: str) -> Forest:
    head, *blocks = text.split("end of trees", 1)[0].split("\nTree=")
    header = _lines(head)
    objective = header["objective"].split(" ")
    if objective[0] not in _LINKS:
        raise OperatorUnsupported(f"the objective {objective[0]!r} is no classification")
    per = int(header["num_tree_per_iteration"])
    if not 1 <= per <= max(1, len(blocks)):
        raise FileDamaged(f"the LightGBM text has {per} trees per iteration")
    k, width = max(2, per), int(header["max_feature_idx"]) + 1
    share = per / len(blocks) if "average_output" in head.splitlines() else 1.0
    share *= next((float(word[8:]) for word in objective if word.startswith("sigmoid:")), 1.0)
    trees = [_tree(_lines(block), i % per if per > 1 else 1, k, share) for i, block in enumerate(blocks)]
    total = Sum(base=np.zeros(k), link=_LINKS[objective[0]])
    return assemble(trees, plain(width, unchanged), total, width)


def _lines(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _tree(fields: dict[str, str], column: int, k: int, share: float) -> Tree:
    if fields.get("is_linear", "0") == "1":
        raise OperatorUnsupported("trees with linear models at their leaves (linear_tree) are not read")
    leaves = int(fields["num_leaves"])
    values = _numbers(fields, "leaf_value", leaves)
    inner = leaves - 1
    m = inner + leaves
    place = np.arange(inner, m)
    value = np.zeros((m, k))
    value[place, column] = values * share
    if inner == 0:
        nothing = np.zeros(1, np.int64)
        return Tree(
            column=nothing - 1,
            threshold=np.zeros(1),
            left=nothing,
            right=nothing,
            missing_left=np.zeros(1, np.bool_),
            value=value,
        )
    kinds, feature = _whole(fields, "decision_type", inner), _whole(fields, "split_feature", inner)
    if (feature < 0).any():
        raise FileDamaged("a LightGBM tree splits a feature below 0")
    threshold = _numbers(fields, "threshold", inner)
    coded = (kinds & _CATEGORICAL) > 0
    missing = ~coded & _missing_left(kinds, threshold, coded)
    rest = np.zeros(leaves)
    return Tree(
        column=np.append(feature, np.full(leaves, -1, np.int64)),
        threshold=np.concatenate([np.where(coded, 0.0, threshold), rest]),
        left=np.concatenate([_children(fields, "left_child", inner), place]),
        right=np.concatenate([_children(fields, "right_child", inner), place]),
        missing_left=np.concatenate([missing, rest > 0]),
        value=value,
        members=_members(fields, threshold, coded),
    )


def _numbers(fields: dict[str, str], name: str, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    values = np.array(fields[name].split(), np.float64)
    if len(values) != count:
        raise FileDamaged(f"a LightGBM tree lists {len(values)} of {count} numbers in {name}")
    return values


def _whole(fields: dict[str, str], name: str, count: int) -> IntArray:
    values = _numbers(fields, name, count)
    if not ((values == np.rint(values)) & (np.abs(values) < 2**31)).all():
        raise FileDamaged(f"a LightGBM tree lists a number in {name} that is not whole")
    return values.astype(np.int64)


def _children(fields: dict[str, str], name: str, inner: int) -> IntArray:
    """Inner nodes count from 0; a leaf is written as the complement of its number."""
    child = _whole(fields, name, inner)
    return np.where(child < 0, inner + ~child, child)


def _missing_left(
    kinds: IntArray, threshold: np.ndarray[tuple[int], np.dtype[np.float64]], coded: BoolArray
) -> BoolArray:
    """Where NaN goes: the default side, or where 0 goes when the node does not know missing values."""
    default = (kinds & _DEFAULT_LEFT) > 0
    kind = (kinds >> 2) & 3
    zero_left = threshold >= 0
    zeros = (kind == _ZERO) & ~coded
    # Everything up to kZeroThreshold counts as zero there.
    if (zeros & ((default != zero_left) | (np.abs(threshold) < _TINY))).any():
        raise OperatorUnsupported("trees that take zeros for missing values (zero_as_missing) are not read")
    return np.where(kind == _NONE, zero_left, default)


def _members(
    fields: dict[str, str], threshold: np.ndarray[tuple[int], np.dtype[np.float64]], coded: BoolArray
) -> dict[int, BoolArray]:
    if not coded.any():
        return {}
    edges = np.array(fields["cat_boundaries"].split(), np.int64)
    words = np.array(fields["cat_threshold"].split(), np.uint64).astype("<u4")
    found = {}
    for node in np.flatnonzero(coded):
        at = int(threshold[node])
        if not 0 <= at < len(edges) - 1 or not 0 <= edges[at] <= edges[at + 1] <= len(words):
            raise FileDamaged("a LightGBM tree's categories are out of range")
        part = words[edges[at] : edges[at + 1]]
        found[int(node)] = np.unpackbits(part.view(np.uint8), bitorder="little").astype(np.bool_)
    return found
