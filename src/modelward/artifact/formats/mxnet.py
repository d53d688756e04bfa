"""Apache MXNet: symbols as JSON, and lists of arrays.

Sources: MXNet 2.0 (b84609d), 3rdparty/tvm/nnvm/src/pass/saveload_json.cc (symbols), src/ndarray/ndarray.cc
(NDArray::Save and the list of arrays), src/operator/custom/ (operators that call back),
src/c_api/c_api_function.cc (`_CustomFunction`); `mxnet_ops.json` is written by tools/mxnet_ops.py.
"""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.cursor import Cursor
from modelward.artifact.formats.paths import escapes
from modelward.artifact.formats.tally import MOST, Tally
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading
    from modelward.core.canonical import JSON

_LIST: Final = Path(__file__).with_name("mxnet_ops.json")
_LONGEST: Final = 1 << 26
_POINTERS: Final = frozenset(
    ("_Native", "_NDArray", "_CustomFunction", "_backward_CustomFunction", "_backward__Native")
)
"""Operators whose attributes are addresses in the memory of the process."""
_CUSTOM: Final = frozenset(("Custom", "_npi_Custom", "_backward_Custom"))
"""Operators that run a class of Python which the application registered by a name."""
_ENGINES: Final = frozenset(("TensorRT", "_TensorRT"))
_LIBRARY: Final = re.compile(r"\.(?:so(?:\.\d+)*|dll|dylib)$", re.IGNORECASE)
_TYPES: Final = {
    0: ("float32", 4), 1: ("float64", 8), 2: ("float16", 2), 3: ("uint8", 1), 4: ("int32", 4), 5: ("int8", 1),
    6: ("int64", 8), 7: ("bool", 1), 8: ("int16", 2), 9: ("uint16", 2), 10: ("uint32", 4), 11: ("uint64", 8),
    12: ("bfloat16", 2),
}  # fmt: skip
"""mshadow type flag -> name and bytes of one element."""
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_AUXILIARY: Final = {0: 0, 1: 1, 2: 2}
"""Storage type (dense, rows, CSR) -> arrays of indices that it has."""


@cache
def known() -> frozenset[str]:
    """Names of the operators that MXNet registers itself."""
    document: dict[str, list[str]] = msgspec.json.decode(_LIST.read_bytes())
    return frozenset(document["operators"])


def read(data: Buffer, into: Reading) -> None:
    """A symbol, or a list of arrays."""
    if data[0] == 0x12:
        _arrays(data, into)
    else:
        _symbol(data, into)
    into.proven = True


# --- symbols ------------------------------------------------------------------------------------------------


