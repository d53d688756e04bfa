"""LightGBM models as text: a header, then one block per tree.

Loading builds trees; native code then follows their indices without looking, so each one is compared with
the number of leaves and features.
Source: LightGBM 4.6 `src/boosting/gbdt_model_text.cpp`, `src/io/tree.cpp` (`Tree::Tree`).
"""

from __future__ import annotations

import re
from itertools import pairwise
from operator import gt
from typing import TYPE_CHECKING, Final

from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_OBJECTIVES: Final = frozenset(
    (
        "regression", "regression_l1", "l1", "l2", "huber", "fair", "poisson", "quantile", "mape", "gamma",
        "tweedie", "binary", "multiclass", "multiclassova", "cross_entropy", "cross_entropy_lambda",
        "xentropy", "xentlambda", "lambdarank", "rank_xendcg", "custom", "none", "mse", "mae", "softmax",
        "multiclass_ova",
    )
)  # fmt: skip
_LINE: Final = re.compile(rb"^([a-z_]+)=([^\r\n]*)", re.MULTILINE)
_ENDS: Final = re.compile(rb"^(?:end of trees|feature_importances:|parameters:)", re.MULTILINE)
_TREE: Final = re.compile(rb"^Tree=(\d+)\r?$", re.MULTILINE)
_HEADER: Final = 1 << 26
_ALONE: Final = re.compile(rb"\r(?!\n)")
_BLANK: Final = re.compile(rb"\n\r?\n")
_INTEGERS: Final = re.compile(rb"[-0-9 ]*+")
_LINES: Final = 22
"""Most lines of a tree that the library reads."""


