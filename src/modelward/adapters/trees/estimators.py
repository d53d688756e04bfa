"""Fitted scikit-learn trees, forests and boosters, alone or behind steps of a pipeline.

Source: scikit-learn 1.9 `tree/_tree.pyx` (`_apply_dense`), `ensemble/_forest.py`, `ensemble/_gb.py`,
`ensemble/_hist_gradient_boosting/`. Objects are read by name: nothing here imports scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

import numpy as np

from modelward.adapters.trees import lightgbm_trees, xgboost_trees
from modelward.adapters.trees.build import Sum, Tree, assemble
from modelward.adapters.trees.inputs import Source, as_float32
from modelward.adapters.trees.pipelines import Columns, ordinal, rounded, through
from modelward.errors import OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from modelward.core.trees import Forest
    from modelward.numeric.types import FloatArray

_BITS: Final = 256


class _Nodes(Protocol):
    """The part of `sklearn.tree._tree.Tree` that is read."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    children_left: NDArray[np.int64]
    children_right: NDArray[np.int64]
    value: NDArray[np.float64]


def read(estimator: object, categories: Mapping[str, Sequence[str]]) -> Forest:
    """The trees of a fitted classifier.

    Args:
        estimator: any object.
        categories: column name to the texts that the data's codes stand for.

    Raises:
        OperatorUnsupported: it holds no trees, or a step before them is not known.
    """
    width = int(cast("int", _get(estimator, "n_features_in_")))
    names = getattr(estimator, "feature_names_in_", None)
    columns = Columns.of(width, None if names is None else [str(n) for n in names], categories)
    while type(estimator).__name__ == "Pipeline":
        *steps, (_, last) = cast("list[tuple[str, object]]", _get(estimator, "steps"))
        for _, step in steps:
            columns = through(columns, step)
        estimator = last
    name, sources = type(estimator).__name__, columns.sources
    if name in _OWN_FORMAT:
        if not columns.untouched:
            raise OperatorUnsupported(f"steps before {name} are not read")
        return _OWN_FORMAT[name](estimator)
    readers = {
        "DecisionTreeClassifier": _average,
        "ExtraTreeClassifier": _average,
        "RandomForestClassifier": _average,
        "ExtraTreesClassifier": _average,
        "GradientBoostingClassifier": _boosted,
        "HistGradientBoostingClassifier": _binned,
    }
    if name not in readers:
        raise OperatorUnsupported(f"{name} is none of the tree ensembles that are read")
    return readers[name](estimator, sources, width)


def _get(value: object, name: str) -> object:
    found = getattr(value, name, None)
    if found is None:
        raise OperatorUnsupported(f"{type(value).__name__} has no {name}, so its trees are not read")
    return found


def _rounded(sources: Sequence[Source]) -> list[Source]:
    return [rounded(source, as_float32) for source in sources]


def _tree(nodes: _Nodes, value: FloatArray) -> Tree:
    leaf = nodes.children_left < 0
    missing = getattr(nodes, "missing_go_to_left", None)
    return Tree(
        column=np.where(leaf, -1, nodes.feature).astype(np.int64),
        threshold=np.asarray(nodes.threshold, np.float64),
        left=np.asarray(nodes.children_left, np.int64),
        right=np.asarray(nodes.children_right, np.int64),
        missing_left=np.zeros(len(leaf), np.bool_) if missing is None else np.asarray(missing, np.bool_),
        value=value,
    )


def _average(estimator: object, sources: Sequence[Source], width: int) -> Forest:
    """A tree, or the mean of the trees' probabilities; the division by their number changes no decision."""
    members = cast("list[object]", getattr(estimator, "estimators_", None) or [estimator])
    trees = []
    for member in members:
        nodes = cast("_Nodes", _get(member, "tree_"))
        value = np.asarray(nodes.value, np.float64)
        if value.ndim != 3 or value.shape[1] != 1 or value.shape[2] < 2:
            raise OperatorUnsupported("trees with several outputs or one class are not read")
        trees.append(_tree(nodes, value[:, 0, :]))
    total = Sum(base=np.zeros(trees[0].value.shape[1]), link="identity")
    return assemble(trees, _rounded(sources), total, width)


def _columns(n_trees: int, raw: FloatArray) -> tuple[int, FloatArray]:
    """Number of score columns and the scores without trees; a single raw column is the second class's."""
    if n_trees == 1:
        return 2, np.array([0.0, float(raw[0])])
    return n_trees, raw.astype(np.float64)


