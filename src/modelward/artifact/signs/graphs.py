"""Graphs in protobuf, XML and JSON: ONNX, TensorFlow, CoreML, Paddle, OpenVINO, MXNet, TensorRT, PMML.

Sources of the field numbers: onnx/onnx.proto (IR version 13); saved_model.proto, meta_graph.proto,
graph.proto, fingerprint.proto of TensorFlow 2.21; Model.proto of coremltools 9; framework.proto of Paddle 3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from modelward.artifact.format import Sniffed
from modelward.artifact.formats.protobuf import BYTES, END, FIXED32, FIXED64, GROUP, VARINT, varint
from modelward.artifact.formats.xml import root
from modelward.artifact.reading import Malformed
from modelward.errors import FileDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.formats.protobuf import Field, Span
    from modelward.artifact.pickle.values import Buffer

_FIRST: Final = 64
"""Fields looked at where a message may have any number of them."""
MODEL: Final = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
"""Field number -> wire type of onnx.ModelProto."""
SAVED: Final = {1: VARINT, 2: BYTES}
META: Final = dict.fromkeys(range(1, 8), BYTES)
GRAPH: Final = {1: BYTES, 2: BYTES, 3: VARINT, 4: BYTES, 5: BYTES}
PROGRAM: Final = {1: BYTES, 4: BYTES, 5: BYTES}
BLOCK: Final = {1: VARINT, 2: VARINT, 3: BYTES, 4: BYTES, 5: VARINT}
"""The same of SavedModel, MetaGraphDef and GraphDef, and of ProgramDesc and BlockDesc."""
Layout: TypeAlias = Literal["saved-model", "meta-graph", "graph", "keras-metadata", "fingerprint"]


def sign(data: Buffer, head: bytes) -> Sniffed | None:
    """Format of the content, or None when no rule of this group applies.

    Args:
        data: the whole content.
        head: its first 64 KiB.

    Raises:
        FileDamaged: it is certainly ONNX and its graph is cut off.
    """
    first = head[:1]
    found = _text(data, head) if first in b"<{ \t\r\n\xef\xff\xfe\0" else None
    if found is None:
        found = _tagged(data, head) or _text_format(data, head)
    if found is None and first[0] & 7 in {VARINT, BYTES} and first[0] < 0x80:
        try:
            found = _protobuf(data)
        except Malformed:
            return None
    return found


def _tagged(data: Buffer, head: bytes) -> Sniffed | None:
    """Formats with a tag of their own."""
    if plan(head) is not None:
        return Sniffed("tensorrt", "the tag of a TensorRT plan")
    if head.startswith(b"\x12\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0") and len(data) >= 24:
        return Sniffed("mxnet-params", "the magic number of a list of MXNet arrays")
    if head[4:8] == b"ORTM" and len(data) > 16:
        return Sniffed("ort", "a flatbuffer with the identifier ORTM")
    if head[:8] == b"\0" * 4 + head[4:8] and _lod_tensor(head):
        return Sniffed("paddle-params", "a stream of Paddle's tensors")
    if data[len(data) - 8 :] == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb" and len(data) >= 48:
        return Sniffed("tensorflow-checkpoint", "the footer of a table: the index of a checkpoint")
    blob = len(data) >= 128 and head[4:64] == b"\2" + b"\0" * 59 and head[64:68] == b"\xef\xbe\xad\xde"
    return Sniffed("coreml", "the header of a file of CoreML weights") if blob else None


def plan(head: bytes) -> int | None:
    """Where the plan of TensorRT starts: at once, or behind the JSON that some exporters put before it."""
    if head[:4] in {b"ftrt", b"ptrt"} and len(head) >= 24 and b"\0" in head[4:16]:
        return 0
    size = int.from_bytes(head[:4], "little")
    behind = head[4:5] == b"{" and size + 8 <= len(head) and head[4 + size : 8 + size] in {b"ftrt", b"ptrt"}
    return 4 + size if behind else None


def _lod_tensor(head: bytes) -> bool:
    """Version 0, no more than two levels of detail, then TensorDesc {data_type, dims}."""
    levels = int.from_bytes(head[4:12], "little")
    if levels > 2:
        return False
    pos = 12
    for _ in range(levels):
        pos += 8 + int.from_bytes(head[pos : pos + 8], "little")
    size = int.from_bytes(head[pos + 4 : pos + 8], "little")
    desc = head[pos + 8 : pos + 8 + size]
    return head[pos : pos + 4] == b"\0" * 4 and 2 <= size < 256 and desc[:1] == b"\x08" and len(desc) == size


def _text_format(data: Buffer, head: bytes) -> Sniffed | None:
    """A graph as text: its first field has a name of the schema, and a field within follows."""
    if head.lstrip()[:1] not in {b"", b"s", b"m", b"g", b"n", b"l", b"v", b"#"}:
        return None
    from modelward.artifact.formats.tensorflow_text import is_text

    first = is_text(data)
    if first is None:
        return None
    saved = first in {b"saved_model_schema_version", b"meta_graphs"}
    within = rb"\b(?:op|name|tags|min_consumer|producer|signature|meta_graphs)[\s:]*[{<\[\"'\d]"
    if not saved and not re.search(within, data):
        return None
    return Sniffed("saved-model" if saved else "tensorflow-graph", "the text format of TensorFlow's graphs")


# --- XML and JSON -------------------------------------------------------------------------------------------

_ROOT: Final = re.compile(
    r"\ufeff?(?>\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>)*+"
    r"<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)([^>]*)",
    re.DOTALL,
)
_DOCTYPE: Final = re.compile(r"<!DOCTYPE\s+(?:[\w.-]+:)?(\w+)")
_BLANK: Final = re.compile(rb"[\s\0\xef\xbb\xbf\xff\xfe]*+")
_LETTER: Final = re.compile(rb"\\u00([46][1-9a-fA-F]|[57][0-9aA]|5[fF])")
_LARGE: Final = 1 << 26
"""Most bytes of a text in which names are looked for."""


def _text(data: Buffer, head: bytes) -> Sniffed | None:
    blank = _BLANK.match(data)
    start = blank.end() if blank else 0
    if data[start : start + 1] == b"<":
        return _xml(data, head)
    if data[start : start + 1] == b"{":
        return _json(data)
    return None


def _json(data: Buffer) -> Sniffed | None:
    """By the names of its keys, which may stand anywhere, and of which letters may be escaped."""
    if _LETTER.search(data, 0, _LARGE):
        data = _LETTER.sub(lambda found: bytes([int(found[1], 16)]), bytes(data[:_LARGE]))

    def has(*names: bytes) -> bool:
        return all(data.find(name, 0, _LARGE) >= 0 for name in names)

    if has(b'"arg_nodes"', b'"heads"', b'"nodes"'):
        return Sniffed("mxnet", "JSON with the nodes, arguments and heads of an MXNet symbol")
    if has(b'"pir"', b'"magic"', b'"program"'):
        return Sniffed("paddle", "JSON with a program of Paddle's intermediate representation")
    if has(b'"itemInfoEntries"', b'"rootModelIdentifier"'):
        return Sniffed("coreml", "the manifest of a CoreML package")
    return None


def _xml(data: Buffer, head: bytes) -> Sniffed | None:
    """By the name of the root element: read strictly, and where that fails as lax readers do."""
    code = "utf-8"
    if b"\0" in head[:4]:
        code = (
            "utf-16"
            if head[:2] in {b"\xff\xfe", b"\xfe\xff"}
            else "utf-16-le"
            if head[1:2] == b"\0"
            else "utf-16-be"
        )
    text = head.decode(code, "replace")
    found = _ROOT.match(text)
    name, rest = root(data) or ((found[1], found[2]) if found else ("", ""))
    if not name and (kind := _DOCTYPE.search(text)) is not None:
        name, rest = kind[1], "version"
    if name == "PMML":
        return Sniffed("pmml", "XML whose root is PMML")
    if name == "net" and ("version" in rest or "<layers" in text):
        return Sniffed("openvino", "XML whose root is a net of layers")
    return None


# --- protocol buffers ---------------------------------------------------------------------------------------


def _protobuf(data: Buffer) -> Sniffed | None:
    """A message by the numbers and wire types of its fields."""
    layout = tensorflow_layout(data)
    if layout is not None:
        kind: Literal["tensorflow-graph", "saved-model"] = (
            "tensorflow-graph" if layout in {"graph", "meta-graph"} else "saved-model"
        )
        return Sniffed(kind, f"the fields of TensorFlow's {layout}")
    if _coreml(data):
        return Sniffed("coreml", "fields of a CoreML Model")
    if _paddle(data):
        return Sniffed("paddle", "fields of a Paddle ProgramDesc")
    if onnx_tensor(data):
        return Sniffed("onnx", "fields of an ONNX TensorProto")
    return _onnx(data)


def top(data: Buffer, span: Span, most: int = _FIRST) -> Iterator[Field]:
    """The first fields of a message; of one that is cut off, the last has an end beyond the message.

    Raises:
        Malformed: it is no message.
    """
    pos, end = span
    for _ in range(most):
        if pos >= end:
            return
        key, pos = varint(data, pos, end)
        if not key >> 3:
            raise Malformed(f"field number 0 at offset {pos}")
        value, pos = varint(data, pos, end) if key & 7 in {VARINT, BYTES} else (0, pos)
        if key & 7 == BYTES:
            yield key >> 3, BYTES, pos, pos + value
            pos += value
        elif key & 7 == VARINT:
            yield key >> 3, VARINT, value, pos
        elif key & 7 in {FIXED64, FIXED32}:
            pos += 8 if key & 7 == FIXED64 else 4
            yield key >> 3, key & 7, pos, pos
        elif key & 7 in {GROUP, END}:
            yield key >> 3, key & 7, pos, pos
        else:
            raise Malformed(f"wire type {key & 7}")


def _whole(data: Buffer, span: Span, shape: dict[int, int]) -> list[Field] | None:
    """The first fields when all are of a schema, and none leaves the message."""
    try:
        found = list(top(data, span))
    except Malformed:
        return None
    good = all(
        shape.get(number) == wire and (wire != BYTES or end <= span[1]) for number, wire, _, end in found
    )
    return found if found and good else None


def _onnx(data: Buffer) -> Sniffed | None:
    """The top level is fields of ModelProto up to the end of the file, among them a graph."""
    seen: set[int] = set()
    for number, wire, _, end in top(data, (0, len(data)), 10_000):
        if MODEL.get(number, wire if number > 26 else -1) != wire:
            return None
        seen.add(number)
        if end > len(data):
            if {1, 7} <= seen:
                raise FileDamaged("the file starts as ONNX and its graph is cut off: it is truncated")
            return None
    return (
        Sniffed("onnx", "fields of an ONNX ModelProto with a graph") if 7 in seen and seen & {1, 8} else None
    )


_TENSOR: Final = {2: VARINT, 6: BYTES, 8: BYTES, 9: BYTES, 12: BYTES, 13: BYTES, 14: VARINT}


def _parses(data: Buffer, span: Span) -> bool:
    """Whether a part of the content is a message, as far as its first fields show."""
    try:
        return span[0] < span[1] and all(end <= span[1] for *_, end in top(data, span, 1 << 12))
    except Malformed:
        return False


def onnx_tensor(data: Buffer) -> bool:
    """A single TensorProto, as test data of models: a type, and values or a name, up to the end."""
    kind, numbers, pos = 0, set(), 0
    for number, wire, start, end in top(data, (0, len(data))):
        if _TENSOR.get(number, wire if number in {1, 4, 5, 7, 10, 11} else -1) != wire:
            return False
        if number == 7 and wire == BYTES and end <= len(data) and _parses(data, (start, end)):
            return False  # packed integers are no message: this is a graph
        kind = start if number == 2 else kind
        numbers.add(number)
        pos = end
    return 0 < kind < 32 and pos == len(data) and bool(numbers & {4, 5, 6, 7, 8, 9, 10, 11, 13})


_NODE: Final = dict.fromkeys(range(1, 8), BYTES)
_OPERATOR: Final = re.compile(rb"[A-Za-z_.][\w>./\\-]*")


def tensorflow_layout(data: Buffer) -> Layout | None:
    """Which of TensorFlow's messages the content is, or None."""
    whole = (0, len(data))
    saved = _whole(data, whole, SAVED)
    if saved is not None:
        metas = [(start, end) for number, _, start, end in saved if number == 2]
        return "saved-model" if metas and saved[0][:2] == (1, VARINT) and _metagraph(data, metas[0]) else None
    marks = _whole(data, whole, {**dict.fromkeys(range(1, 6), VARINT), 6: BYTES, 7: BYTES})
    if marks is not None and {1, 2, 3} <= {field[0] for field in marks} and len(data) < 512:
        return "fingerprint"
    if _keras_nodes(data):
        return "keras-metadata"
    if _graph(data, whole):
        return "graph"
    return "meta-graph" if _metagraph(data, whole) else None


