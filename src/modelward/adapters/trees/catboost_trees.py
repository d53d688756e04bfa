"""CatBoost's JSON document, oblivious trees over numbers.

Source: CatBoost 1.2 `catboost/libs/model/model_export/json_model_helpers.cpp`: the leaf has bit i set when
the value in float32 is above the border of split i; `catboost/private/libs/options/json_helper.h` for the
parameters that a model keeps.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import msgspec
import numpy as np

from modelward.adapters.runtime import class_text
from modelward.adapters.trees.build import Sum, Tree, assemble
from modelward.adapters.trees.inputs import as_float32, plain
from modelward.errors import FileDamaged, OperatorUnsupported

if TYPE_CHECKING:
    from modelward.core.trees import Forest
    from modelward.numeric.types import BoolArray, FloatArray, IntArray

_DEEPEST: Final = 16
_ONE_AGAINST_ALL: Final = "MultiClassOneVsAll"


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
    feature_id: str = ""
    nan_value_treatment: str = "AsIs"


class _Features(msgspec.Struct, frozen=True):
    float_features: list[_FloatFeature] = []
    categorical_features: list[msgspec.Raw] = []
    text_features: list[msgspec.Raw] = []
    embedding_features: list[msgspec.Raw] = []


class _Loss(msgspec.Struct, frozen=True):
    type: str = ""


class _Parameters(msgspec.Struct, frozen=True):
    loss_function: _Loss = _Loss()


class _Classes(msgspec.Struct, frozen=True):
    class_names: list[bool | int | float | str] = []
    class_to_label: list[bool | int | float | str] = []


class _Info(msgspec.Struct, frozen=True):
    params: _Parameters = _Parameters()
    class_params: _Classes = _Classes()


class _Document(msgspec.Struct, frozen=True):
    features_info: _Features
    scale_and_bias: tuple[float, list[float]]
    oblivious_trees: list[_Oblivious] | None = None
    model_info: _Info = _Info()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Oblivious:
    """A tree that asks the same question everywhere on one level.

    Attributes:
        column: (d,) int64 input column of each question.
        border: (d,) float32; a value above it sets bit i of the leaf's number.
        missing: (d,) bool whether a missing value sets it.
        value: (2**d, g) float64 of each leaf, before the scale.
    """

    column: IntArray
    border: FloatArray
    missing: BoolArray
    value: FloatArray


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """What a document says.

    Attributes:
        width: input columns.
        names: of the columns; null where one has none.
        classes: names of the classes in the order of the scores; empty when it does not say.
        loss: that it was trained with; empty when it does not say.
        scale: of the trees' sum.
        bias: (g,) float64 added to it; one number for two classes, else one per class.
        trees: at least one.
    """

    width: int
    names: tuple[str, ...] | None
    classes: tuple[str, ...]
    loss: str
    scale: float
    bias: FloatArray
    trees: tuple[Oblivious, ...]

    def forest(self) -> Forest:
        """The same as arrays of nodes.

        Raises:
            OperatorUnsupported: there are more nodes than are searched.
        """
        g = len(self.bias)
        base = np.array([0.0, *self.bias]) if g == 1 else self.bias
        trees = [_spread(tree, max(2, g), self.scale) for tree in self.trees]
        one_against_all = self.loss == _ONE_AGAINST_ALL and g > 1
        total = Sum(base=base, link="sigmoid" if one_against_all else "softmax")
        return assemble(trees, plain(self.width, as_float32), total, self.width)


def parsed(document: bytes) -> Ensemble:
    """What a model saved as JSON says.

    Raises:
        FileDamaged: the document is no such model.
        OperatorUnsupported: its trees are not oblivious, or look at more than numbers.
    """
    try:
        model = msgspec.json.decode(document, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileDamaged(f"the CatBoost document cannot be read ({str(error)[:200]})") from error
    info = model.features_info
    if info.categorical_features or info.text_features or info.embedding_features:
        raise OperatorUnsupported(
            "CatBoost's encodings of categories, texts and embeddings (CTR) are not read",
            advice="Train on numbers: encode the categories before.",
        )
    if model.oblivious_trees is None:
        raise OperatorUnsupported(
            "CatBoost trees that are not oblivious (grow_policy) are not read",
            advice="Train with the default grow_policy, SymmetricTree.",
        )
    if not model.oblivious_trees:
        raise FileDamaged("the CatBoost document has no trees")
    scale, bias = model.scale_and_bias
    flat = [f.flat_feature_index for f in info.float_features]
    if not bias or min(flat, default=0) < 0 or len(set(flat)) != len(flat):
        raise FileDamaged("the CatBoost document has no bias, or a feature below 0 or twice")
    width, features = 1 + max(flat, default=0), {f.feature_index: f for f in info.float_features}
    plain(width, as_float32)  # refuses more features than are searched
    return Ensemble(
        width=width,
        names=_names(info.float_features, width),
        classes=_classes(model.model_info.class_params, max(2, len(bias))),
        loss=model.model_info.params.loss_function.type,
        scale=scale,
        bias=_finite(bias),
        trees=tuple(_oblivious(tree, features, len(bias)) for tree in model.oblivious_trees),
    )


def read(document: bytes) -> Forest:
    """The trees of a model saved as JSON; raises as `parsed` does."""
    return parsed(document).forest()


def from_object(model: object) -> Forest:
    """The trees of a live CatBoost model, by way of its own JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")  # type: ignore[attr-defined]  # the caller knows its class
        return read(path.read_bytes())


