"""TensorFlow: SavedModel, MetaGraphDef and GraphDef; every operator of every graph and function.

Sources: tensorflow/core/protobuf/saved_model.proto, meta_graph.proto, saved_object_graph.proto,
fingerprint.proto; tensorflow/core/framework/graph.proto, node_def.proto, function.proto, attr_value.proto,
tensor.proto (TensorFlow 2.21); keras/protobuf/saved_metadata.proto (Keras 2.15).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast, final

from modelward.artifact.formats import tensorflow_rules as rules
from modelward.artifact.formats.keras import CONFIG, judge
from modelward.artifact.formats.paths import escapes
from modelward.artifact.formats.protobuf import BYTES, VARINT, Message
from modelward.artifact.formats.tally import MOST, Tally
from modelward.artifact.formats.tensorflow_paths import Scope, attributes, behind
from modelward.artifact.formats.tensorflow_text import binary, is_text
from modelward.artifact.reading import Malformed
from modelward.artifact.signs.graphs import GRAPH, META, SAVED, tensorflow_layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelward.artifact.formats.tensorflow_paths import Found
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading
    from modelward.core.canonical import JSON

_VARIABLES: Final = frozenset(("VarHandleOp", "VariableV2", "Variable"))
_CALLBACKS: Final = (b"xla_python_cpu_callback", b"xla_ffi_python_cpu_callback", b"xla_python_gpu_callback")
DTYPES: Final = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64",
    9: "int64", 10: "bool", 11: "qint8", 12: "quint8", 13: "qint32", 14: "bfloat16", 17: "uint16",
    18: "complex128", 19: "float16", 20: "resource", 21: "variant", 22: "uint32", 23: "uint64",
}  # fmt: skip
"""Names of tensorflow.DataType by number."""
_NAMES: Final = {1: "FLOAT", 2: "DOUBLE", 3: "INT32", 7: "STRING", 9: "INT64", 10: "BOOL", 19: "HALF"}
"""The same in texts, of the types that models have."""


def read(data: Buffer, into: Reading) -> None:
    """Walk all graphs; the layout is the one the content was recognised by."""
    text = is_text(data) is not None
    if text:
        data = binary(data, {f"DT_{name}": number for number, name in _NAMES.items()}, into)
    layout = tensorflow_layout(data)
    root = Message(data, ((0, len(data)),), into.spend)
    tally = Tally()
    if layout == "keras-metadata":
        root.only_fields({1: BYTES})
        for node in root.each(1):
            node.only_fields({2: VARINT, 3: BYTES, 4: BYTES, 5: BYTES, 6: BYTES})
            _keras(node.text(4), node.places(5), data, into)
    elif layout == "saved-model":
        root.only_fields(SAVED)
        for meta in root.each(2):
            _meta(meta, tally, into)
    elif layout == "meta-graph":
        root.only_fields(META)
        _meta(root, tally, into)
    elif layout == "graph":
        root.only_fields(GRAPH)
        _graph(root, tally, into)
        tally.report(into, "tensorflow")
    elif layout is None:
        raise Malformed("it is none of TensorFlow's messages")
    for event in into.events if text else ():
        event.pos = -1
    into.proven = True


def _meta(meta: Message, tally: Tally, into: Reading) -> None:
    _graph(meta.only(2), tally, into)
    for asset in meta.each(6):
        name = asset.text(2)
        reason = escapes(name)
        if reason is not None:
            into.dangerous(
                "tensorflow.asset-path",
                f"an asset is read from {name[:MOST]!r}, which {reason}",
                pos=asset.spans[0][0],
            )
    objects = meta.only(7)
    objects.only_fields({1: BYTES, 2: BYTES})
    for node in objects.each(1):
        for user in node.each(4):
            _keras(user.text(1), user.places(3), meta.data, into)
    about = meta.only(1)
    tally.report(
        into,
        "tensorflow",
        producer=f"tensorflow {about.text(5)}".strip(),
        metadata={"tags": " ".join(about.texts(4))},
        inputs=_signature(meta, 1),
        outputs=_signature(meta, 2),
    )


def _signature(meta: Message, number: int) -> list[str]:
    """Names of the inputs (1) or outputs (2) of all signatures."""
    names = (
        entry.text(1)
        for signature in meta.each(5)
        for definition in signature.each(2)
        for entry in definition.each(number)
    )
    return list(dict.fromkeys(names))


def _keras(identifier: str, places: list[tuple[int, int]], data: Buffer, into: Reading) -> None:
    """The configuration of a Keras object, from which `load_model` builds it again."""
    if identifier.startswith("_tf_keras") and places:
        start, end = places[-1]
        if end - start > CONFIG:
            into.missed(f"a configuration of {end - start} bytes is not read")
        else:
            where = f"the object {identifier[:MOST]}"
            try:
                config = json.loads(bytes(data[start:end]))
            except (ValueError, RecursionError) as error:
                into.missed(f"{where} is no JSON: {str(error)[:MOST]}")
                return
            judge(cast("JSON", config), into, where, legacy=True, revived=True)


def _graph(graph: Message, tally: Tally, into: Reading) -> None:
    """The main graph and the functions of its library."""
    functions = [part for library in graph.each(2) for part in library.each(1)]
    names = frozenset(part.only(1).text(1) for part in functions)
    scopes = [Scope(None, list(graph.each(1)), into)]
    scopes += [Scope(part, list(part.each(3)), into) for part in functions]
    for scope in scopes:
        judge = _Nodes(scope, scopes, names, (tally, into))
        for node in scope.nodes:
            judge.judge(node)


@final
class _Nodes:
    """The judge of the nodes of one graph or function."""

    __slots__ = ("_functions", "_into", "_scope", "_scopes", "_tally")

    def __init__(
        self, scope: Scope, scopes: list[Scope], functions: frozenset[str], told: tuple[Tally, Reading]
    ) -> None:
        self._scope = scope
        self._scopes = scopes
        self._functions = functions
        self._tally, self._into = told

    def judge(self, node: Message) -> None:
        """One node by its operator; one that exports do not have is never passed over."""
        before = len(self._into.events)
        self._judge(node)
        name = node.text(2)
        if name in rules.RARE and len(self._into.events) == before:
            message = f"the operator {name} works on files, and exports of models do not have it"
            self._into.unproven("tensorflow.rare-operator", message, pos=node.spans[0][0])

    def _judge(self, node: Message) -> None:
        name, pos = node.text(2), node.spans[0][0]
        self._tally.operator(name)
        if name in rules.DANGEROUS:
            self._dangerous(node, name, rules.DANGEROUS[name])
        elif name in rules.HOST:
            message = f"the operator {name} {rules.HOST[name]}"
            self._into.unproven("tensorflow.host-operator", message, pos=pos)
        elif name in rules.WRITERS or name in rules.READERS or name in rules.PASSED:
            self._file(node, name)
        elif name in rules.FILES:
            self._named_file(node, name)
        elif name in _VARIABLES:
            self._variable(node)
        elif name in rules.ADDRESSES:
            self._attribute(node, name)
        elif name not in rules.known() and name not in self._functions:
            package = rules.companion(name)
            needs = f"the native library of {package}" if package else "a native library of somebody"
            self._into.unproven(
                "tensorflow.custom-operator",
                f"the operator {name[:MOST]} is not TensorFlow's: it needs {needs}",
                pos=pos,
            )

    def _dangerous(self, node: Message, name: str, does: str) -> None:
        given = ", ".join(repr(text[:MOST]) for text in self._behind(node, None).texts[:3])
        self._into.dangerous(
            "tensorflow.operator",
            f"the operator {name} {does}",
            pos=node.spans[0][0],
            call=f"{name}({given})",
        )

    def _behind(self, node: Message, places: Iterable[int] | None) -> Found:
        return behind(node, places, self._scope, self._scopes)

    def _file(self, node: Message, name: str) -> None:
        """A path outside the model's own folder; its own paths come from the caller."""
        found = self._behind(node, rules.PLACES.get(name))
        if found.computed and name in rules.WRITERS:
            self._into.unproven(
                "tensorflow.computed-path",
                f"the operator {name} writes to a path that comes from {found.computed}",
                pos=node.spans[0][0],
            )
        elif found.built and (name in rules.READERS or name.startswith("InitializeTable")):
            self._into.unproven(
                "tensorflow.computed-path",
                f"the operator {name} reads a path that {found.built} puts together",
                pos=node.spans[0][0],
            )
        for path in found.texts:
            self._path(node, name, path)

    def _named_file(self, node: Message, name: str) -> None:
        """A file that an attribute names."""
        given = attributes(node)
        for key in rules.FILES[name]:
            value = given.get(key)
            if value is not None and value.places(9):
                self._into.unproven(
                    "tensorflow.computed-path",
                    f"whoever calls the function says what the operator {name} reads",
                    pos=node.spans[0][0],
                )
            for path in () if value is None else value.texts(2):
                self._path(node, name, path)

    def _path(self, node: Message, name: str, path: str) -> None:
        """A path that an operator is given as it stands."""
        reason = escapes(path) if path else None
        sensitive = rules.SENSITIVE.search(path) is not None
        if reason is None or (name in rules.PASSED and not sensitive):
            return
        does = "writes" if name in rules.WRITERS else "reads"
        report = self._into.dangerous if name in rules.WRITERS or sensitive else self._into.unproven
        report(
            "tensorflow.path",
            f"the operator {name} {does} {path[:MOST]!r}, which {reason}",
            pos=node.spans[0][0],
            call=f"{name}({path[:MOST]!r})",
        )

    def _attribute(self, node: Message, name: str) -> None:
        """An operator whose attributes say whether it leaves the graph."""
        given = attributes(node)
        if name == "XlaCallModule":
            for start, end in given.get("module", Message(node.data, (), self._into.spend)).places(2):
                if any(_within(node.data, mark, start, end) for mark in _CALLBACKS):
                    self._into.unproven(
                        "tensorflow.callback",
                        "a compiled module calls Python at an address in the memory of the process",
                        pos=start,
                    )
            return
        for key in rules.ADDRESSES[name]:
            value = given.get(key)
            if value is not None and value.places(9):
                self._into.unproven(
                    "tensorflow.computed-path",
                    f"whoever calls the function says what the operator {name} reads or writes",
                    pos=node.spans[0][0],
                )
            for text in () if value is None else (*value.texts(2), *value.only(1).texts(2)):
                if _outside(name, text):
                    self._into.dangerous(
                        "tensorflow.operator",
                        f"the operator {name} reads or writes {text[:MOST]!r}",
                        pos=node.spans[0][0],
                        call=f"{name}({key}={text[:MOST]!r})",
                    )

    def _variable(self, node: Message) -> None:
        given = attributes(node)
        dtype, shape = given.get("dtype"), given.get("shape")
        if dtype is not None and shape is not None:
            dims = [part.number(1) for part in shape.only(7).each(2)]
            self._tally.tensor(DTYPES.get(dtype.number(6), str(dtype.number(6))), dims)


def _outside(operator: str, text: str) -> bool:
    if operator == "PrintV2":
        return text not in rules.CONSOLES
    if operator == "ImmutableConst":
        return not text.startswith("memmapped_package://")
    if operator in {"EncodeProto", "DecodeProtoV2"}:
        return not text.startswith(("local://", "bytes://")) and bool(text)
    return bool(text)


def _within(data: Buffer, mark: bytes, start: int, end: int) -> bool:
    return data.find(mark, start, end) >= 0
