"""ONNX: whose operators a graph uses, where its tensors lie, and what else a runtime would act on.

Sources: onnx/onnx.proto (ONNX 1.19, IR version 13); onnx/docs/ExternalData.md; ONNX Runtime 1.31,
core/graph/constants.h (domains) and core/graph/contrib_ops (operators that run other code);
onnxruntime-extensions 0.14 (`ai.onnx.contrib`). Advisories on external data:
CVE-2022-25882, CVE-2024-27318, CVE-2025-51480.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, final

import msgspec

from modelward.artifact.formats.paths import escapes
from modelward.artifact.formats.protobuf import Message
from modelward.artifact.formats.tally import MOST, Tally
from modelward.artifact.signs.graphs import MODEL, onnx_tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modelward.artifact.formats.protobuf import Span
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

KNOWN: Final = frozenset(
    (
        "", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training",
        "com.microsoft", "com.microsoft.nchwc", "com.microsoft.dml", "com.microsoft.xnnpack",
        "com.microsoft.experimental", "com.microsoft.mlfeaturizers", "com.ms.internal.nhwc",
    )
)  # fmt: skip
"""Domains whose operators are built into the ONNX standard or into ONNX Runtime."""
_HOST: Final = {
    "PythonOp": "calls a Python autograd function by name",
    "PythonOpGrad": "calls a Python autograd function by name",
    "ATen": "calls any operator of PyTorch by name",
    "ATenOp": "calls any operator of PyTorch by name",
    "TritonOp": "runs a Triton kernel that Python code provides",
    "ExternalFunctionCall": "calls a function outside the runtime",
    "Snpe": "runs a graph that is compiled for another runtime",
}
"""Operators of com.microsoft and org.pytorch.aten that leave the runtime -> what they do."""
_LIST: Final = Path(__file__).with_name("onnx_ops.json")
_PLUGIN: Final = re.compile(r"\w+_TRT|TRT_\w+|\w+PluginDynamic|\w+Plugin")
"""Names of operators that TensorRT's own library of plugins has, which exporters write without a domain."""
_NETWORK: Final = re.compile(r"Azure\w+")
"""Operators of onnxruntime-extensions that send their inputs to the address that an attribute names."""
_EXTENSIONS: Final = frozenset(("ai.onnx.contrib", "com.microsoft.extensions"))
"""Domains of onnxruntime-extensions: operators of one native library that the application registers."""
_PYTHON: Final = re.compile(r"py[A-Z_]|Py[A-Z]|Python")
_FILES: Final = 16
"""Most files of external data whose sizes are asked for."""
INT: Final = 2
"""AttributeProto.INT; ONNX Runtime's own format has the same numbers."""
_REACH: Final = 1 << 50
"""Bytes beyond which no file of external data reaches: a pebibyte."""
_OVERFLOW: Final = 1 << 63
"""Where the offsets of files overflow, which are signed numbers of 64 bits."""
_MEMORY: Final = "_ORT_MEM_ADDR_"
"""ONNX Runtime's own mark that an `offset` is an address in the memory of its process."""
_CALL: Final = re.compile(
    r"__import__|\b(?:eval|exec|compile|getattr|open)\s*\(|\b(?:os|subprocess|sys|builtins)\s*\."
)
DTYPES: Final = (
    "undefined", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16",
    "float64", "uint32", "uint64", "complex64", "complex128", "bfloat16", "float8e4m3fn", "float8e4m3fnuz",
    "float8e5m2", "float8e5m2fnuz", "uint4", "int4", "float4e2m1", "float8e8m0", "uint2", "int2",
)  # fmt: skip
"""Names of TensorProto.DataType by number."""


class _Scope(NamedTuple):
    """What is common to every node of a model.

    Attributes:
        local: domain, name and overload of its functions.
        tally: what is counted.
        outside: the first file that holds tensors, once it is known.
        versions: domain -> version of its operators.
        sizes: file that holds tensors -> its bytes, None when it is not at hand.
    """

    local: frozenset[tuple[str, str, str]]
    tally: Tally
    outside: list[str]
    versions: dict[str, int]
    sizes: dict[str, int | None]