def _symbol(data: Buffer, into: Reading) -> None:
    if len(data) > _LONGEST:
        into.missed(f"a symbol of {len(data)} bytes of JSON is not read")
        return
    try:
        document: JSON = msgspec.json.decode(bytes(data).removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the symbol is no JSON: {str(error)[:MOST]}") from error
    tally = Tally()
    waiting: list[JSON] = [document]
    while waiting:
        graph = waiting.pop()
        nodes = graph.get("nodes") if isinstance(graph, dict) else None
        if not isinstance(nodes, list):
            raise Malformed("the symbol has no list of nodes")
        for node in nodes:
            into.spend()
            if not isinstance(node, dict):
                raise Malformed("a node is no object")
            waiting += _node(node, tally, into)
    top = document if isinstance(document, dict) else {}
    tally.report(into, "mxnet", format_version=_version(top), inputs=_inputs(top))


def _node(node: dict[str, JSON], tally: Tally, into: Reading) -> list[JSON]:
    """Judge a node; returns its subgraphs."""
    name = str(node.get("op"))
    attributes: dict[str, JSON] = {}
    for key in ("param", "attr", "attrs"):
        found = node.get(key)
        attributes |= found if isinstance(found, dict) else {}
    if name != "null":
        tally.operator(name)
        _operator(name, attributes, into)
    for key, value in attributes.items():
        if isinstance(value, str) and _LIBRARY.search(value):
            into.dangerous(
                "mxnet.library", f"the attribute {key[:MOST]!r} names the library {value[:MOST]!r}"
            )
    graphs = node.get("subgraphs")
    return graphs if isinstance(graphs, list) else []


def _operator(name: str, attributes: dict[str, JSON], into: Reading) -> None:
    if name in _POINTERS:
        into.dangerous("mxnet.pointer", f"the operator {name} calls an address in the memory of the process")
    elif name in _ENGINES:
        into.unproven("mxnet.engine", "a part of the graph is compiled for TensorRT and cannot be read")
    elif name in _CUSTOM:
        kind = str(attributes.get("op_type"))[:MOST]
        into.unproven("mxnet.custom", f"the operator {name} runs the Python class registered as {kind!r}")
    elif name.endswith("_cvimread"):
        reason = escapes(str(attributes.get("filename", "")))
        if reason is not None:
            into.unproven("mxnet.path", f"the operator {name} reads a picture from a path that {reason}")
    elif name not in known():
        into.unproven(
            "mxnet.custom-operator",
            f"the operator {name[:MOST]} is not MXNet's: it needs a native library of somebody",
        )


def _version(symbol: dict[str, JSON]) -> str:
    """`{"attrs": {"mxnet_version": ["int", 10400]}}`."""
    attributes = symbol.get("attrs")
    found = attributes.get("mxnet_version") if isinstance(attributes, dict) else None
    return str(found[1]) if isinstance(found, list) and len(found) > 1 else ""


def _inputs(symbol: dict[str, JSON]) -> list[str]:
    """Arguments that do not have the name of a parameter."""
    nodes, places = symbol.get("nodes"), symbol.get("arg_nodes")
    if not isinstance(nodes, list) or not isinstance(places, list):
        return []
    chosen = [nodes[at] for at in places if isinstance(at, int) and 0 <= at < len(nodes)]
    names = [str(node.get("name")) for node in chosen if isinstance(node, dict)]
    return [name for name in names if not re.search(r"(?:weight|bias|gamma|beta|mean|var|label)\d*$", name)]


# --- arrays -------------------------------------------------------------------------------------------------


def _arrays(data: Buffer, into: Reading) -> None:
    cursor, tally = Cursor(data), Tally()
    cursor.need(16)
    for _ in range(cursor.number("Q")):
        into.spend()
        _array(cursor, tally, into)
    for _ in range(cursor.number("Q")):
        into.spend()
        cursor.need(cursor.number("Q"))
    if cursor.left:
        into.note("mxnet.trailing", f"{cursor.left} bytes follow the arrays", pos=cursor.pos)
    tally.report(into, "mxnet")


def _array(cursor: Cursor, tally: Tally, into: Reading) -> None:
    mark = cursor.number("I")
    storage = cursor.number("i") if mark in {_V2, _V3} else 0
    if storage not in _AUXILIARY:
        raise Malformed(f"an array of the unknown storage type {storage}")
    count = _AUXILIARY[storage]
    stored = _shape(cursor, mark, into) if count else None
    shape = _shape(cursor, mark, into)
    if not shape and mark != _V3:
        return
    cursor.need(8)
    name, width = _type(cursor)
    indices = [(_type(cursor)[1], _shape(cursor, mark, into)) for _ in range(count)]
    cursor.need(math.prod(shape if stored is None else stored) * width)
    for size, dims in indices:
        cursor.need(math.prod(dims) * size)
    tally.tensor(name, shape)


def _type(cursor: Cursor) -> tuple[str, int]:
    flag = cursor.number("i")
    if flag not in _TYPES:
        raise Malformed(f"an array of the unknown type {flag}")
    return _TYPES[flag]


def _shape(cursor: Cursor, mark: int, into: Reading) -> list[int]:
    """Dimensions: of 32 bits before the first mark, where the mark itself is their number."""
    old = mark not in {_V1, _V2, _V3}
    rank = mark if old else cursor.number("i")
    if not -1 <= rank <= 64:
        raise Malformed(f"an array of {rank} dimensions")
    into.spend(max(rank, 0))
    dims = [cursor.number("I" if old else "q") for _ in range(rank)]
    if any(dim < 0 for dim in dims):
        raise Malformed(f"an array of shape {dims}")
    return dims
