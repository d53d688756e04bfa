"""Whether trees that were read answer as their model does; if not, there are no trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from modelward.core.seeds import child_seed
from modelward.errors import ModelRaised, OperatorUnsupported
from modelward.numeric.forests import raw_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelward.core.data import Dataset
    from modelward.core.model import Model
    from modelward.core.trees import Forest
    from modelward.numeric.types import FloatArray

TOLERANCE: Final = 1e-5
"""Largest difference between probabilities or raw scores, beyond what sums in the library's type can lose."""
_ROWS: Final = 256
_EDGES: Final = 512


def require_faithful(forest: Forest, model: Model, data: Dataset) -> None:
    """Compare decisions and scores on rows of the data, and on rows moved to both sides of random thresholds.

    Raises:
        OperatorUnsupported: an answer differs.
    """
    if forest.width != int(np.prod(data.x.shape[1:])) or len(forest.base) != len(model.outputs.classes):
        raise OperatorUnsupported("the trees take or give other numbers of columns than the model")
    x = np.concatenate([data.x[:_ROWS], _edges(forest, data)])
    try:
        seen = np.asarray(model.scores(x), np.float64)
    except ModelRaised as error:
        raise OperatorUnsupported(
            f"the model refused rows that the trees are compared on: {error}"
        ) from error
    raw = raw_scores(forest, x.reshape(len(x), -1).astype(np.float64))
    sorted_ = np.sort(raw, axis=1)
    clear = (sorted_[:, -1] - sorted_[:, -2] > forest.slack) | (forest.slack == 0)
    wrong = int((clear & (raw.argmax(axis=1) != seen.argmax(axis=1))).sum())
    if wrong:
        raise OperatorUnsupported(f"the trees decide {wrong} of {len(x)} rows unlike the model")
    if model.outputs.kind == "labels":
        return
    mine = linked(raw, forest, model.outputs.kind)
    theirs = seen - seen[:, :1] if model.outputs.kind == "logits" else seen
    off = float(np.abs(mine - theirs).max())
    allowed = TOLERANCE * max(1.0, float(np.abs(theirs).max())) + forest.slack
    if not off <= allowed:
        raise OperatorUnsupported(
            f"the trees' scores differ from the model's by {off:.3g}, more than {allowed:.3g}"
        )


def linked(raw: FloatArray, forest: Forest, kind: str) -> FloatArray:
    """Scores as the model states them: differences to the first column for logits, else probabilities."""
    if kind == "logits":
        return np.asarray(raw - raw[:, :1])
    if forest.link == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-raw)))
    shares = np.exp(raw - raw.max(axis=1, keepdims=True)) if forest.link == "softmax" else raw
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _edges(forest: Forest, data: Dataset) -> NDArray[np.generic]:
    """Rows of the data with one feature at a threshold, or just above it, or at another code."""
    inner = np.flatnonzero(forest.feature >= 0)
    if len(inner) == 0:
        return data.x[:0]
    random = np.random.default_rng(child_seed(0, "thresholds"))
    node = random.choice(inner, min(_EDGES, 4 * len(inner)))
    x = data.x[random.integers(0, len(data), len(node))].copy()
    flat = x.reshape(len(x), -1)
    feature = forest.feature[node]
    edge = _at_most(forest.threshold[node], x.dtype)
    above = np.nextafter(edge, np.array(np.inf, edge.dtype)) if edge.dtype.kind == "f" else edge + 1
    value = np.where(random.random(len(node)) < 0.5, edge, above).astype(x.dtype)
    coded = (forest.subset[node] >= 0) | np.isin(
        feature, [i for i, column in enumerate(data.columns) if column.kind == "category"]
    )
    other = flat[random.permutation(len(x)), feature]
    fits = np.isfinite(value.astype(np.float64)) & ~coded
    flat[np.arange(len(x)), feature] = np.where(fits, value, other)
    return flat.reshape(x.shape)


def _at_most(threshold: FloatArray, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """The largest number of a type that is not above a threshold."""
    if not np.issubdtype(dtype, np.floating):
        limits = np.iinfo(dtype)  # type: ignore[type-var]  # no floating type
        return np.floor(np.clip(threshold, limits.min, limits.max - 1)).astype(dtype)
    with np.errstate(over="ignore"):
        found = threshold.astype(dtype)
    low = np.nextafter(found, np.array(-np.inf, dtype))
    return np.where(found.astype(np.float64) > threshold, low, found)
