"""Tree ensembles in ONNX files.

Source: ONNX `ai.onnx.ml` TreeEnsembleClassifier, operator set 1 to 4; onnxruntime `tree_ensemble_common.h`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from modelward.adapters.trees.build import Sum, Tree, assemble
from modelward.adapters.trees.inputs import as_float32, plain
from modelward.errors import ExtraMissing, FileDamaged, OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from modelward.core.trees import Forest, Link
    from modelward.numeric.types import IntArray

_OPERATOR: Final = "TreeEnsembleClassifier"
_BEFORE: Final = {"Identity", "Cast"}
_LINKS: Final[dict[str, Link]] = {"NONE": "identity", "SOFTMAX": "softmax", "LOGISTIC": "softmax"}
_FLOAT: Final = 1


def read_file(path: Path) -> Forest:
    """The trees of an ONNX file whose input they look at directly.

    Raises:
        ExtraMissing: onnx is not installed.
        FileDamaged: the attributes do not form trees.
        OperatorUnsupported: the graph holds no tree ensemble, or does more than it.
    """
    try:
        import onnx
        from google.protobuf.message import (  # type: ignore[import-untyped]  # protobuf ships no types
            DecodeError,
        )
    except ImportError as error:
        raise ExtraMissing("onnx", "torch") from error
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except DecodeError as error:
        raise FileDamaged(f"{path}: is no ONNX file ({error})") from error
    ensembles = [node for node in graph.node if node.op_type == _OPERATOR]
    if len(ensembles) != 1:
        raise OperatorUnsupported(f"the graph holds {len(ensembles)} tree ensembles")
    node, given = ensembles[0], graph.input[0]
    name = node.input[0]
    made = {output: n for n in graph.node for output in n.output}
    while name in made:
        if made[name].op_type not in _BEFORE:
            raise OperatorUnsupported(f"the operator {made[name].op_type} before the trees is not read")
        name = made[name].input[0]
    kind = given.type.tensor_type
    if name != given.name or kind.elem_type != _FLOAT or len(kind.shape.dim) != 2:
        raise OperatorUnsupported("trees of an ONNX file are read where its input is a matrix of float32")
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return _read(attributes, int(kind.shape.dim[1].dim_value))


def _read(given: Mapping[str, object], width: int) -> Forest:
    try:
        return _assembled(given, width)
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        raise FileDamaged(f"a tree ensemble's attributes do not fit ({str(error)[:200]})") from error


def _assembled(given: Mapping[str, object], width: int) -> Forest:
    post = given.get("post_transform", b"NONE")
    link = _LINKS.get(post.decode() if isinstance(post, bytes) else str(post))
    if link is None:
        raise OperatorUnsupported(f"the transformation {post!r} of scores is not read")
    labels = given.get("classlabels_int64s") or given.get("classlabels_strings")
    k = len(labels) if isinstance(labels, (list, tuple)) else 0
    tree, number = _ints(given, "nodes_treeids"), _ints(given, "nodes_nodeids")
    if k < 2 or len(tree) == 0 or len(tree) != len(number):
        raise FileDamaged("a tree ensemble names no classes or no nodes")
    place = {key: i for i, key in enumerate(zip(tree.tolist(), number.tolist(), strict=True))}
    value, base = _values(given, place, k)
    trees = []
    for one in np.unique(tree):
        rows = np.flatnonzero(tree == one)
        trees.append(_tree(given, rows, value))
    width = width or 1 + int(_ints(given, "nodes_featureids").max())
    return assemble(trees, plain(width, as_float32), Sum(base=base, link=link, unit=2.0**-24), width)


def _ints(given: Mapping[str, object], name: str) -> IntArray:
    return np.array(given.get(name, []), np.int64)


def _values(
    given: Mapping[str, object], place: dict[tuple[int, int], int], k: int
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    value, base = np.zeros((len(place), k)), np.zeros(k)
    ids = _ints(given, "class_ids")
    keys = zip(_ints(given, "class_treeids").tolist(), _ints(given, "class_nodeids").tolist(), strict=False)
    one = k == 2 and len(np.unique(ids)) == 1  # two classes with one column of weights: it is the second's
    weights = as_float32(np.array(given.get("class_weights", []), np.float64))
    for key, column, weight in zip(keys, ids.tolist(), weights, strict=True):
        if key not in place or not 0 <= column < k:
            raise FileDamaged("a tree ensemble's weights are out of range")
        value[place[key], 1 if one else column] += weight
    if one and len(weights) and weights.min() >= 0 and given.get("post_transform", b"NONE") == b"NONE":
        # onnxruntime takes a single column without negative weights for the second class's probability.
        value[:, 0], base[0] = -value[:, 1], 1.0
    start = np.array(given.get("base_values", []), np.float64)
    if len(start) == k:
        base = start
    elif len(start) == 1:
        base[1] = start[0]
    elif len(start):
        raise FileDamaged(f"{len(start)} base values do not fit {k} classes")
    return value, base


def _tree(
    given: Mapping[str, object], rows: IntArray, value: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> Tree:
    modes = [m.decode() if isinstance(m, bytes) else str(m) for m in given.get("nodes_modes", [])]  # type: ignore[attr-defined]  # a list in every ONNX file
    mode = np.array(modes)[rows]
    unknown = set(mode) - {"LEAF", "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE"}
    if unknown:
        raise OperatorUnsupported(f"nodes of kind {', '.join(sorted(unknown))} are not read")
    numbers = _ints(given, "nodes_nodeids")[rows]
    local = {int(n): i for i, n in enumerate(numbers)}
    if 0 not in local or local[0] != 0:
        raise FileDamaged("a tree does not begin with its root")
    leaf = mode == "LEAF"
    yes = np.array([local.get(int(n), -1) for n in _ints(given, "nodes_truenodeids")[rows]], np.int64)
    no = np.array([local.get(int(n), -1) for n in _ints(given, "nodes_falsenodeids")[rows]], np.int64)
    threshold = np.array(given.get("nodes_values", []), np.float32)[rows]
    feature = _ints(given, "nodes_featureids")[rows]
    if (feature[~leaf] < 0).any():
        raise FileDamaged("a tree ensemble splits a feature below 0")
    strict = (mode == "BRANCH_LT") | (mode == "BRANCH_GTE")
    upward = (mode == "BRANCH_GT") | (mode == "BRANCH_GTE")  # the true branch holds the larger values
    tracked = _ints(given, "nodes_missing_value_tracks_true")
    true_missing = (tracked[rows] > 0) if len(tracked) else np.zeros(len(rows), np.bool_)
    below = np.where(strict, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    return Tree(
        column=np.where(leaf, -1, feature),
        threshold=below.astype(np.float64),
        left=np.where(upward, no, yes),
        right=np.where(upward, yes, no),
        missing_left=np.where(upward, ~true_missing, true_missing),
        value=value[rows],
    )