def read(data: Buffer, into: Reading) -> None:
    """Walk the graph, its subgraphs, the functions and the training part."""
    model = Message(data, ((0, len(data)),), into.spend)
    if onnx_tensor(data):
        scope = _Scope(frozenset(), Tally(), [], {}, {})
        _tensor(model, scope, into)
        scope.tally.report(into, "onnx")
        into.proven = True
        return
    model.only_fields(MODEL, beyond=26)
    if not model.text(2).isprintable():
        into.unproven("onnx.polyglot", "the producer is no text: other loaders may read a model there")
    functions = list(model.each(25))
    names = frozenset((part.text(10), part.text(1), part.text(13)) for part in functions)
    versions = {part.text(1): part.number(2) for part in model.each(8)}
    versions |= {
        "": versions.get("", versions.get("ai.onnx", 0)),
        "ai.onnx": versions.get("ai.onnx", versions.get("", 0)),
    }
    scope = _Scope(names, Tally(), [], versions, {})
    graph = model.only(7)
    graphs: list[Span] = []
    _graph(graph, scope, into, graphs)
    for part in functions:
        _nodes(part.each(7), scope, into, graphs)
        for attribute in part.each(11):
            _attribute(attribute, scope, into, graphs)
    for part in model.each(20):
        graphs += part.places(1) + part.places(2)
    while graphs:
        _graph(Message(data, (graphs.pop(),), into.spend), scope, into, graphs)
    _metadata(model, into)
    _facts(model, graph, scope, into)
    into.proven = True


def _graph(graph: Message, scope: _Scope, into: Reading, graphs: list[Span]) -> None:
    _nodes(graph.each(1), scope, into, graphs)
    for tensor in graph.each(5):
        _tensor(tensor, scope, into)
    for sparse in graph.each(15):
        _sparse(sparse, scope, into)


def _nodes(nodes: Iterable[Message], scope: _Scope, into: Reading, graphs: list[Span]) -> None:
    for node in nodes:
        domain, name = node.text(7), node.text(4)
        scope.tally.operator(name if domain in {"", "ai.onnx"} else f"{domain}.{name}")
        local = (domain, name, node.text(8)) in scope.local
        operator(
            domain, name, _given(node), Use(node.spans[0][0], local, scope.versions.get(domain, 0)), into
        )
        for attribute in node.each(5):
            _attribute(attribute, scope, into, graphs)


def _attribute(attribute: Message, scope: _Scope, into: Reading, graphs: list[Span]) -> None:
    graphs += attribute.places(6) + attribute.places(11)
    for tensor in (*attribute.each(5), *attribute.each(10)):
        _tensor(tensor, scope, into)
    for sparse in (*attribute.each(22), *attribute.each(23)):
        _sparse(sparse, scope, into)


def _given(node: Message) -> dict[str, str]:
    """The attributes that are texts or integers; the type says which of the two is meant."""
    given: dict[str, str] = {}
    for part in node.each(5):
        whole = part.number(20) == INT or not part.places(4)
        given[part.text(1)] = str(part.number(3)) if whole else part.text(4)
    return given


class Use(NamedTuple):
    """Where an operator is used.

    Attributes:
        pos: offset of the node.
        local: the model has a function of this name, which the runtime takes for names that it does not know.
        version: of the operator set that the model asks for; 0 when it is not known.
    """

    pos: int
    local: bool = False
    version: int = 0


