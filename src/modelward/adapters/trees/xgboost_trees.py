"""XGBoost's JSON document.

Source: XGBoost 3.2 `doc/model.schema`, `include/xgboost/tree_model.h`, `src/common/categorical.h`: a value in
float32 goes left when it is smaller than the condition; a category of the node's list goes right.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from modelward.adapters.trees.build import Sum, Tree, assemble
from modelward.adapters.trees.inputs import as_float32, plain
from modelward.errors import FileDamaged, OperatorUnsupported

if TYPE_CHECKING:
    from modelward.core.trees import Forest

_LEAF: Final = -1
_MOST_CODES: Final = 1 << 16


class _Tree(msgspec.Struct, frozen=True):
    left_children: list[int]
    right_children: list[int]
    split_conditions: list[float]
    split_indices: list[int]
    default_left: list[int]
    split_type: list[int] = []
    categories: list[int] = []
    categories_nodes: list[int] = []
    categories_segments: list[int] = []
    categories_sizes: list[int] = []
    tree_param: dict[str, str] = {}


class _Model(msgspec.Struct, frozen=True):
    trees: list[_Tree]
    tree_info: list[int]


class _Booster(msgspec.Struct, frozen=True):
    name: str
    model: _Model | None = None
    gbtree: _Booster | None = None
    weight_drop: list[float] = []


class _Objective(msgspec.Struct, frozen=True):
    name: str


class _Learner(msgspec.Struct, frozen=True):
    gradient_booster: _Booster
    learner_model_param: dict[str, str]
    objective: _Objective


class _Document(msgspec.Struct, frozen=True):
    learner: _Learner


def read(document: bytes) -> Forest:
    """The trees of a model saved as JSON.

    Raises:
        FileDamaged: the document is no such model.
        OperatorUnsupported: it is a linear booster, or its trees have vectors at their leaves.
    """
    try:
        learner = msgspec.json.decode(document, type=_Document).learner
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileDamaged(f"the XGBoost document cannot be read ({str(error)[:200]})") from error
    booster = learner.gradient_booster
    model = booster.model or (booster.gbtree.model if booster.gbtree is not None else None)
    if model is None:
        raise OperatorUnsupported(f"a booster of kind {booster.name!r} has no trees")
    classes, width = _count(learner, "num_class"), _count(learner, "num_feature")
    weights = booster.weight_drop or [1.0] * len(model.trees)
    if classes > len(model.trees):
        raise FileDamaged(f"{len(model.trees)} trees cannot tell {classes} classes apart")
    if len(model.tree_info) != len(model.trees) or len(weights) != len(model.trees):
        raise FileDamaged("the XGBoost document has other numbers of trees, weights and classes")
    k = max(2, classes)
    columns = [group if classes > 1 else 1 for group in model.tree_info]
    try:
        trees = [
            _tree(tree, column, k, weight)
            for tree, column, weight in zip(model.trees, columns, weights, strict=True)
        ]
    except OverflowError as error:
        raise FileDamaged(f"the XGBoost document holds numbers out of range ({error})") from error
    total = Sum(base=_base(learner, k), link="softmax", unit=2.0**-24)
    return assemble(trees, plain(width, as_float32), total, width)


def _count(learner: _Learner, name: str) -> int:
    text = learner.learner_model_param.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise FileDamaged(f"{name} of the XGBoost document is {text[:40]!r}, which is no count")
    return int(text)


def _base(learner: _Learner, k: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    text = learner.learner_model_param.get("base_score", "0")
    try:
        read_ = json.loads(text)
        values = [float(v) for v in (read_ if isinstance(read_, list) else [read_])]
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise FileDamaged(f"the base score {text[:40]!r} is no number") from error
    if not values:
        raise FileDamaged(f"the base score {text[:40]!r} is no number")
    if learner.objective.name == "binary:logistic":
        # The one objective whose base score is written as a probability.
        if not all(0 < v < 1 for v in values):
            raise FileDamaged(f"the base score {text[:40]!r} is no probability")
        values = [math.log(v / (1 - v)) for v in values]
    base = np.zeros(k)
    if learner.learner_model_param.get("num_class", "0") in {"0", "1"}:
        base[1] = values[0]
    else:
        base[:] = values if len(values) == k else values[0]
    return base


def _tree(tree: _Tree, column: int, k: int, weight: float) -> Tree:
    if tree.tree_param.get("size_leaf_vector", "1") not in {"0", "1"}:
        raise OperatorUnsupported("trees with a vector at each leaf are not read")
    left = np.array(tree.left_children, np.int64)
    conditions = np.array(tree.split_conditions, np.float32)
    m = len(left)
    if not 0 <= column < k or any(len(a) != m for a in (conditions, tree.split_indices, tree.default_left)):
        raise FileDamaged("an XGBoost tree's lists have different lengths")
    leaf, feature = left == _LEAF, np.array(tree.split_indices, np.int64)
    if (feature[~leaf] < 0).any():
        raise FileDamaged("an XGBoost tree splits a feature below 0")
    value = np.zeros((m, k))
    value[leaf, column] = (conditions[leaf] * np.float32(weight)).astype(np.float64)
    below = np.nextafter(conditions, np.float32(-np.inf)).astype(np.float64)  # x < t is x <= the one before t
    return Tree(
        column=np.where(leaf, -1, feature),
        threshold=below,
        left=left,
        right=np.array(tree.right_children, np.int64),
        missing_left=np.array(tree.default_left, np.bool_),
        value=value,
        members=_members(tree, m),
        others_left=True,
    )


def _members(tree: _Tree, m: int) -> dict[int, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    found: dict[int, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]] = {}
    parts = zip(tree.categories_nodes, tree.categories_segments, tree.categories_sizes, strict=False)
    for node, start, size in parts:
        listed = np.array(tree.categories[start : start + size], np.int64)
        if not 0 <= node < m or len(listed) != size or ((listed < 0) | (listed >= _MOST_CODES)).any():
            raise FileDamaged("an XGBoost tree's categories are out of range")
        row = np.ones(int(listed.max(initial=-1)) + 1, np.bool_)
        row[listed] = False
        found[node] = row
    if any(kind == 1 and i not in found for i, kind in enumerate(tree.split_type)):
        raise FileDamaged("an XGBoost tree splits by categories that it does not list")
    return found
