"""XGBoost models: JSON, universal binary JSON, and the binary format of before 3.1.

Loading builds trees; native code then follows their indices without looking, so each one is compared with the
number of nodes and features.
Source: XGBoost 3.0 `doc/model.schema`, `src/tree/io_utils.h`, `src/tree/tree_model.cc`, `src/learner.cc`
(`LearnerModelParamLegacy`); `include/xgboost/tree_model.h` for the binary layout (release 1.7).
"""

from __future__ import annotations

import struct
from array import array
from itertools import compress
from operator import eq
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from modelward.artifact.cursor import Cursor
from modelward.artifact.formats import ubjson
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

LARGEST: Final = 1 << 30
_ROOT: Final = 2147483647
_BOOSTERS: Final = frozenset(("gbtree", "dart", "gblinear"))
_OBJECTIVES: Final = frozenset(
    (
        "reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:logistic", "reg:pseudohubererror",
        "reg:gamma", "reg:tweedie", "reg:absoluteerror", "reg:quantileerror", "reg:expectileerror",
        "binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson", "survival:cox", "survival:aft",
        "multi:softmax", "multi:softprob", "rank:pairwise", "rank:ndcg", "rank:map", "gpu:reg:linear",
        "gpu:reg:logistic", "gpu:binary:logistic", "gpu:binary:logitraw",
    )
)  # fmt: skip

Ints: TypeAlias = "list[int] | array[int]"


