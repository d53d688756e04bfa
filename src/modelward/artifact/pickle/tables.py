"""Checks of the state that objects of tables, texts and search trees are given; the others: `checks.py`.

Source: scipy/spatial/_ckdtree.pyx and ckdtree/src/ckdtree_decl.h, 1.17 (`__setstate__`,
`_post_init_traverse`); implicit/nearest_neighbours.py 0.7; statsmodels/tools/tools.py 0.15 (Bunch);
ngboost/ngboost.py and api.py 0.5; pydantic/main.py 2.14.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from modelward.artifact.pickle.state import layout, shape_of
from modelward.artifact.pickle.values import Global, Map, Obj, Seq

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.pickle.schema import Matcher
    from modelward.artifact.pickle.values import Value

_NODE: Final = struct.Struct("<qqdqqqqqq")
"""`ckdtreenode`: split_dim, children, split, start_idx, end_idx, two pointers, places of the two children."""
_DEEPEST: Final = 4096
"""Deepest tree: loading walks it by recursion in native code."""
_ARRAY: Final = "#numpy.ndarray"
_SPARSE: Final = tuple(f"scipy.sparse.{prefix}" for prefix in ("_", "csr", "csc", "coo", "bsr", "dia"))


def check_kdtree(match: Matcher, target: Obj, state: Value) -> str | None:
    """`scipy.spatial.cKDTree.__setstate__` copies its nodes and follows their places, without looking.

    `(nodes, data, n, m, leaf size, maxima, minima, indices, box, box data)`: the nodes are bytes in which
    each node stands before its children and has one parent; what the pointers hold is overwritten.
    """
    del target
    items = state.items if isinstance(state, Seq) and state.whole else []
    if len(items) != 10 or not match.matches(
        ((_ARRAY, _ARRAY, "int", "int", "int", _ARRAY, _ARRAY, _ARRAY, f"none|{_ARRAY}", f"none|{_ARRAY}"),),
        items,
    ):
        return "the state of a search tree is not ten arrays and numbers"
    raw = _bytes(match, items[0])
    if raw is None:
        return "the nodes of a search tree are not given as bytes that can be read here"
    return None if _is_tree(raw) else "the nodes of a search tree lead out of it, where loading writes"


def _bytes(match: Matcher, value: Value) -> bytes | None:
    """What an array of single bytes (`S1`) in one dimension holds, as protocols up to 4 and 5 write it."""
    if not isinstance(value, Obj) or value.args is None or not isinstance(value.callee, Global):
        return None
    if value.callee.path.endswith("._frombuffer") and value.state is None and len(value.args) >= 3:
        content, dtype, shape = value.args[:3]
    elif isinstance(value.state, Seq) and len(value.state.items) == 5:
        _, shape, dtype, _, content = value.state.items
    else:
        return None
    kind, size, raw = layout(match, dtype), shape_of(match, shape), match.raw(content)
    head = dtype.args[0] if isinstance(dtype, Obj) and dtype.args else None
    if kind is None or head is None or match.text(head) != "S1" or kind.itemsize != 1 or raw is None:
        return None
    return raw if size == (len(raw),) else None


def _is_tree(raw: bytes) -> bool:
    """Whether nodes form one tree from the first on, in which each comes before its children."""
    count, rest = divmod(len(raw), _NODE.size)
    if rest or not count:
        return False
    depth = [0] * count
    depth[0] = 1
    for place, node in enumerate(_NODE.iter_unpack(raw)):
        if not depth[place] or node[0] == -1:
            continue  # nothing leads here, or a leaf
        for child in node[7:]:
            if not place < child < count or depth[child] or depth[place] >= _DEEPEST:
                return False
            depth[child] = depth[place] + 1
    return True


def check_itself(match: Matcher, target: Obj, state: Value) -> str | None:
    """A dictionary that is its own `__dict__`: its state is itself, whose keys were looked at one by one."""
    del match
    return None if state is target else "the state is not the object itself"


def check_similarity(match: Matcher, target: Obj, state: Value) -> str | None:
    """`ItemItemRecommender.__setstate__` of implicit gives the attribute `similarity` to a native scorer."""
    del target

    def wrong(name: str, value: Value) -> str | None:
        fits = match.matches_one("data", value) or (name == "similarity" and sparse(match, value))
        return None if fits else f"{name} in the state is not data"

    return _first_wrong(match, state, wrong)


def _first_wrong(match: Matcher, state: Value, wrong: Callable[[str, Value], str | None]) -> str | None:
    """What is wrong with the first attribute that has no ordinary name, or that is not what it should be."""
    if not isinstance(state, Map) or not state.whole:
        return "the state is not a dictionary"
    for key, value in zip(state.keys, state.values, strict=True):
        name = match.text(key)
        if name is None or name.startswith("__"):
            return "an attribute has no ordinary name"
        if problem := wrong(name, value):
            return problem
    return None


def sparse(match: Matcher, value: Value) -> bool:
    """Whether a value is a sparse matrix of scipy that holds nothing but data."""
    return (
        isinstance(value, Obj)
        and value.tag.startswith(_SPARSE)
        and not value.tainted
        and value.built is None
        and not value.held
        and value.state is not None
        and match.matches_one("@dict", value.state)
    )


def check_pydantic(match: Matcher, target: Obj, state: Value) -> str | None:
    """`pydantic.BaseModel.__setstate__` sets four names: three dictionaries, and a set of names.

    Source: pydantic/main.py 2.14 and, with two names of its own, 1.10.
    """
    del target
    if not isinstance(state, Map) or not state.whole:
        return "the state is not a dictionary"
    for key, value in zip(state.keys, state.values, strict=True):
        name = match.text(key)
        if name in {"__pydantic_fields_set__", "__fields_set__"}:
            problem = None if match.plain(value) else "the names that were set are not text"
        elif name == "__private_attribute_values__":
            problem = None if isinstance(value, Map) and not value.keys else "private attributes are set"
        else:
            problem = _attributes(match, name, value)
        if problem:
            return problem
    return None


def _attributes(match: Matcher, name: str | None, value: Value) -> str | None:
    if name not in {"__dict__", "__pydantic_extra__", "__pydantic_private__"}:
        return f"{name or 'a name that is no text'} is nothing that a model of pydantic is given"
    if match.scalar(value) is None and name != "__dict__":
        return None
    if not isinstance(value, Map) or not value.whole:
        return f"{name} is not a dictionary"
    names = [match.text(key) for key in value.keys]
    if all(inner is not None and not inner.startswith("__") for inner in names):
        return None
    return f"{name} holds an attribute that has no ordinary name"


def check_boosted(match: Matcher, target: Obj, state: Value) -> str | None:
    """`NGBoost.__setstate__` derives a class from the attributes `Score` and `Dist`: classes of ngboost."""
    del target

    def wrong(name: str, value: Value) -> str | None:
        own = (
            isinstance(value, Global)
            and value.module.startswith("ngboost.")
            and match.matches_one("class|value", value)
        )
        if (name in {"Score", "Dist"} and not own) or (
            name == "K" and not match.matches_one("int|float", value)
        ):
            return f"{name} is not what ngboost writes"
        if name == "Dist_name" and not match.matches_one("str", value):
            return "the name of a distribution is not text"
        return None

    return _first_wrong(match, state, wrong)


CHECKS: Final = {
    "kdtree": check_kdtree,
    "itself": check_itself,
    "similarity": check_similarity,
    "pydantic": check_pydantic,
    "boosted": check_boosted,
}
