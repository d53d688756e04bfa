"""Evaluating tree ensembles over arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from modelward.core.trees import Forest
    from modelward.numeric.types import BoolArray, FloatArray, IntArray

_CELLS: Final = 1 << 20
"""Most (row, tree) pairs evaluated at once."""


def goes_left(forest: Forest, node: IntArray, value: FloatArray) -> BoolArray:
    """Which way values go at nodes.

    Args:
        forest: the ensemble.
        node: any shape.
        value: same shape, float64, NaN for missing.

    Returns:
        Same shape; the rule is that of `Forest`. Source: definition.
    """
    left = value <= forest.threshold[node]
    if len(forest.codes):
        row, width = forest.subset[node], forest.codes.shape[1]
        code = np.where((value >= 0) & (value < width) & (value == np.rint(value)), value, -1).astype(
            np.int64
        )
        member = forest.other_left[row]
        if width:  # every set may be empty
            member = np.where(code >= 0, forest.codes[row, code], member)
        left = np.where(row >= 0, member, left)
    return np.asarray(np.where(np.isnan(value), forest.missing_left[node], left))


def leaves(forest: Forest, x: FloatArray) -> IntArray:
    """The leaf that each row ends in, per tree.

    Args:
        forest: the ensemble.
        x: (n, width) float64, NaN for missing.

    Returns:
        (n, t) int64 node numbers. Source: definition.
    """
    found = np.empty((len(x), len(forest.roots)), np.int64)
    step = max(1, _CELLS // max(1, len(forest.roots)))
    for start in range(0, len(x), step):
        part = x[start : start + step]
        rows = np.arange(len(part))[:, None]
        node = np.broadcast_to(forest.roots, (len(part), len(forest.roots))).copy()
        while True:
            feature = forest.feature[node]
            inner = feature >= 0
            if not inner.any():
                break
            left = goes_left(forest, node, part[rows, np.maximum(feature, 0)])
            node = np.where(left, forest.left[node], forest.right[node])
        found[start : start + step] = node
    return found


def raw_scores(forest: Forest, x: FloatArray) -> FloatArray:
    """The sum of the leaves.

    Args:
        forest: the ensemble.
        x: (n, width) float64.

    Returns:
        (n, k) float64. Source: definition.
    """
    ends = leaves(forest, x)
    scores = np.empty((len(x), len(forest.base)))
    for column in range(len(forest.base)):
        scores[:, column] = forest.base[column] + forest.value[:, column][ends].sum(axis=1)
    return scores