def read(data: Buffer, into: Reading) -> None:
    """Read a model in any of the three formats."""
    if len(data) > LARGEST:
        raise Malformed(f"{len(data)} bytes; models of up to {LARGEST} are read")
    into.facts["framework"] = "xgboost"
    head = bytes(data[:2]).lstrip()
    if data[:4] == b"binf" or not head.startswith(b"{"):
        _binary(data, into)
        return
    if bytes(data[1:2]) in {b"L", b"l", b"i", b"I", b"U", b"$", b"#", b"}"}:
        tree = ubjson.decode(data, into)
    else:
        try:
            tree = msgspec.json.decode(memoryview(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"it is no JSON: {str(error)[:200]}") from error
    _model(tree, into)


def _model(tree: object, into: Reading) -> None:
    learner = _get(tree, "learner", dict)
    version = tree.get("version") if isinstance(tree, dict) else None
    if isinstance(version, list | array):
        into.facts["format_version"] = into.facts["producer"] = ".".join(map(str, version))[:40]
    booster = _get(learner, "gradient_booster", dict)
    name, objective = _name(booster), _name(_get(learner, "objective", dict))
    _known(name, objective, into)
    if isinstance(names := learner.get("feature_names"), list):
        into.facts["inputs"] = [str(item)[:200] for item in names[:200]]
    parameters = learner.get("learner_model_param")
    features = max(_number(parameters, "num_feature"), 0)
    groups = max(_number(parameters, "num_class"), _number(parameters, "num_target"), 1)
    if name == "gblinear":
        weights = len(_get(_get(booster, "model", dict), "weights", (list, array)))
        into.facts["parameters"] = weights
        if weights != (features + 1) * groups:
            into.unproven("xgboost.index", f"{weights} weights of {features} features and {groups} groups")
        into.proven = True
        return
    if name == "dart":
        booster = _get(booster, "gbtree", dict)
    model = _get(booster, "model", dict)
    trees = _get(model, "trees", list)
    nodes = sum(_tree(item, at, features, into) for at, item in enumerate(trees))
    _groups(model, len(trees), groups, into)
    into.facts["tensors"], into.facts["parameters"] = len(trees), nodes
    into.proven = True


def _known(booster: str, objective: str, into: Reading) -> None:
    into.facts["operators"] = [booster[:80], objective[:80]]
    if booster not in _BOOSTERS:
        into.unproven("xgboost.booster", f"the unknown booster {booster[:80]!r}")
    if objective not in _OBJECTIVES:
        into.unproven("xgboost.objective", f"the unknown objective {objective[:80]!r}, perhaps of a plug-in")


def _get(tree: object, key: str, kind: type | tuple[type, ...]) -> dict[str, object]:
    """A part of the model; the annotation is that of the most frequent kind."""
    found = tree.get(key) if isinstance(tree, dict) else None
    if not isinstance(found, kind):
        raise Malformed(f"the model has no {key}, or of another type")
    return found  # type: ignore[return-value]  # its kind was checked


def _name(tree: dict[str, object]) -> str:
    found = tree.get("name")
    return found if isinstance(found, str) else ""


def _number(tree: object, key: str) -> int:
    found = tree.get(key) if isinstance(tree, dict) else None
    try:
        return int(found) if isinstance(found, str | int) else 0
    except ValueError as error:
        raise Malformed(f"{key} is no number") from error


def _ints(tree: object, key: str) -> Ints:
    found = tree.get(key) if isinstance(tree, dict) else None
    if isinstance(found, array) and found.typecode in "bBhHiIlLqQ":
        return found
    if isinstance(found, list) and set(map(type, found)) <= {int, bool}:
        return found
    raise Malformed(f"a tree has no {key}, or of another type")


def _tree(tree: object, at: int, features: int, into: Reading) -> int:
    """Compare the indices of one tree with its size; how many nodes it has."""
    left, right, parents, splits = (
        _ints(tree, key) for key in ("left_children", "right_children", "parents", "split_indices")
    )
    into.spend(1 + len(left) // 16)
    _links((left, right, parents, splits), at, features, into)
    categories, nodes = _ints_or_none(tree, "categories"), _ints_or_none(tree, "categories_nodes")
    segments, sizes = _ints_or_none(tree, "categories_segments"), _ints_or_none(tree, "categories_sizes")
    param = tree.get("tree_param") if isinstance(tree, dict) else None
    width = _number(param, "size_leaf_vector")
    if width > 1 and not _vectors(tree, width, len(left)):
        into.unproven("xgboost.index", f"tree {at} states {width} values per leaf, which it does not have")
    if not len(nodes) == len(segments) == len(sizes) or any(
        node < 0 or node >= len(left) or start < 0 or size < 0 or start + size > len(categories)
        for node, start, size in zip(nodes, segments, sizes, strict=False)
    ):
        into.unproven("xgboost.index", f"tree {at} has categories that lead out of it")
    return len(left)


def _vectors(tree: object, width: int, nodes: int) -> bool:
    """Whether the leaves of a tree of several targets have their values."""
    for key in ("base_weights", "leaf_weights"):
        values = tree.get(key) if isinstance(tree, dict) else None
        if isinstance(values, list | array) and len(values) and len(values) % width == 0:
            return len(values) // width <= nodes
    return False


def _ints_or_none(tree: object, key: str) -> Ints:
    return _ints(tree, key) if isinstance(tree, dict) and tree.get(key) else []


def _links(links: tuple[Ints, Ints, Ints, Ints], at: int, features: int, into: Reading) -> None:
    left, right, parents, splits = links
    size = len(left)
    if not size == len(right) == len(parents) == len(splits) or size == 0:
        into.unproven("xgboost.index", f"tree {at} has lists of different lengths")
        return
    if min(*left, *right) < -1 or max(*left, *right) >= size:
        into.unproven("xgboost.index", f"tree {at} of {size} nodes has children outside it")
        return
    inner = [child >= 0 for child in left]
    own = list(compress(range(size), inner))
    for side in (left, right):
        # A node has one parent, so that following children from the root ends.
        children = list(compress(side, inner))
        if children and (min(children) < 1 or not all(map(eq, map(parents.__getitem__, children), own))):
            into.unproven("xgboost.index", f"tree {at} has children that are not of their parents")
            return
    used = list(compress(splits, inner))
    if used and (min(used) < 0 or (features and max(used) >= features)):
        into.unproven("xgboost.index", f"tree {at} splits by a feature outside the {features} of the model")


def _groups(model: dict[str, object], trees: int, groups: int, into: Reading) -> None:
    info = _ints_or_none(model, "tree_info")
    starts = _ints_or_none(model, "iteration_indptr")
    if len(info) != trees or (trees and (min(info) < 0 or max(info) >= groups)):
        into.unproven("xgboost.index", f"{trees} trees belong to groups outside the {groups} of the model")
    if len(starts) and (min(starts) < 0 or max(starts) > trees or sorted(starts) != list(starts)):
        into.unproven("xgboost.index", f"iterations start outside the {trees} trees")


# --- the binary format --------------------------------------------------------------------------------------

_NODE: Final = struct.Struct("<iiiIf")


def _binary(data: Buffer, into: Reading) -> None:
    cursor = Cursor(data, 4 if data[:4] == b"binf" else 0)
    cursor.need(4)
    features, classes = cursor.number("I"), cursor.number("i")
    cursor.need(124)
    objective = cursor.text(_short(cursor.number("Q")))
    booster = cursor.text(_short(cursor.number("Q")))
    into.facts["format_version"] = "binary"
    _known(booster, objective, into)
    if booster == "gblinear":
        cursor.need(136)
        cursor.need(cursor.number("Q") * 4)
        into.proven = True
        return
    trees = cursor.number("i")
    cursor.need(156)
    if not 0 <= trees <= cursor.left // 148:
        raise Malformed(f"{trees} trees in {cursor.left} bytes")
    nodes = sum(_binary_tree(cursor, at, features, into) for at in range(trees))
    info = array("i", cursor.take(4 * trees))
    if trees and (min(info) < 0 or max(info) >= max(classes, 1)):
        into.unproven(
            "xgboost.index", f"{trees} trees belong to groups outside the {max(classes, 1)} of the model"
        )
    into.facts["tensors"], into.facts["parameters"] = trees, nodes
    into.proven = True


def _short(size: int) -> int:
    if size > 256:
        raise Malformed(f"a name of {size} characters")
    return size


def _binary_tree(cursor: Cursor, at: int, features: int, into: Reading) -> int:
    cursor.need(4)
    size = cursor.number("i")
    cursor.need(140)
    if not 0 < size <= cursor.left // (_NODE.size + 16):
        raise Malformed(f"tree {at} of {size} nodes in {cursor.left} bytes")
    into.spend(size // 16 + 1)
    rows: list[Sequence[int]] = list(zip(*_NODE.iter_unpack(cursor.take(size * _NODE.size)), strict=True))
    cursor.need(size * 16)
    parents = [value if value == -1 else value & _ROOT for value in rows[0]]
    splits = [value & _ROOT for value in rows[3]]
    _links((list(rows[1]), list(rows[2]), parents, splits), at, features, into)
    return size
