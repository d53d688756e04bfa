"""PaddlePaddle: programs in protobuf and in JSON, and streams of parameters.

Sources: Paddle 3.3, paddle/phi/core/framework/framework.proto; paddle/fluid/pir/serialize_deserialize (JSON,
and the numbers of its dialects); paddle/fluid/framework/lod_tensor.cc, SerializeToStream (parameters).
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.cursor import Cursor
from modelward.artifact.formats.paths import escapes
from modelward.artifact.formats.protobuf import Message
from modelward.artifact.formats.tally import MOST, Tally
from modelward.artifact.formats.tensorrt import host_code
from modelward.artifact.reading import Malformed
from modelward.artifact.signs.graphs import BLOCK, PROGRAM

if TYPE_CHECKING:
    from modelward.artifact.formats.protobuf import Span
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading
    from modelward.core.canonical import JSON

_LIST: Final = Path(__file__).with_name("paddle_ops.json")
_LONGEST: Final = 1 << 26
_DANGEROUS: Final = {
    "py_func": "calls a Python function of the process",
    "py_layer": "calls a Python function of the process",
    "read_file": "reads any file",
    "listen_and_serv": "opens a network port",
    "fl_listen_and_serv": "opens a network port",
    "heter_listen_and_serv": "opens a network port",
    "c_gen_nccl_id": "connects to other machines",
    "c_gen_xccl_id": "connects to other machines",
    "gen_nccl_id": "connects to other machines",
}
_REMOTE: Final = frozenset(
    (
        "send", "recv", "recv_save", "send_and_recv", "send_barrier", "fetch_barrier", "prefetch",
        "distributed_lookup_table", "distributed_push_sparse", "push_dense", "checkpoint_notify",
        "heter_send_recv",
    )
)  # fmt: skip
"""Operators that talk to parameter servers at addresses that their attributes name; inference has none."""
_FILES: Final = frozenset(("save", "save_combine", "load", "load_combine"))
_PATHS: Final = frozenset(("file_path", "filename", "file_name"))
_ENGINES: Final = frozenset(("tensorrt_engine", "lite_engine", "openvino_engine", "dlnne_engine"))
_DIALECTS: Final = frozenset(("0", "1", "2", "4", "builtin", "pd_op", "cf", "dist_op", "dist"))
"""Dialects of the runtime itself; 3 is the one of operators from other libraries."""
_SIZES: Final = {
    0: ("bool", 1), 1: ("int16", 2), 2: ("int32", 4), 3: ("int64", 8), 4: ("float16", 2), 5: ("float32", 4),
    6: ("float64", 8), 20: ("uint8", 1), 21: ("int8", 1), 22: ("bfloat16", 2), 23: ("complex64", 8),
    24: ("complex128", 16), 32: ("float8_e4m3fn", 1), 33: ("float8_e5m2", 1), 36: ("uint16", 2),
    37: ("uint32", 4), 38: ("uint64", 8),
}  # fmt: skip
"""Number of VarType.Type -> name and bytes of one element."""


def read(data: Buffer, into: Reading) -> None:
    """A program, or a stream of parameters."""
    if bytes(data[:4]) == b"\0\0\0\0":
        _parameters(data, into)
    elif bytes(data[:64]).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        _json(data, into)
    else:
        _program(Message(data, ((0, len(data)),), into.spend), into)
    into.proven = True


@cache
def known() -> frozenset[str]:
    """Names of the operators that Paddle registers itself."""
    document: dict[str, list[str]] = msgspec.json.decode(_LIST.read_bytes())
    return frozenset(document["operators"])


# --- protobuf -----------------------------------------------------------------------------------------------


def _program(program: Message, into: Reading) -> None:
    tally = Tally()
    inputs: list[str] = []
    outputs: list[str] = []
    program.only_fields(PROGRAM)
    for block in program.each(1):
        block.only_fields(BLOCK)
        for variable in block.each(3):
            kind = variable.only(2)
            if variable.number(3) and kind.places(3):
                dense = kind.only(3).only(1)
                tally.tensor(_SIZES.get(dense.number(1), (str(dense.number(1)), 0))[0], dense.integers(2))
        for operator in block.each(4):
            name = operator.text(3)
            tally.operator(name)
            if name == "feed":
                inputs += [text for part in operator.each(2) for text in part.texts(2)]
            elif name in {"fetch", "fetch_v2"}:
                outputs += [text for part in operator.each(1) for text in part.texts(2)]
            _operator(operator, name, into)
    version = program.only(4).number(1)
    tally.report(
        into,
        "paddle",
        format_version=str(version),
        inputs=inputs,
        outputs=outputs,
    )


def _operator(operator: Message, name: str, into: Reading) -> None:
    pos = operator.spans[0][0]
    if name in _ENGINES:
        message = (
            f"the operator {name} holds a graph that is compiled for another runtime, and cannot be read"
        )
        into.unproven("paddle.engine", message, pos=pos)
        for span in (span for part in operator.each(4) for span in part.places(5)):
            host_code(operator.data, span, into)
        return
    strings = {part.text(1): part.text(5) for part in operator.each(4) if part.places(5)}
    paths = [text for key, text in strings.items() if key in _PATHS]
    if name in _DANGEROUS or name in _FILES or name in _REMOTE:
        _acts(name, paths, into, pos)
    elif name not in known():
        into.unproven(
            "paddle.custom-operator",
            f"the operator {name[:MOST]} is not Paddle's: it needs a native library of somebody",
            pos=pos,
        )


def _acts(name: str, paths: list[str], into: Reading, pos: int = -1) -> None:
    """An operator that calls Python, or reads or writes files."""
    call = f"{name}({', '.join(repr(path[:MOST]) for path in paths)})"
    if name in _DANGEROUS:
        into.dangerous("paddle.operator", f"the operator {name} {_DANGEROUS[name]}", pos=pos, call=call)
        return
    if name in _REMOTE:
        message = f"the operator {name} talks to servers that the program names"
        into.unproven("paddle.operator", message, pos=pos, call=call)
        return
    reason = next((why for path in paths if (why := escapes(path)) is not None), None)
    if reason is not None:
        into.dangerous("paddle.path", f"the operator {name} uses a path that {reason}", pos=pos, call=call)
    elif name.startswith("save"):
        into.unproven(
            "paddle.path", f"the operator {name} writes a file when the program runs", pos=pos, call=call
        )


# --- JSON ---------------------------------------------------------------------------------------------------


def _json(data: Buffer, into: Reading) -> None:
    """A program of the intermediate representation: operators are objects with inputs or outputs."""
    if len(data) > _LONGEST:
        into.missed(f"a program of {len(data)} bytes of JSON is not read")
        return
    try:
        document: JSON = msgspec.json.decode(bytes(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the program is no JSON: {str(error)[:MOST]}") from error
    tally = Tally()
    inputs: list[str] = []
    stack: list[JSON] = [document]
    while stack:
        into.spend()
        node = stack.pop()
        if isinstance(node, list):
            stack += reversed(node)
        elif isinstance(node, dict):
            stack += reversed(list(node.values()))
            name = node.get("#")
            if isinstance(name, str) and ("I" in node or "O" in node):
                _json_operator(name, node, (tally, inputs), into)
    tally.report(into, "paddle", inputs=inputs)


def _json_operator(name: str, node: dict[str, JSON], kept: tuple[Tally, list[str]], into: Reading) -> None:
    tally, inputs = kept
    dialect, _, short = name.partition(".")
    if name == "p":
        _json_parameter(node.get("O"), tally)
        return
    tally.operator(short)
    strings = _strings(node.get("A"))
    if dialect in {"1", "pd_op"} and short == "data":
        inputs.append(strings.get("name", ""))
    if short in _DANGEROUS or short in _FILES or short in _REMOTE:
        _acts(short, [text for key, text in strings.items() if key in _PATHS], into)
    elif dialect not in _DIALECTS:
        into.unproven(
            "paddle.custom-operator",
            f"the operator {name[:MOST]} is not Paddle's: it needs a native library of somebody",
        )


def _strings(attributes: JSON) -> dict[str, str]:
    """Attributes that are texts: `[{"N": name, "AT": {"#": "0.a_str", "D": text}}]`."""
    found: dict[str, str] = {}
    for entry in attributes if isinstance(attributes, list) else ():
        if isinstance(entry, dict):
            key, value = entry.get("N"), entry.get("AT")
            text = value.get("D") if isinstance(value, dict) else None
            if isinstance(key, str) and isinstance(text, str):
                found[key] = text
    return found


def _json_parameter(output: JSON, tally: Tally) -> None:
    """A tensor's type: `{"TT": {"#": ..., "D": [{"#": "0.t_f32"}, [2, 3], ...]}}`."""
    kind = output.get("TT") if isinstance(output, dict) else None
    parts = kind.get("D") if isinstance(kind, dict) else None
    if (
        isinstance(parts, list)
        and len(parts) > 1
        and isinstance(parts[0], dict)
        and isinstance(parts[1], list)
    ):
        dims = [dim for dim in parts[1] if isinstance(dim, int)]
        tally.tensor(str(parts[0].get("#", "?")).removeprefix("0.t_")[:MOST], dims)