def operator(domain: str, name: str, given: Mapping[str, str], use: Use, into: Reading) -> None:
    """Judge one use of an operator.

    Args:
        domain: its operator set; "" is ONNX's own.
        name: its type.
        given: attributes that are texts or integers, as texts.
        use: where it stands.
        into: gets the finding.
    """
    shown, pos = f"{domain or 'ai.onnx'}.{name}"[:MOST], use.pos
    if name == "PyOp" or (domain not in KNOWN and {"module", "class_name"} <= given.keys()):
        called = f"{given.get('module', '?')}.{given.get('class_name', '?')}"[:MOST]
        message = f"the operator {shown} imports and runs the Python class {called}"
        into.dangerous("onnx.python", message, pos=pos, call=called)
    elif domain in _EXTENSIONS and _PYTHON.search(name):
        into.dangerous("onnx.python", f"the operator {shown} runs Python code of the application", pos=pos)
    elif domain in _EXTENSIONS and _NETWORK.fullmatch(name):
        to = given.get("model_uri", "an address that is given later")[:MOST]
        message = f"the operator {shown} sends what the model is given to {to}"
        into.unproven("onnx.host-operator", message, pos=pos, call=f"{name}({to})")
    elif domain in _EXTENSIONS:
        into.note(
            "onnx.extensions", f"the operator {shown} needs the library onnxruntime-extensions", pos=pos
        )
    elif name in _HOST and domain in {"com.microsoft", "org.pytorch.aten"}:
        into.unproven("onnx.host-operator", f"the operator {shown} {_HOST[name]}", pos=pos)
    elif name == "EPContext" and domain == "com.microsoft":
        _compiled(given, pos, into)
    elif use.local or (domain in KNOWN and not _unheard(domain, name, use.version)):
        return
    elif domain in {"", "ai.onnx", "trt.plugins"} and _PLUGIN.fullmatch(name):
        into.note("onnx.tensorrt", f"the operator {shown} needs the plugins of TensorRT", pos=pos)
    else:
        where = "no operator of this domain" if domain in KNOWN else "of a custom domain"
        message = f"the operator {shown} is {where}: a native library must run it"
        into.unproven("onnx.custom-operator", message, pos=pos)


class Listed(msgspec.Struct, frozen=True):
    """ONNX's own operators: domain -> newest version of its set, and names."""

    versions: dict[str, int]
    operators: dict[str, frozenset[str]]


@cache
def listed() -> Listed:
    """Read the list once."""
    return msgspec.json.decode(_LIST.read_bytes(), type=Listed)


def _unheard(domain: str, name: str, version: int) -> bool:
    """Whether ONNX's own set has no such operator in the version that the model asks for."""
    domain = "" if domain == "ai.onnx" else domain
    names = listed().operators.get(domain)
    return names is not None and 0 < version <= listed().versions[domain] and name not in names


def _compiled(given: Mapping[str, str], pos: int, into: Reading) -> None:
    """A part of the graph that was compiled for one kind of hardware; mode 0 keeps it in another file."""
    paths = [given.get("ep_cache_context", "")] if given.get("embed_mode") == "0" else []
    for path in (*paths, given.get("onnx_model_filename", "")):
        reason = escapes(path)
        if reason is not None:
            message = f"a compiled graph is read from {path[:MOST]!r}, which {reason}"
            into.dangerous("onnx.compiled-path", message, pos=pos)
    into.unproven(
        "onnx.compiled", "a part of the graph is compiled for one device and cannot be read", pos=pos
    )


def _sparse(sparse: Message, scope: _Scope, into: Reading) -> None:
    for tensor in (*sparse.each(1), *sparse.each(2)):
        _tensor(tensor, scope, into)


def _tensor(tensor: Message, scope: _Scope, into: Reading) -> None:
    kind = tensor.number(2)
    scope.tally.tensor(DTYPES[kind] if 0 <= kind < len(DTYPES) else str(kind), tensor.integers(1))
    entries = [(entry.text(1), entry.text(2)) for entry in tensor.each(13)]
    if not entries and tensor.number(14) != 1:
        return
    place = External(tensor.text(8)[:MOST], tensor.spans[0][0])
    for key, value in entries:
        if key == "location":
            place.location(value, scope.outside, into)
        elif key in {"offset", "length"} and not value.strip().isdecimal():
            into.dangerous(
                "onnx.external-bounds",
                f"the tensor {place.name!r} is read from another file with {key} {value[:MOST]!r}",
                pos=place.pos,
            )
    _extent(dict(entries), place, scope, into)


