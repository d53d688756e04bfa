"""Read an ONNX file into plain values: nodes, constants, and the tensor that holds the model's scores.

Source: ONNX IR specification (docs/IR.md, IR version 4 and later) and docs/ExternalData.md.
Nothing of the file is executed; weights stored beside it are read from its own folder only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Final, final

import onnx
from google.protobuf.message import (  # type: ignore[import-untyped] # protobuf ships no types
    DecodeError,
    EncodeError,
)
from onnx import helper, numpy_helper

from modelward.errors import FileDamaged, FileMissing, OperatorUnsupported, UnsafeArtifact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

ML: Final = "ai.onnx.ml"
FLOATS: Final = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.DOUBLE: "float64"}
_WHOLE: Final = {
    onnx.TensorProto.INT8,
    onnx.TensorProto.UINT8,
    onnx.TensorProto.INT16,
    onnx.TensorProto.INT32,
    onnx.TensorProto.INT64,
}
OPSETS: Final = range(7, 29)
LARGEST_FILE: Final = 2**31 - 2**20  # protobuf cannot encode 2 GiB; onnxruntime is given one buffer
_LABEL_PATH: Final = {
    "Cast": 0,
    "Identity": 0,
    "Reshape": 0,
    "Squeeze": 0,
    "ArrayFeatureExtractor": 1,
    "Gather": 1,
}


@final
@dataclass(frozen=True)
class Node:
    """One operator call; `inputs` and `outputs` are tensor names, '' where an optional one is absent."""

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, object]

    def __str__(self) -> str:
        """`Conv (node 'conv1', output 'x3')`, for messages."""
        label = f"node {self.name!r}, " if self.name else ""
        return f"{plain(self.operator)} ({label}output {self.outputs[0] if self.outputs else ''!r})"


@final
@dataclass(frozen=True)
class Network:
    """The part of a graph that computes the scores.

    Attributes:
        model: the protobuf, weights inside, with only the needed nodes and `score` as its output.
        nodes: the needed nodes in the file's order (IR.md: topologically sorted).
        constants: initializers by name.
        input_name: the one graph input; `dims` its shape with None where free, or None where undeclared.
        dtype: 'float32' or 'float64'.
        output_name: the graph output that was chosen; `score` the tensor that is imported for it.
        label_tail: the operator between `score` and the graph output ('ZipMap', 'ArgMax'), or None.
        detection: one sentence on how `score` was chosen.
        opset: version of the default operator set.
    """

    model: onnx.ModelProto
    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[np.generic]]
    input_name: str
    dims: tuple[int | None, ...] | None
    dtype: str
    output_name: str
    score: str
    label_tail: str | None
    detection: str
    opset: int


def read_network(path: Path) -> Network:
    """Read an ONNX file; weights may lie in its own folder (external data), nowhere else.

    Raises:
        FileMissing: the file, or a weight file it names, is absent or unreadable.
        FileDamaged: it is not a well-formed ONNX model.
        UnsafeArtifact: it names weights outside its folder.
        OperatorUnsupported: a custom domain, an old or future opset, several inputs, or no numeric output.
    """
    model = _parse(path)
    graph = model.graph
    _refuse_foreign(model)
    _load_external(model, path.parent)
    opset = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 0)
    if opset not in OPSETS:
        raise OperatorUnsupported(
            f"{path.name} uses ONNX opset {opset}; {OPSETS[0]} to {OPSETS[-1]} are known"
        )
    constants = {tensor.name: _array(tensor) for tensor in graph.initializer}
    output_name, score, label_tail, detection = _choose_score(graph)
    pruned = _prune(model, score)
    inputs = [entry for entry in graph.input if entry.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(plain(entry.name) for entry in inputs) or "none"
        raise OperatorUnsupported(f"{path.name} has {len(inputs)} inputs ({names}); one is supported")
    kind = inputs[0].type.tensor_type
    if kind.elem_type in _WHOLE:
        raise OperatorUnsupported(
            f"input {inputs[0].name!r} holds whole numbers (ids of tokens or categories), "
            "for which no gradients are defined"
        )
    if kind.elem_type not in FLOATS:
        raise OperatorUnsupported(f"input {inputs[0].name!r} is not a float32 or float64 tensor")
    return Network(
        model=pruned,
        nodes=tuple(_node(node) for node in pruned.graph.node),
        constants=constants,
        input_name=inputs[0].name,
        dims=tuple(_dim(dim) for dim in kind.shape.dim) if kind.HasField("shape") else None,
        dtype=FLOATS[kind.elem_type],
        output_name=output_name,
        score=score,
        label_tail=label_tail,
        detection=detection,
        opset=opset,
    )


def first_line(error: BaseException) -> str:
    """The first non-empty line of a library's message, at most 200 characters, for one-sentence errors."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return plain(lines[0] if lines else type(error).__name__)