# --- parameters ---------------------------------------------------------------------------------------------


def _parameters(data: Buffer, into: Reading) -> None:
    """Tensors one after the other; each has its levels of detail, its type and its bytes."""
    cursor, tally = Cursor(data), Tally()
    while cursor.left:
        into.spend()
        if cursor.number("I"):
            raise Malformed(f"a version other than 0 at offset {cursor.pos - 4}")
        for _ in range(cursor.number("Q")):
            into.spend()
            cursor.need(cursor.number("Q"))
        if cursor.number("I"):
            raise Malformed(f"a tensor version other than 0 at offset {cursor.pos - 4}")
        size = cursor.number("i")
        start = cursor.need(size)
        kind, dims = _description(data, (start, start + size), into)
        name, width = _SIZES.get(kind, ("", 0))
        if not width:
            raise Malformed(f"tensors of type {kind} are not known")
        cursor.need(math.prod(dims) * width)
        tally.tensor(name, dims)
    tally.report(into, "paddle")


def _description(data: Buffer, span: Span, into: Reading) -> tuple[int, list[int]]:
    desc = Message(data, (span,), into.spend)
    dims = desc.integers(2)
    if any(dim < 0 for dim in dims):
        raise Malformed(f"a tensor of shape {dims[:16]}")
    return desc.number(1, -1), dims