def _metagraph(data: Buffer, span: Span) -> bool:
    """MetaInfoDef with TensorFlow's operators or version, and a graph."""
    found = _whole(data, span, META)
    if found is None:
        return False
    graphs = [(start, end) for number, _, start, end in found if number == 2]
    about = [(start, end) for number, _, start, end in found if number == 1]
    shape = {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 5: BYTES, 6: BYTES, 7: VARINT, 8: BYTES}
    return bool(
        graphs
        and all(start == end or _graph(data, (start, end)) for start, end in graphs)
        and all(start == end or _whole(data, (start, end), shape) is not None for start, end in about)
    )


def _graph(data: Buffer, span: Span) -> bool:
    """GraphDef whose first nodes have a name and an operator."""
    found = _whole(data, span, GRAPH)
    if found is None:
        return False
    nodes = [(start, end) for number, _, start, end in found if number == 1]
    for node in nodes[:8]:
        parts = _whole(data, node, _NODE)
        operators = [bytes(data[a : min(b, a + 256)]) for number, _, a, b in parts or () if number == 2]
        if not operators or not _OPERATOR.fullmatch(operators[-1]):
            return False
    return bool(nodes) or {2, 4} <= {field[0] for field in found}


def _keras_nodes(data: Buffer) -> bool:
    """SavedMetadata: objects with an identifier of Keras."""
    found = _whole(data, (0, len(data)), {1: BYTES})
    if found is None:
        return False
    shape = {2: VARINT, 3: BYTES, 4: BYTES, 5: BYTES, 6: BYTES}
    parts = _whole(data, found[0][2:], shape) or ()
    return any(number == 4 and bytes(data[a : min(b, a + 9)]) == b"_tf_keras" for number, _, a, b in parts)


def _coreml(data: Buffer) -> bool:
    """Version, description, and one model type."""
    found = []
    for number, wire, start, end in top(data, (0, len(data))):
        if wire not in {VARINT, BYTES} or (wire == BYTES and end > len(data)):
            return False
        found.append((number, wire, start))
    if not found or found[0][:2] != (1, VARINT) or not 0 < found[0][2] < 64:
        return False
    numbers = {number for number, _, _ in found}
    return all(n in {1, 2, 10} or 200 <= n <= 3000 for n in numbers) and max(numbers) >= 200


def _paddle(data: Buffer) -> bool:
    """Blocks that start with their index and their parent's."""
    found = _whole(data, (0, len(data)), PROGRAM)
    blocks = [(start, end) for number, _, start, end in found or () if number == 1]
    parts = [_whole(data, block, BLOCK) for block in blocks]
    return bool(parts) and all(part is not None and {1, 2} <= {field[0] for field in part} for part in parts)
