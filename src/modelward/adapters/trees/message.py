"""Trees across the border of the sandbox: plain arrays out, and nothing taken on trust on the way in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, get_args

import numpy as np

from modelward.core.trees import Forest, Link
from modelward.errors import OperatorUnsupported
from modelward.sandbox import RawArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelward.sandbox import Message

_ARRAYS: Final = {
    "roots": "<i8",
    "feature": "<i8",
    "threshold": "<f8",
    "left": "<i8",
    "right": "<i8",
    "missing_left": "|b1",
    "subset": "<i8",
    "codes": "|b1",
    "other_left": "|b1",
    "value": "<f8",
    "base": "<f8",
}
_MOST_FEATURES: Final = 1 << 24
_DEEPEST: Final = 10_000
"""Inner nodes on one path: every row walks them one by one."""


def packed(forest: Forest) -> Message:
    """Trees as a message."""
    arrays: dict[str, Message] = {}
    for name, kind in _ARRAYS.items():
        plain: NDArray[np.generic] = np.ascontiguousarray(getattr(forest, name)).astype(kind)
        arrays[name] = RawArray(kind, plain.shape, plain.tobytes())
    return {**arrays, "width": forest.width, "link": forest.link, "slack": forest.slack}


def unpacked(message: Message) -> Forest:
    """Trees of a message whose sender may lie about everything.

    Raises:
        OperatorUnsupported: it does not describe trees.
    """
    if not isinstance(message, Mapping):
        raise _refused("are no map")
    found = {name: _array(message.get(name), kind) for name, kind in _ARRAYS.items()}
    width, link, slack = message.get("width"), message.get("link"), message.get("slack")
    if isinstance(width, bool) or not isinstance(width, int) or not 0 < width < _MOST_FEATURES:
        raise _refused("have no width")
    if isinstance(slack, bool) or not isinstance(slack, int | float) or not 0 <= slack < np.inf:
        raise _refused("do not say what rounding can change")
    if link not in get_args(Link):
        raise _refused("do not say what they add up to")
    forest = Forest(width=width, link=link, slack=float(slack), **found)  # type: ignore[arg-type]  # checked above
    require_sound(forest)
    return forest


def require_sound(forest: Forest) -> None:
    """What `Forest` promises.

    Raises:
        OperatorUnsupported: shapes do not fit, numbers are out of range, or nodes run in a circle.
    """
    if any(getattr(forest, name).ndim == 0 for name in _ARRAYS):
        raise _refused("have a single number where a list belongs")
    m, k, s = len(forest.feature), len(forest.base), len(forest.other_left)
    shapes = {
        "threshold": (m,),
        "left": (m,),
        "right": (m,),
        "missing_left": (m,),
        "subset": (m,),
        "value": (m, k),
        "base": (k,),
        "feature": (m,),
        "other_left": (s,),
        "roots": (len(forest.roots),),
    }
    if any(getattr(forest, name).shape != shape for name, shape in shapes.items()):
        raise _refused("have lists of different lengths")
    if forest.codes.ndim != 2 or len(forest.codes) != s or k < 2 or len(forest.roots) == 0 or m == 0:
        raise _refused("have no classes or no nodes")
    numbers, inner = np.arange(m), forest.feature >= 0
    behind = (forest.left > numbers) & (forest.right > numbers)
    own = (forest.left == numbers) & (forest.right == numbers)
    inside = (forest.left < m) & (forest.right < m) & (forest.feature < forest.width) & (forest.feature >= -1)
    inside &= (forest.subset >= -1) & (forest.subset < s)
    roots = (forest.roots >= 0) & (forest.roots < m)
    children = np.concatenate([forest.left[inner], forest.right[inner], forest.roots])
    once = len(np.unique(children)) == len(children)
    if not (np.where(inner, behind, own) & inside).all() or not roots.all() or not once:
        raise _refused("have nodes that form no trees")
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.abs(forest.value).sum(axis=0) + np.abs(forest.base)
    if np.isnan(forest.threshold).any() or not np.isfinite(total).all():
        raise _refused("hold NaN, or scores that are too large to be added up")
    if _deeper(forest, _DEEPEST):
        raise _refused(f"are deeper than {_DEEPEST:,} nodes")


def _deeper(forest: Forest, most: int) -> bool:
    """Whether some path has more inner nodes; asked of trees alone, since a circle has no end."""
    level = forest.roots
    for _ in range(most):
        level = level[forest.feature[level] >= 0]
        if not len(level):
            return False
        level = np.concatenate([forest.left[level], forest.right[level]])
    return bool((forest.feature[level] >= 0).any())


def _array(value: Message, kind: str) -> NDArray[np.generic]:
    if not isinstance(value, RawArray) or value.dtype != kind:
        raise _refused("lack an array")
    return np.frombuffer(value.data, dtype=np.dtype(kind)).reshape(value.shape)


def _refused(why: str) -> OperatorUnsupported:
    return OperatorUnsupported(f"the trees that the sandboxed process sent {why}")
