"""Grown trees as XGBoost's JSON, which XGBoost and every server of its models loads.

Source: XGBoost 3.2 `doc/model.schema`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.canonical import JSON
    from modelward.numeric.types import FloatArray
    from modelward.threats.evasion.harden.trees.forest import Grown

_NO_PARENT: Final = 2147483647
_FORBIDDEN: Final = frozenset("[]<")
"""What XGBoost refuses in names of features."""


def document(trees: Sequence[Grown], names: Sequence[str], width: int) -> bytes:
    """A classifier whose raw scores are the mean shares of the leaves.

    The mean share p of the second of two classes becomes the margin 4 (p - 1/2), whose logistic function is p
    to first order near 1/2; the shares p of k classes become scores k p, whose softmax is p to first order
    near equal shares. The largest share wins in both.

    Args:
        trees: at least one.
        names: of the features in order; empty when there are none, and left out where XGBoost refuses one.
        width: number of features.
    """
    k = trees[0].shares.shape[1]
    nodes: list[JSON] = []
    for tree in trees:
        columns = [4 * (tree.shares[:, 1] - 0.5)] if k == 2 else [k * tree.shares[:, c] for c in range(k)]
        nodes += [_tree(tree, value / len(trees), len(nodes) + at, width) for at, value in enumerate(columns)]
    per = len(nodes) // len(trees)
    fine = len(set(names)) == len(names) == width and not any(_FORBIDDEN & set(name) for name in names)
    objective: JSON = (
        {"name": "binary:logistic", "reg_loss_param": {"scale_pos_weight": "1"}}
        if per == 1
        else {"name": "multi:softprob", "softmax_multiclass_param": {"num_class": str(k)}}
    )
    model: JSON = {
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(nodes))},
        "iteration_indptr": list(range(0, len(nodes) + 1, per)),
        "tree_info": [at % per for at in range(len(nodes))],
        "trees": nodes,
    }
    learner: JSON = {
        "attributes": {},
        "feature_names": list(names) if fine else [],
        "feature_types": ["float"] * width if fine else [],
        "gradient_booster": {"model": model, "name": "gbtree"},
        "learner_model_param": {
            "base_score": "5E-1",
            "boost_from_average": "0",
            "num_class": "0" if per == 1 else str(k),
            "num_feature": str(width),
            "num_target": "1",
        },
        "objective": objective,
    }
    return msgspec.json.encode({"learner": learner, "version": [2, 1, 0]})


def _tree(tree: Grown, value: FloatArray, number: int, width: int) -> JSON:
    m, leaf = len(tree.feature), tree.feature < 0
    parents = np.full(m, _NO_PARENT, np.int64)
    inner = np.flatnonzero(~leaf)
    parents[tree.left[inner]], parents[tree.right[inner]] = inner, inner
    conditions = np.where(leaf, value.astype(np.float32), tree.threshold).astype(np.float64)
    zeros: list[JSON] = [0.0] * m
    found: dict[str, JSON] = {
        "base_weights": zeros,
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": tree.missing_left.astype(int).tolist(),
        "id": number,
        "left_children": tree.left.tolist(),
        "loss_changes": zeros,
        "parents": [int(v) for v in parents],
        "right_children": tree.right.tolist(),
        "split_conditions": conditions.tolist(),
        "split_indices": np.where(leaf, 0, tree.feature).tolist(),
        "split_type": [0] * m,
        "sum_hessian": zeros,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(width),
            "num_nodes": str(m),
            "size_leaf_vector": "1",
        },
    }
    return found
