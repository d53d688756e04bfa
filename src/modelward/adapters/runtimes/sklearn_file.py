"""scikit-learn files; loaded in the sandbox alone, because a pickle is a program."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Protocol, final

import numpy as np

from modelward.adapters.runtime import Facts, RuntimeSpec, class_text, inspected_bytes
from modelward.errors import ShapeMismatch, UnsafeArtifact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from modelward.core.model import OutputKind
    from modelward.core.trees import Forest


_ESTIMATOR_PART = re.compile(r"(sklearn|xgboost\.sklearn|lightgbm\.sklearn|xgboost\.core)(\.\w+)*\.[A-Z]\w*")
"""Classes (not functions) that skops does not list itself, such as sklearn.tree._tree.Tree."""


class Estimator(Protocol):
    """The part of scikit-learn's interface that every classifier has."""

    def predict(self, x: object) -> NDArray[np.generic]:
        """One label a row."""
        ...


@final
class EstimatorRuntime:
    """A fitted scikit-learn classifier or pipeline."""

    def __init__(self, estimator: Estimator, categories: Mapping[str, Sequence[str]]) -> None:
        if not callable(getattr(estimator, "predict", None)):
            raise ShapeMismatch(f"the file holds {type(estimator).__name__}, which has no predict method")
        _require_plain_decisions(estimator)
        self._ask, kind, origin = _best_method(estimator)
        self._estimator = estimator
        names = getattr(estimator, "feature_names_in_", None)
        width = getattr(estimator, "n_features_in_", None)
        classes = getattr(estimator, "classes_", None)
        if classes is None:
            raise ShapeMismatch(f"{type(estimator).__name__} has no classes, so it is no classifier")
        if len(classes) < 2:
            raise ShapeMismatch(f"{type(estimator).__name__} knows one class alone, so it decides nothing")
        self._categories = {name: np.array(list(texts), dtype=object) for name, texts in categories.items()}
        self._facts = Facts(
            features=None if names is None else tuple(map(str, names)),
            n_features=None if width is None else int(width),
            classes=tuple(class_text(value) for value in classes),
            kind=kind,
            origin=f"{type(estimator).__name__}.{origin}",
            texts=names is not None,
            strings=_takes_strings(estimator),
        )

    @property
    def facts(self) -> Facts:
        """Feature names, classes, and the method that is asked."""
        return self._facts

    def raw(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        """Ask the best of predict_proba, decision_function and predict."""
        return np.asarray(
            self._ask(self._frame(np.array(x)))
        )  # a step with copy=False changes what it is given

    def forest(self) -> Forest:
        """The estimator's trees, behind the steps before them."""
        from modelward.adapters.trees import estimators

        return estimators.read(self._estimator, {n: list(t) for n, t in self._categories.items()})

    def _frame(self, x: NDArray[np.generic]) -> object:
        names = self._facts.features
        if names is None or x.ndim != 2 or x.shape[1] != len(names) or x.dtype.kind not in "fiub":
            return x
        import pandas as pd

        columns: dict[str, NDArray[np.generic]] = {}
        for j, name in enumerate(names):
            texts = self._categories.get(name)
            columns[name] = x[:, j] if texts is None else _decode(x[:, j], texts)
        return pd.DataFrame(columns)


def _require_plain_decisions(estimator: Estimator) -> None:
    """Refuse a model of CatBoost, alone or last in a pipeline, that decides by a threshold of its own."""
    last: object = estimator
    while isinstance(steps := getattr(last, "steps", None), list) and steps:
        last = steps[-1][1]
    threshold = getattr(last, "get_probability_threshold", None)
    if callable(threshold):
        from modelward.adapters.trees.catboost_trees import require_even

        require_even(threshold())


def _takes_strings(estimator: Estimator) -> bool:
    """Whether a vectoriser of texts is what its input meets first."""
    first: object = estimator
    while isinstance(steps := getattr(first, "steps", None), list) and steps:
        first = steps[0][1]
    return type(first).__module__ == "sklearn.feature_extraction.text"


def load(spec: RuntimeSpec) -> EstimatorRuntime:
    """Open a skops, joblib or pickle file. Call it in the sandbox, after an inert verdict.

    Raises:
        UnsafeArtifact: the file is not the one that was inspected; or a skops file names a function, or a
            type outside the known libraries.
        ShapeMismatch: it holds no classifier.
    """
    content = inspected_bytes(spec)
    if spec.format == "skops":
        import skops.io

        named = skops.io.get_untrusted_types(data=content)
        unknown = [name for name in named if not _ESTIMATOR_PART.fullmatch(name)]
        if unknown:
            raise UnsafeArtifact(f"{spec.path}: names types that are not trusted: {', '.join(unknown[:5])}")
        estimator = skops.io.loads(content, trusted=named)
    else:
        import joblib

        estimator = joblib.load(io.BytesIO(content))  # reads plain pickles too; sandboxed and proven inert
    return EstimatorRuntime(estimator, spec.categories)


def _best_method(
    estimator: Estimator,
) -> tuple[Callable[[object], NDArray[np.generic]], OutputKind, str]:
    for name, kind in (("predict_proba", "probabilities"), ("decision_function", "logits")):
        method = getattr(estimator, name, None)
        if callable(method):
            return method, "probabilities" if kind == "probabilities" else "logits", name
    return estimator.predict, "labels", "predict"


def _decode(codes: NDArray[np.generic], texts: NDArray[np.object_]) -> NDArray[np.generic]:
    whole = np.nan_to_num(codes.astype(np.float64), nan=-1.0)
    index = whole.astype(np.int64)
    known = (index >= 0) & (index < len(texts)) & (index == whole)
    # A code outside the dictionary is a category the model has never seen.
    return np.where(known, texts[np.clip(index, 0, len(texts) - 1)], "(unknown)")