def _extent(given: dict[str, str], place: External, scope: _Scope, into: Reading) -> None:
    """Where the file is at hand, the tensor must lie within it."""
    path = given.get("location", "")
    if path not in scope.sizes and len(scope.sizes) < _FILES:
        content = into.beside(path) if path and escapes(path) is None else None
        scope.sizes[path] = None if content is None else len(content)
    size = scope.sizes.get(path)
    numbers = [given.get(key, "0").strip().lstrip("0") or "0" for key in ("offset", "length")]
    if not all(map(str.isdecimal, numbers)):
        return
    end = sum(int(number[:20]) for number in numbers)
    if end >= _OVERFLOW:
        into.dangerous(
            "onnx.external-bounds",
            f"the tensor {place.name!r} ends at byte {end} of {path[:MOST]!r}, which overflows 64 bits",
            pos=place.pos,
        )
    elif end > (_REACH if size is None else size):
        where = f"the {size} bytes of {path[:MOST]!r}" if size is not None else "any file that there is"
        into.unproven(
            "onnx.external-bounds",
            f"the tensor {place.name!r} ends at byte {end}, outside {where}",
            pos=place.pos,
        )


@final
class External:
    """A tensor in another file: the location must stay beside the model."""

    __slots__ = ("name", "pos")

    def __init__(self, name: str, pos: int) -> None:
        self.name = name
        self.pos = pos

    def location(self, path: str, outside: list[str], into: Reading) -> None:
        """Judge a relative path of the specification; the first that is good is noted."""
        reason = escapes(path)
        if _MEMORY in path:
            reason = "stands for an address in the memory of the process"
        elif reason is None and "\\" in path:
            reason = "has a backslash, which is a folder on one system and hides one on another"
        if reason is not None:
            into.dangerous(
                "onnx.external-path",
                f"the tensor {self.name!r} is read from {path[:MOST]!r}, which {reason}",
                pos=self.pos,
            )
        elif not outside:
            outside.append(path[:MOST])
            into.note(
                "onnx.external", f"tensors are read from {path[:MOST]!r} beside the model", pos=self.pos
            )


def _metadata(model: Message, into: Reading) -> None:
    """Texts beside the graph: some applications evaluate them as Python."""
    kept: dict[str, str] = {}
    for entry in model.each(14):
        key, value = entry.text(1), entry.text(2)
        if len(kept) < MOST:
            kept[key[:MOST]] = value[:MOST]
        into.spend(len(value))
        if _CALL.search(value) and _calls(value):
            into.dangerous(
                "onnx.metadata-code",
                f"the metadata {key[:MOST]!r} is a Python expression that runs code when it is evaluated",
                pos=entry.spans[0][0],
                call=value[:MOST],
            )
        elif re.search(r"<script|javascript:", value, re.IGNORECASE):
            into.note("onnx.metadata-html", f"the metadata {key[:MOST]!r} holds a script for browsers")
    if kept:
        into.facts["metadata"] = dict(kept)


def _calls(text: str) -> bool:
    """Whether a text is one Python expression with a call in it."""
    try:
        tree = ast.parse(text[: MOST * MOST].strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.Call) for node in ast.walk(tree))


def _facts(model: Message, graph: Message, scope: _Scope, into: Reading) -> None:
    opsets = {part.text(1) or "ai.onnx": part.number(2) for part in model.each(8)}
    fixed = {part.text(8) for part in graph.each(5)}
    scope.tally.report(
        into,
        "onnx",
        producer=f"{model.text(2)} {model.text(3)}".strip(),
        format_version=f"IR {model.number(1)}",
        opsets={name: str(version) for name, version in opsets.items()},
        inputs=[part.text(1) for part in graph.each(11) if part.text(1) not in fixed],
        outputs=[part.text(1) for part in graph.each(12)],
    )
