"""Tree ensembles as plain arrays: what every reader makes and every search works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Link: TypeAlias = Literal["identity", "softmax", "sigmoid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """A sum of decision trees over float64 inputs, in the order of the model's score columns.

    Readers fold everything that a library does to its input (rounding to float32, ``<`` in place of ``<=``,
    scaling steps of a pipeline) into the thresholds, so one rule is left: at a node without codes a value
    goes left when ``value <= threshold``, a missing one when ``missing_left``. At a node with codes a whole
    number c goes left when ``codes[row, c]``; any other value goes where ``other_left`` says, a missing one
    where ``missing_left`` does. Children stand behind their parents, and every leaf is its own child.

    Attributes:
        width: number of input features.
        roots: (t,) int64 first node of each tree.
        feature: (m,) int64 feature that a node looks at; -1 at leaves.
        threshold: (m,) float64.
        left: (m,) int64.
        right: (m,) int64.
        missing_left: (m,) bool.
        subset: (m,) int64 row of `codes`, or -1.
        codes: (s, c) bool.
        other_left: (s,) bool.
        value: (m, k) float64 what a leaf adds to the k >= 2 raw scores.
        base: (k,) float64 raw scores without any tree.
        link: how raw scores become the model's: none, one softmax, or one logistic function per column.
        slack: raw margins beyond this, in either direction, are decided the same way by the model's runtime,
            whatever it rounded; 0 means that sums are exact and ties go to the first column.
    """

    width: int
    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    subset: NDArray[np.int64]
    codes: NDArray[np.bool_]
    other_left: NDArray[np.bool_]
    value: NDArray[np.float64]
    base: NDArray[np.float64]
    link: Link
    slack: float