def _names(features: list[_FloatFeature], width: int) -> tuple[str, ...] | None:
    found = {f.flat_feature_index: f.feature_id for f in features if f.feature_id}
    return tuple(found[i] for i in range(width)) if len(found) == width else None


def _classes(stated: _Classes, k: int) -> tuple[str, ...]:
    names = stated.class_names or stated.class_to_label
    if names and len(names) != k:
        raise FileDamaged(f"the CatBoost document names {len(names)} classes and scores {k}")
    return tuple(map(class_text, names))


def _finite(values: list[float]) -> FloatArray:
    found = np.array(values, np.float64)
    if not np.isfinite(found).all():
        raise FileDamaged("the CatBoost document holds NaN or an infinity")
    return found


def _oblivious(tree: _Oblivious, features: dict[int, _FloatFeature], g: int) -> Oblivious:
    splits = tree.splits or []
    depth = len(splits)
    if depth > _DEEPEST or len(tree.leaf_values) != g << depth:
        raise FileDamaged("a CatBoost tree's leaves do not fit its splits")
    if any(s.split_type != "FloatFeature" or s.float_feature_index not in features for s in splits):
        raise OperatorUnsupported("CatBoost splits on more than numbers are not read")
    asked = [features[s.float_feature_index] for s in splits]
    return Oblivious(
        column=np.array([f.flat_feature_index for f in asked], np.int64),
        border=as_float32(np.array([s.border for s in splits], np.float64)),
        missing=np.array([f.nan_value_treatment == "AsTrue" for f in asked], np.bool_),
        value=_finite(tree.leaf_values).reshape(1 << depth, g),
    )


def _spread(tree: Oblivious, k: int, scale: float) -> Tree:
    """As nodes in heap order; the first level asks the last question, so leaves run from left to right."""
    depth, (leaves, g) = len(tree.column), tree.value.shape
    inner, m = leaves - 1, 2 * leaves - 1
    nodes, column = np.arange(m), np.full(m, -1, np.int64)
    threshold, missing_left = np.zeros(m), np.ones(m, np.bool_)
    for level in range(depth):
        here, question = slice((1 << level) - 1, (1 << (level + 1)) - 1), depth - 1 - level
        column[here] = tree.column[question]
        threshold[here] = tree.border[question]
        missing_left[here] = ~tree.missing[question]
    value = np.zeros((m, k))
    value[inner:, -g:] = scale * tree.value
    child = 2 * nodes + 1
    return Tree(
        column=column,
        threshold=threshold,
        left=np.where(column >= 0, child, nodes),
        right=np.where(column >= 0, child + 1, nodes),
        missing_left=missing_left,
        value=value,
    )
