"""CatBoost's JSON document, oblivious trees over numbers.

Source: CatBoost 1.2 `catboost/libs/model/model_export/json_model_helpers.cpp`: the leaf has bit i set when
 the value in float32 is above the border of split i.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from modelward.adapters.trees.build import Sum, Tree, assemble
from modelward.adapters.trees.inputs import as_float32, plain
from modelward.errors import FileDamaged, OperatorUnsupported

if TYPE_CHECKING:
    from modelward.core.trees import Forest

_DEEPEST = 16


class _Split(msgspec.Struct, frozen=True):
    split_type: str
    border: float = 0.0
    float_feature_index: int = -1


class _Oblivious(msgspec.Struct, frozen=True):
    leaf_values: list[float]
    splits: list[_Split] | None = None


class _FloatFeature(msgspec.Struct, frozen=True):
    feature_index: int
    flat_feature_index: int
    nan_value_treatment: str = "AsIs"


class _Features(msgspec.Struct, frozen=True):
    float_features: list[_FloatFeature] = []
    categorical_features: list[msgspec.Raw] = []
    text_features: list[msgspec.Raw] = []
    embedding_features: list[msgspec.Raw] = []


class _Document(msgspec.Struct, frozen=True):
    features_info: _Features
    scale_and_bias: tuple[float, list[float]]
    oblivious_trees: list[_Oblivious] | None = None
    model_info: dict[str, object] = {}


def read(document: bytes) -> Forest:
    """The trees of a model saved as JSON.

    Raises:
        FileDamaged: the document is no such model.
        OperatorUnsupported: its trees are not oblivious, or look at more than numbers.
    """
    try:
        model = msgspec.json.decode(document, type=_Document)
    except msgspec.DecodeError as error:
        raise FileDamaged(f"the CatBoost document cannot be read ({str(error)[:200]})") from error
    info = model.features_info
    if model.oblivious_trees is None:
        raise OperatorUnsupported("CatBoost trees that are not oblivious (grow_policy) are not read")
    if info.categorical_features or info.text_features or info.embedding_features:
        raise OperatorUnsupported("CatBoost's encodings of categories and texts (CTR) are not read")
    scale, bias = model.scale_and_bias
    if not bias or any(f.flat_feature_index < 0 for f in info.float_features):
        raise FileDamaged("the CatBoost document has no bias, or a feature below 0")
    k, features = max(2, len(bias)), {f.feature_index: f for f in info.float_features}
    base = np.array([0.0, *bias]) if len(bias) == 1 else np.array(bias)
    trees = [_tree(tree, features, (k, len(bias), scale)) for tree in model.oblivious_trees]
    width = 1 + max((f.flat_feature_index for f in info.float_features), default=0)
    loss = str(model.model_info.get("params", ""))
    link = "sigmoid" if "MultiClassOneVsAll" in loss and len(bias) > 1 else "softmax"
    total = Sum(base=base, link="sigmoid" if link == "sigmoid" else "softmax")
    return assemble(trees, plain(width, as_float32), total, width)


def from_object(model: object) -> Forest:
    """The trees of a live CatBoost model, by way of its own JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")  # type: ignore[attr-defined]  # the caller knows its class
        return read(path.read_bytes())


def _tree(tree: _Oblivious, features: dict[int, _FloatFeature], layout: tuple[int, int, float]) -> Tree:
    k, given, scale = layout
    splits = tree.splits or []
    depth = len(splits)
    if depth > _DEEPEST or len(tree.leaf_values) != given << depth:
        raise FileDamaged("a CatBoost tree's leaves do not fit its splits")
    if any(s.split_type != "FloatFeature" or s.float_feature_index not in features for s in splits):
        raise OperatorUnsupported("CatBoost splits on more than numbers are not read")
    inner, leaves = (1 << depth) - 1, 1 << depth
    m = inner + leaves
    # In heap order; the first level asks the last split, so that leaf numbers run from left to right.
    nodes, column = np.arange(m), np.full(m, -1, np.int64)
    threshold, missing_left = np.zeros(m), np.ones(m, np.bool_)
    for level, split in enumerate(reversed(splits)):
        feature = features[split.float_feature_index]
        here = slice((1 << level) - 1, (1 << (level + 1)) - 1)
        column[here] = feature.flat_feature_index
        threshold[here] = as_float32(np.array(split.border))
        missing_left[here] = feature.nan_value_treatment != "AsTrue"
    value = np.zeros((m, k))
    raw = scale * np.array(tree.leaf_values, np.float64).reshape(leaves, given)
    value[inner:, -given:] = raw
    child = 2 * nodes + 1
    return Tree(
        column=column,
        threshold=threshold,
        left=np.where(column >= 0, child, nodes),
        right=np.where(column >= 0, child + 1, nodes),
        missing_left=missing_left,
        value=value,
    )