def _boosted(estimator: object, sources: Sequence[Source], width: int) -> Forest:
    init = _get(estimator, "init_")
    if type(init).__name__ not in {"DummyClassifier", "str"}:
        raise OperatorUnsupported("gradient boosting on top of another model is not read")
    start = cast("Callable[[FloatArray], FloatArray]", _get(estimator, "_raw_predict_init"))
    first = np.asarray(start(np.zeros((1, len(sources)), np.float32)), np.float64)[0]
    members = cast("NDArray[np.object_]", _get(estimator, "estimators_"))
    k, base = _columns(members.shape[1], first)
    rate = float(cast("float", _get(estimator, "learning_rate")))
    if (
        _get(estimator, "loss") == "exponential"
    ):  # its probability is the logistic function of twice the score
        rate, base = 2 * rate, 2 * base
    trees = []
    for row in members:
        for j, member in enumerate(row):
            nodes = cast("_Nodes", _get(member, "tree_"))
            value = np.zeros((len(nodes.feature), k))
            value[:, j if k > 2 or len(row) > 1 else 1] = rate * nodes.value[:, 0, 0]
            trees.append(_tree(nodes, value))
    return assemble(trees, _rounded(sources), Sum(base=base, link="softmax"), width)


def _binned(estimator: object, sources: Sequence[Source], width: int) -> Forest:
    """Histogram boosting; its own encoder puts the columns of categories first."""
    encoder = getattr(estimator, "_preprocessor", None)
    known: list[int | None] = [None] * len(sources)
    if encoder is not None:
        coded = np.asarray(_get(estimator, "is_categorical_"), np.bool_)
        inside = encoder.named_transformers_["encoder"].categories_
        order = [int(i) for i in np.argsort(~coded, kind="stable")]
        known = [len(texts) for texts in inside] + [None] * int((~coded).sum())
        encoded = [
            ordinal(sources[i], np.asarray(texts), unknown=np.nan)
            for i, texts in zip(order, inside, strict=False)
        ]
        sources = encoded + [sources[i] for i in order[len(encoded) :]]
    raw = np.asarray(_get(estimator, "_baseline_prediction"), np.float64).reshape(-1)
    k, base = _columns(int(cast("int", _get(estimator, "n_trees_per_iteration_"))), raw)
    trees = []
    for row in cast("list[list[object]]", _get(estimator, "_predictors")):
        for j, predictor in enumerate(row):
            trees.append(_binned_tree(predictor, j if len(row) > 1 else 1, (k, known)))
    return assemble(trees, sources, Sum(base=base, link="softmax"), width)


def _binned_tree(predictor: object, column: int, layout: tuple[int, list[int | None]]) -> Tree:
    k, known = layout
    nodes = cast("NDArray[np.void]", _get(predictor, "nodes"))
    bits = np.ascontiguousarray(cast("NDArray[np.uint32]", _get(predictor, "raw_left_cat_bitsets")))
    leaf = nodes["is_leaf"].astype(np.bool_)
    value = np.zeros((len(nodes), k))
    value[:, column] = nodes["value"]
    rows = np.unpackbits(bits.reshape(-1, _BITS // 32).view(np.uint8), axis=1, bitorder="little").astype(
        np.bool_
    )
    members = {}
    for node in np.flatnonzero(~leaf & nodes["is_categorical"].astype(np.bool_)):
        row = rows[nodes["bitset_idx"][node]].copy()
        seen = known[int(nodes["feature_idx"][node])]
        row[_BITS if seen is None else seen :] = bool(nodes["missing_go_to_left"][node])  # as a missing value
        members[int(node)] = row
    return Tree(
        column=np.where(leaf, -1, nodes["feature_idx"]).astype(np.int64),
        threshold=np.where(leaf, 0.0, nodes["num_threshold"]),
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(np.bool_),
        value=value,
        members=members,
    )


def _xgboost(estimator: object) -> Forest:
    booster = cast("Callable[[], object]", _get(estimator, "get_booster"))()
    best = (
        getattr(estimator, "best_iteration", None)
        if getattr(estimator, "early_stopping_rounds", None)
        else None
    )
    if best is not None:
        booster = booster[: int(best) + 1]  # type: ignore[index]  # boosters can be sliced
    return xgboost_trees.read(bytes(booster.save_raw("json")))  # type: ignore[attr-defined]  # get_booster makes one


def _lightgbm(estimator: object) -> Forest:
    booster = _get(estimator, "booster_")
    return lightgbm_trees.read(booster.model_to_string())  # type: ignore[attr-defined]  # booster_ is one


def _catboost(estimator: object) -> Forest:
    from modelward.adapters.trees import catboost_trees

    return catboost_trees.from_object(estimator)


_OWN_FORMAT: Final[dict[str, Callable[[object], Forest]]] = {
    "XGBClassifier": _xgboost,
    "XGBRFClassifier": _xgboost,
    "LGBMClassifier": _lightgbm,
    "CatBoostClassifier": _catboost,
}
