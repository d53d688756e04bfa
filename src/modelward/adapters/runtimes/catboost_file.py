"""CatBoost models saved as JSON, answered from the document: CatBoost itself is not needed.

Source: CatBoost 1.2 `catboost/libs/model/cpu/evaluator_impl.cpp` for leaves and `catboost/libs/model/
eval_processing.h` for probabilities.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.adapters.runtime import Facts, RuntimeSpec, as_numbers
from modelward.adapters.trees.catboost_trees import Ensemble, parsed
from modelward.artifact.formats.catboost_json import LARGEST
from modelward.errors import FileDamaged, ModelRaised, ShapeMismatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelward.core.trees import Forest
    from modelward.numeric.types import FloatArray

_AT_ONCE: Final = 1 << 22
"""Questions answered at once."""
_LOSSES: Final[dict[str, bool]] = {
    "Logloss": False,
    "CrossEntropy": False,
    "Focal": False,
    "MultiClass": True,
    "MultiClassOneVsAll": True,
}
"""Losses of classifiers, and whether they have a score per class."""


@final
class CatBoostRuntime:
    """The trees of a document, asked level by level in float32 and added up in float64."""

    def __init__(self, ensemble: Ensemble) -> None:
        k = max(2, len(ensemble.bias))
        if not ensemble.loss:
            raise FileDamaged(
                "the CatBoost document does not say its loss",
                advice='Save the model again by save_model(path, format="json").',
            )
        if ensemble.loss not in _LOSSES:
            raise ShapeMismatch(
                f"the loss {ensemble.loss[:80]!r} is no classification", advice="Give a classifier."
            )
        if _LOSSES[ensemble.loss] != (len(ensemble.bias) > 1):
            raise FileDamaged(f"the loss {ensemble.loss!r} does not go with {len(ensemble.bias)} scores")
        self._ensemble = ensemble
        self._facts = Facts(
            features=ensemble.names,
            n_features=ensemble.width,
            classes=ensemble.classes or tuple(map(str, range(k))),
            kind="probabilities",
            origin=f"loss {ensemble.loss}",
            missing=True,
        )
        trees, deepest = ensemble.trees, max(len(tree.column) for tree in ensemble.trees)
        # A question that nothing answers with yes, up to the depth of the deepest tree.
        self._column = np.zeros((len(trees), deepest), np.int64)
        self._border = np.full((len(trees), deepest), np.inf, np.float32)
        self._missing = np.zeros((len(trees), deepest), np.bool_)
        for row, tree in enumerate(trees):
            depth = len(tree.column)
            self._column[row, :depth], self._border[row, :depth] = tree.column, tree.border
            self._missing[row, :depth] = tree.missing
        self._bits = 1 << np.arange(deepest)
        self._start = np.cumsum([0, *(len(tree.value) for tree in trees[:-1])])
        self._value = np.concatenate([tree.value for tree in trees])

    @property
    def facts(self) -> Facts:
        """Names of features and classes, and what the loss makes of the scores."""
        return self._facts

    def forest(self) -> Forest:
        """The document's trees."""
        return self._ensemble.forest()

    def raw(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        """Probabilities, (n, k) float64."""
        if x.ndim != 2 or x.shape[1] != self._ensemble.width:
            raise ModelRaised(f"the model takes rows of {self._ensemble.width} numbers, not shape {x.shape}")
        with np.errstate(over="ignore"):
            single = np.asarray(as_numbers(x, np.float32), np.float32)
        scores = np.empty((len(x), len(self._ensemble.bias)))
        step = max(1, _AT_ONCE // max(1, self._column.size))
        for at in range(0, len(x), step):
            part = single[at : at + step, self._column]
            above = np.where(np.isnan(part), self._missing, part > self._border)
            leaf = above @ self._bits
            scores[at : at + step] = self._value[self._start + leaf].sum(axis=1)
        return _probabilities(self._ensemble.scale * scores + self._ensemble.bias, self._ensemble.loss)


def load(spec: RuntimeSpec) -> CatBoostRuntime:
    """Open a model that CatBoost saved as JSON.

    Raises:
        FileDamaged: the document contradicts itself, or is larger than 1 GiB.
        OperatorUnsupported: it has trees that are not oblivious, or categories, texts or embeddings; or it
            decides by a threshold of its own.
        ShapeMismatch: it is no classifier.
    """
    path = Path(spec.path)
    if path.stat().st_size > LARGEST:
        raise FileDamaged(f"{path}: CatBoost documents of up to {LARGEST} bytes are read")
    return CatBoostRuntime(parsed(path.read_bytes()))


def _probabilities(scores: FloatArray, loss: str) -> FloatArray:
    """(n, k) of raw scores, (n, g); both exponentials are of numbers that are not positive."""
    if loss == "MultiClass":
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))
    small = np.exp(-np.abs(scores))
    yes = np.where(scores >= 0, 1.0, small) / (1 + small)
    return np.asarray(yes) if scores.shape[1] > 1 else np.hstack([1 - yes, yes])