def plain(text: str) -> str:
    """Text of a file made fit for a message: printable, at most 200 characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:200]


def with_outputs(network: Network, names: list[str]) -> bytes:
    """The model as bytes, with the named tensors as its outputs; onnxruntime infers their types."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return _encode(model)


def _encode(model: onnx.ModelProto) -> bytes:
    try:
        content: bytes = model.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise OperatorUnsupported(
            "the model with its weights exceeds 2 GB, which this import does not hold"
        ) from error
    return content


def _parse(path: Path) -> onnx.ModelProto:
    try:
        if not path.is_file():
            raise FileMissing(f"{path} is not a file")
        if path.stat().st_size > LARGEST_FILE:
            raise OperatorUnsupported(f"{path.name} exceeds 2 GB, which protobuf cannot hold")
        content = path.read_bytes()
    except OSError as error:
        raise FileMissing(f"{path} cannot be read: {error.strerror}") from error
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise FileDamaged(f"{path.name} is not an ONNX model: {first_line(error)}") from error
    if not model.graph.node or not model.graph.output:
        raise FileDamaged(f"{path.name} holds no ONNX graph ({len(content)} bytes)")
    if any(not isinstance(name, str) for name in _names(model)):  # proto2 hands such fields out as bytes
        raise FileDamaged(f"{path.name} holds a name that is not UTF-8 text")
    return model


def _names(model: onnx.ModelProto) -> Iterator[object]:
    """Every name that the import reads."""
    graph = model.graph
    yield from (entry.name for entry in (*graph.initializer, *graph.input, *graph.output))
    yield from (entry.domain for entry in (*model.opset_import, *model.functions))
    yield from (function.name for function in model.functions)
    for node in graph.node:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for tensor in _tensors(graph):
        yield tensor.name
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))


def _refuse_foreign(model: onnx.ModelProto) -> None:
    """Custom domains and local functions have no meaning that could be checked, so they are refused."""
    for function in model.functions:
        raise OperatorUnsupported(
            f"the model defines its own operator {plain(function.domain)}::{plain(function.name)}"
        )
    for node in model.graph.node:
        if node.domain not in {"", "ai.onnx", ML}:
            raise OperatorUnsupported(
                f"operator {plain(node.op_type)} is of the custom domain {node.domain!r}"
            )
    if model.graph.sparse_initializer:
        raise OperatorUnsupported("sparse initializers are not supported")


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor stored in a graph, in nested graphs too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _held(graph.node)


