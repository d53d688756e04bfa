"""CatBoost's JSON document, oblivious trees over numbers.

Source: CatBoost 1.2 `catboost/libs/model/model_export/json_model_helpers.cpp`: the leaf has bit i set when
the value in float32 is above the border of split i; `catboost/private/libs/options/json_helper.h` for the
parameters that a model keeps.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

import msgspec
import numpy as np

from modelward.adapters.runtime import class_text
from modelward.adapters.trees.build import Sum, Tree, assemble
from modelward.adapters.trees.inputs import as_float32, plain
from modelward.artifact.formats.catboost_json import DEEPEST, ObliviousTree
from modelward.errors import FileDamaged, OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.trees import Forest
    from modelward.numeric.types import BoolArray, FloatArray, IntArray

_ONE_AGAINST_ALL: Final = "MultiClassOneVsAll"
_Label: TypeAlias = bool | int | float | str
_ENCODED: Final = "Train on numbers: encode the categories before."


class _FloatFeature(msgspec.Struct, frozen=True):
    feature_index: int
    flat_feature_index: int
    feature_id: str = ""
    nan_value_treatment: Literal["AsIs", "AsFalse", "AsTrue"] = "AsIs"


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
    class_names: list[_Label] = []
    class_to_label: list[_Label] = []


class _Info(msgspec.Struct, frozen=True):
    params: _Parameters = _Parameters()
    class_params: _Classes = _Classes()
    binclass_probability_threshold: float | str = 0.5


class _Document(msgspec.Struct, frozen=True):
    features_info: _Features
    scale_and_bias: tuple[float, list[float]]
    oblivious_trees: list[ObliviousTree] | None = None
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
        OperatorUnsupported: its trees are not oblivious, or look at more than numbers; or it decides by a
            threshold of its own, or does not say which of its classes its scores are of.
    """
    try:
        model = msgspec.json.decode(document, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileDamaged(f"the CatBoost document cannot be read ({str(error)[:200]})") from error
    info = model.features_info
    if info.categorical_features or info.text_features or info.embedding_features:
        raise OperatorUnsupported(
            "CatBoost's encodings of categories, texts and embeddings (CTR) are not read",
            advice=_ENCODED,
        )
    if model.oblivious_trees is None:
        raise OperatorUnsupported(
            "CatBoost trees that are not oblivious (grow_policy) are not read",
            advice="Train with the default grow_policy, SymmetricTree.",
        )
    if not model.oblivious_trees:
        raise FileDamaged("the CatBoost document has no trees")
    require_even(model.model_info.binclass_probability_threshold)
    scale, bias = model.scale_and_bias
    flat = [f.flat_feature_index for f in info.float_features]
    if not bias or min(flat, default=0) < 0 or len(set(flat)) != len(flat):
        raise FileDamaged("the CatBoost document has no bias, or a feature below 0 or twice")
    width, features = 1 + max(flat, default=0), {f.feature_index: f for f in info.float_features}
    plain(width, as_float32)  # refuses more features than are searched
    trees = tuple(_oblivious(tree, features, len(bias)) for tree in model.oblivious_trees)
    _require_reach(trees, scale, _finite(bias))
    return Ensemble(
        width=width,
        names=_names(info.float_features, width),
        classes=_classes(model.model_info.class_params, max(2, len(bias))),
        loss=model.model_info.params.loss_function.type,
        scale=scale,
        bias=_finite(bias),
        trees=trees,
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


def require_even(threshold: float | str) -> None:
    """Refuse decisions at another probability than one half: classes are told apart by the larger score.

    Source: CatBoost 1.2 `catboost/libs/model/eval_processing.h`; it keeps the number as text.

    Raises:
        FileDamaged: it is no number.
        OperatorUnsupported: it is not 0.5.
    """
    try:
        number = float(threshold)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise FileDamaged(f"the CatBoost model's probability threshold {str(threshold)[:80]!r} is no number")
    if number != 0.5:
        raise OperatorUnsupported(
            f"the CatBoost model decides by a probability threshold of {number!r}, and only 0.5 is read",
            advice="Move the threshold t into the bias, which decides alike: call "
            "set_scale_and_bias(scale, bias - log(t / (1 - t))), then set_probability_threshold(0.5).",
        )


def _require_reach(trees: Sequence[Oblivious], scale: float, bias: FloatArray) -> None:
    """Refuse scores, and differences of two, that no float64 holds."""
    with np.errstate(over="ignore"):
        leaves = np.sum([np.abs(tree.value).max() for tree in trees])
        reach = max(1.0, abs(scale)) * leaves + np.abs(bias).max()
        if not np.isfinite(2 * reach):
            raise FileDamaged("the CatBoost document's scores are beyond double precision")


def _names(features: list[_FloatFeature], width: int) -> tuple[str, ...] | None:
    found = {f.flat_feature_index: f.feature_id for f in features if f.feature_id}
    if len(set(found.values())) < width:
        return None
    return tuple(found[i] for i in range(width))


def _classes(stated: _Classes, k: int) -> tuple[str, ...]:
    """Names of the k scores; where there are names of other classes too, labels are their positions.

    Source: CatBoost 1.2 `catboost/libs/labels/external_label_helper.cpp`.
    """
    names, labels = stated.class_names, stated.class_to_label
    if names and len(labels) == k:
        known: dict[_Label, _Label] = dict(enumerate(names))
        names = [known[label] for label in labels if label in known]
    found = tuple(map(class_text, names or labels))
    if found and len(found) != k:
        raise OperatorUnsupported(
            f"the CatBoost document does not say which of its {len(stated.class_names or labels)} classes "
            f"its {k} scores are of",
            advice="Train with class_names that are the classes of the training data, no more and no fewer.",
        )
    if len(set(found)) < len(found):
        raise FileDamaged("the CatBoost document names two classes alike")
    return found


def _finite(values: list[float]) -> FloatArray:
    found = np.array(values, np.float64)
    if not np.isfinite(found).all():
        raise FileDamaged("the CatBoost document holds NaN or an infinity")
    return found


def _oblivious(tree: ObliviousTree, features: dict[int, _FloatFeature], g: int) -> Oblivious:
    splits = tree.splits or []
    depth = len(splits)
    if depth > DEEPEST or len(tree.leaf_values) != g << depth:
        raise FileDamaged("a CatBoost tree's leaves do not fit its splits")
    for split in splits:
        if split.split_type != "FloatFeature":
            raise OperatorUnsupported("CatBoost splits on more than numbers are not read", advice=_ENCODED)
        if split.float_feature_index not in features:
            raise FileDamaged(
                f"a CatBoost split asks feature {str(split.float_feature_index)[:20]}, which is not there"
            )
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