def read(data: Buffer, into: Reading) -> None:
    """Read the header and compare the indices of every tree."""
    starts = [found.start() for found in _TREE.finditer(data)]
    end = _ENDS.search(data, starts[-1] if starts else 0)
    stop = end.start() if end else len(data)
    first = starts[0] if starts else stop
    if first > _HEADER:
        into.missed(f"the header has {first} bytes, of which {_HEADER} are read")
    if _ALONE.search(data, 0, stop):
        raise Malformed("a line ends with a carriage return alone")
    header = _lines(data, 0, min(first, _HEADER))
    features = _header(header, into)
    _layout(header, starts, stop, into)
    leaves = 0
    for at, (start, behind) in enumerate(zip(starts, [*starts[1:], stop], strict=False)):
        into.spend(1 + (behind - start) // 256)
        blank = _BLANK.search(data, start, behind)
        end_of_block = blank.end() if blank else behind
        if data[end_of_block:behind].strip() or data[start:end_of_block].count(b"=") > _LINES + 1:
            raise Malformed(f"tree {at} has more lines than the library reads")
        leaves += _tree(_lines(data, start, end_of_block), at, features, into)
    into.facts["tensors"], into.facts["parameters"] = len(starts), leaves
    into.proven = True


def _lines(data: Buffer, start: int, end: int) -> dict[bytes, bytes]:
    """Names and values of a block."""
    made: dict[bytes, bytes] = {}
    for found in _LINE.finditer(data, start, end):
        if found[1] in made:
            raise Malformed(f"{found[1][:80].decode()} stands twice in a block")
        made[found[1]] = found[2]
    return made


def _layout(header: dict[bytes, bytes], starts: list[int], stop: int, into: Reading) -> None:
    """Compare sizes and numbers of trees and classes: the library takes them as stated."""
    sizes = _integers(header, b"tree_sizes")
    if b"tree_sizes" in header and sizes[:-1] != [b - a for a, b in pairwise(starts)]:
        into.unproven("lightgbm.index", "the stated sizes of the trees are not those that they have")
    if sizes and starts and not 0 < sizes[-1] <= stop - starts[-1] + 1:
        into.unproven("lightgbm.index", "the stated size of the last tree is not the one that it has")
    classes = _integer(header, b"num_class") if b"num_class" in header else 1
    at_once = _integer(header, b"num_tree_per_iteration") if b"num_tree_per_iteration" in header else classes
    stated = re.search(rb"\bnum_class:(\S+)", header.get(b"objective", b""))
    if not classes == at_once == (int(stated[1]) if stated and stated[1].isdigit() else classes) > 0:
        into.unproven("lightgbm.index", f"{classes} classes, {at_once} trees per iteration, or others")


def _header(header: dict[bytes, bytes], into: Reading) -> int:
    """Check the header; the largest index of a feature."""
    into.facts["framework"] = "lightgbm"
    into.facts["format_version"] = header.get(b"version", b"").decode("utf-8", "backslashreplace")[:40]
    names = header.get(b"feature_names", b"").split()
    into.facts["inputs"] = [name.decode("utf-8", "backslashreplace")[:200] for name in names[:200]]
    words = header.get(b"objective", b"").split()
    if words:
        objective = words[0].decode("utf-8", "backslashreplace")
        into.facts["operators"] = [objective[:80]]
        if objective not in _OBJECTIVES:
            into.unproven("lightgbm.objective", f"the unknown objective {objective[:80]!r}")
    last = _integer(header, b"max_feature_idx")
    if names and len(names) != last + 1:
        into.unproven("lightgbm.index", f"{len(names)} names of features, and features up to number {last}")
    return last


def _integer(lines: dict[bytes, bytes], name: bytes) -> int:
    found = _integers(lines, name)
    if len(found) != 1:
        raise Malformed(f"{name.decode()} is missing or no number")
    return found[0]


def _integers(lines: dict[bytes, bytes], name: bytes) -> list[int]:
    text = lines.get(name, b"")
    try:
        if _INTEGERS.fullmatch(text):
            return list(map(int, text.split()))
    except ValueError:
        pass
    raise Malformed(f"{name.decode()} holds what is no number")


def _tree(lines: dict[bytes, bytes], at: int, last: int, into: Reading) -> int:
    """Compare the indices of one tree; how many leaves it has."""
    leaves = _integer(lines, b"num_leaves")
    inner = leaves - 1
    if leaves < 1:
        raise Malformed(f"tree {at} has {leaves} leaves")
    left, right, splits = (
        _integers(lines, name) for name in (b"left_child", b"right_child", b"split_feature")
    )
    decisions = _integers(lines, b"decision_type")
    problem = ""
    if inner and not len(left) == len(right) == len(splits) == len(decisions) == inner:
        problem = "has lists of different lengths"
    elif inner and (min(*left, *right) < -leaves or max(*left, *right) >= inner):
        problem = f"of {leaves} leaves has children outside it"
    elif inner and not all(
        child < 0 or child > node for side in (left, right) for node, child in enumerate(side)
    ):
        # A split comes after the one that it divides, so that following children ends.
        problem = "has children that stand before their parents"
    elif inner and (min(splits) < 0 or max(splits) > last):
        problem = f"splits by a feature outside the {last + 1} of the model"
    elif len(lines.get(b"leaf_value", b"").split()) != leaves:
        problem = f"of {leaves} leaves has another number of values"
    else:
        problem = _categories(lines, decisions, last)
    if problem:
        into.unproven("lightgbm.index", f"tree {at} {problem}")
    return leaves


def _categories(lines: dict[bytes, bytes], decisions: list[int], last: int) -> str:
    """What is wrong with the categories or the linear leaves of a tree; "" for nothing."""
    count = _integer(lines, b"num_cat")
    if count:
        bounds, words = _integers(lines, b"cat_boundaries"), _integers(lines, b"cat_threshold")
        rising = not any(map(gt, bounds, bounds[1:]))
        if len(bounds) != count + 1 or bounds[0] != 0 or not rising or bounds[-1] != len(words):
            return "has categories that lead out of it"
        try:
            thresholds = [float(text) for text in lines.get(b"threshold", b"").split()]
        except ValueError as error:
            raise Malformed("threshold holds what is no number") from error
        chosen = [value for value, kind in zip(thresholds, decisions, strict=False) if kind & 1]
        if any(not 0 <= value < count for value in chosen):
            return "has a split by categories that it lacks"
    elif any(kind & 1 for kind in decisions):
        return "has a split by categories that it lacks"
    used = _integers(lines, b"leaf_features")
    if used and (min(used) < 0 or max(used) > last):
        return f"has linear leaves of a feature outside the {last + 1} of the model"
    return ""