def _held(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """Every tensor in the attributes of operators."""
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _tensors(inner)


def external_files(path: Path) -> tuple[Path, ...]:
    """The files in which an ONNX file keeps weights beside itself, sorted.

    Raises:
        FileMissing: the file, or one that it names, is absent or unreadable.
        FileDamaged: it is not an ONNX model.
        UnsafeArtifact: it names one outside its folder.
        OperatorUnsupported: it exceeds 2 GB.
    """
    model = _parse(path)
    tensors = [*_tensors(model.graph), *(t for function in model.functions for t in _held(function.node))]
    named = [tensor for tensor in tensors if tensor.data_location == onnx.TensorProto.EXTERNAL]
    return tuple(sorted({_external_path(tensor, path.parent) for tensor in named}))


def _load_external(model: onnx.ModelProto, folder: Path) -> None:
    total = 0
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            content = _external(tensor, folder)
            total += len(content)
            if total > LARGEST_FILE:
                raise OperatorUnsupported("external weights exceed 2 GB, which this import does not hold")
            tensor.raw_data = content
            del tensor.external_data[:]
            tensor.data_location = onnx.TensorProto.DEFAULT


def _external(tensor: onnx.TensorProto, folder: Path) -> bytes:
    """The bytes of one tensor stored beside the model (ExternalData.md: location, offset, length)."""
    info = {entry.key: entry.value for entry in tensor.external_data}
    path, location = _external_path(tensor, folder), info["location"]
    try:
        size = path.stat().st_size
        offset = int(info.get("offset", "0") or 0)
        length = int(info.get("length", "") or size - offset)
        if not (0 <= offset <= size and 0 <= length <= min(size - offset, LARGEST_FILE)):
            raise FileDamaged(
                f"weights {location!r} have {size} bytes, but {tensor.name!r} asks for {offset}+{length}"
            )
        with path.open("rb") as stream:
            stream.seek(offset)
            content: bytes = stream.read(length)
            return content
    except OSError as error:
        raise FileMissing(f"weights {location!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise FileDamaged(f"tensor {tensor.name!r} has an unreadable offset or length") from error


def _external_path(tensor: onnx.TensorProto, folder: Path) -> Path:
    """The file that holds a tensor; it must lie in the model's folder, links followed."""
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    inside = location and "\0" not in location and ".." not in (*posix.parts, *windows.parts)
    if not inside or posix.is_absolute() or windows.drive or windows.root:
        raise UnsafeArtifact(
            f"tensor {tensor.name!r} names its weights at {location!r}, outside the model's folder"
        )
    try:
        path = (folder / location).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise UnsafeArtifact(
                f"tensor {tensor.name!r} reaches outside the model's folder through {location!r}"
            )
        if not path.is_file():
            raise FileMissing(f"weights {location!r} of tensor {tensor.name!r} are not beside the model")
    except OSError as error:
        raise FileMissing(f"weights {location!r} cannot be read: {error.strerror}") from error
    return path


def _array(tensor: onnx.TensorProto) -> NDArray[np.generic]:
    try:
        array: NDArray[np.generic] = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, DecodeError, RuntimeError, OverflowError) as error:
        raise FileDamaged(f"constant {tensor.name!r} cannot be read: {first_line(error)}") from error
    return array


def _node(node: onnx.NodeProto) -> Node:
    attributes: dict[str, object] = {}
    for attribute in node.attribute:
        try:
            value = helper.get_attribute_value(attribute)
        except ValueError as error:
            raise FileDamaged(
                f"attribute {attribute.name!r} of {plain(node.op_type)} has no readable type"
            ) from error
        attributes[attribute.name] = _array(value) if isinstance(value, onnx.TensorProto) else value
    return Node(node.op_type, node.name, tuple(node.input), tuple(node.output), attributes)


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | None:
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None


def _choose_score(graph: onnx.GraphProto) -> tuple[str, str, str | None, str]:
    """The graph output to import, its tensor, a label tail, and why."""
    producer = {name: node for node in graph.node for name in node.output}
    for entry in graph.output:
        node = producer.get(entry.name)
        if node is not None and node.op_type == "ZipMap" and node.input:
            reason = f"output {entry.name!r} is a ZipMap of the probabilities {node.input[0]!r}"
            return entry.name, node.input[0], "ZipMap", reason
    floats = [entry.name for entry in graph.output if entry.type.tensor_type.elem_type in FLOATS]
    if floats:
        reason = f"output {floats[0]!r} is the only float output of the graph"
        if len(floats) > 1:
            reason = f"output {floats[0]!r} is the first of {len(floats)} float outputs"
        return floats[0], floats[0], None, reason
    for entry in graph.output:
        node = producer.get(entry.name)
        for _ in graph.node:  # a path is no longer than the graph
            if (
                node is None
                or node.op_type not in _LABEL_PATH
                or len(node.input) <= _LABEL_PATH[node.op_type]
            ):
                break
            node = producer.get(node.input[_LABEL_PATH[node.op_type]])
        if node is not None and node.op_type == "ArgMax" and node.input:
            reason = f"output {entry.name!r} is the ArgMax of the scores {node.input[0]!r}"
            return entry.name, node.input[0], "ArgMax", reason
    last = producer.get(graph.output[0].name)
    operator = plain(last.op_type) if last is not None else "no operator"
    raise OperatorUnsupported(
        f"output {graph.output[0].name!r} ({operator}) gives no float scores, ZipMap or ArgMax"
    )


def _prune(model: onnx.ModelProto, score: str) -> onnx.ModelProto:
    """A copy with only the nodes that `score` needs, so that nothing else has to be understood or run."""
    needed, kept = {score}, []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    pruned = onnx.ModelProto()
    pruned.CopyFrom(model)
    del pruned.graph.node[:], pruned.graph.output[:], pruned.graph.value_info[:]
    pruned.graph.node.extend(reversed(kept))
    pruned.graph.output.append(onnx.ValueInfoProto(name=score))
    return pruned
