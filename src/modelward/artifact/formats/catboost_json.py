"""CatBoost models saved as JSON: numbers, and the questions that trees ask of features.

Loading builds trees and tables of numbers; native code then follows their indices, so each one is compared
with the features and leaves that the document has.
Source: CatBoost 1.2 `catboost/libs/model/model_export/json_model_helpers.cpp` (`ConvertJsonToCatboostModel`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LARGEST: Final = 1 << 30
DEEPEST: Final = 16
_COMPUTED: Final = frozenset(("OnlineCtr", "EstimatedFeature"))
"""Questions about statistics that the model computes of several features."""


class Split(msgspec.Struct, frozen=True):
    """A question; a number above the border answers it with yes."""

    split_type: str
    border: float = 0.0
    float_feature_index: int = -1
    cat_feature_index: int = -1


class ObliviousTree(msgspec.Struct, frozen=True):
    """A tree that asks one question per level; bit i of a leaf's number is the answer to question i."""

    leaf_values: list[float]
    splits: list[Split] | None = None


class _Node(msgspec.Struct, frozen=True):
    """A node of a tree that is not oblivious; a leaf has a value."""

    split: Split | None = None
    left: _Node | None = None
    right: _Node | None = None
    value: float | list[float] | None = None


class _Feature(msgspec.Struct, frozen=True):
    feature_index: int
    flat_feature_index: int
    feature_id: str = ""


class _Features(msgspec.Struct, frozen=True):
    float_features: list[_Feature] = []
    categorical_features: list[_Feature] = []


class _Document(msgspec.Struct, frozen=True):
    features_info: _Features
    scale_and_bias: tuple[float, float | list[float]] = (1.0, [0.0])
    oblivious_trees: list[ObliviousTree] | None = None
    trees: list[_Node] | None = None


def read(data: Buffer, into: Reading) -> None:
    """Compare what every tree asks for with what the document has."""
    if len(data) > LARGEST:
        raise Malformed(f"{len(data)} bytes; models of up to {LARGEST} are read")
    into.facts["framework"] = "catboost"
    try:
        document = msgspec.json.decode(memoryview(data), type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"it is no model of CatBoost: {str(error)[:200]}") from error
    info = document.features_info
    if names := [item.feature_id[:200] for item in info.float_features[:200] if item.feature_id]:
        into.facts["inputs"] = list(names)
    floats, coded = (
        {item.feature_index for item in items if item.flat_feature_index >= 0}
        for items in (info.float_features, info.categorical_features)
    )
    bias = document.scale_and_bias[1]
    width = len(bias) if isinstance(bias, list) else 1
    oblivious, nested = document.oblivious_trees or [], document.trees or []
    leaves = sum(_oblivious(tree, at, width, into) for at, tree in enumerate(oblivious))
    leaves += sum(_nested(tree, at, width, into) for at, tree in enumerate(nested))
    asked = [split for tree in oblivious for split in tree.splits or []]
    for split in [*asked, *(node.split for tree in nested for node in _nodes(tree) if node.split)]:
        _known(split, floats, coded, into)
    into.facts["tensors"], into.facts["parameters"] = len(oblivious) + len(nested), leaves
    into.proven = True


def _oblivious(tree: ObliviousTree, at: int, width: int, into: Reading) -> int:
    depth, leaves = len(tree.splits or []), len(tree.leaf_values)
    into.spend(1 + leaves // 16)
    if depth > DEEPEST or leaves != width << depth:
        into.unproven("catboost.index", f"tree {at} has {leaves} values at the leaves of {depth} splits")
    return leaves


def _nested(tree: _Node, at: int, width: int, into: Reading) -> int:
    leaves = 0
    for node in _nodes(tree):
        into.spend()
        values = node.value if isinstance(node.value, list) else [node.value]
        inner = node.split is not None and node.left is not None and node.right is not None
        if not inner and (node.value is None or len(values) != width):
            into.unproven("catboost.index", f"tree {at} has a node that neither asks nor has {width} values")
        leaves += 0 if inner else len(values)
    return leaves


def _nodes(tree: _Node) -> list[_Node]:
    found = [tree]
    for node in found:
        found += [child for child in (node.left, node.right) if child is not None]
    return found


def _known(split: Split, floats: set[int], coded: set[int], into: Reading) -> None:
    into.spend()
    kind = split.split_type
    if kind == "FloatFeature":
        fine = split.float_feature_index in floats
    else:
        fine = kind in _COMPUTED or (kind == "OneHotFeature" and split.cat_feature_index in coded)
    if not fine:
        into.unproven("catboost.index", f"a split of kind {kind[:80]!r} is of a feature that the model lacks")
