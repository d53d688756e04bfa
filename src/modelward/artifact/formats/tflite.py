"""TensorFlow Lite models: a flatbuffer of operators, tensors and buffers.

Built-in operators compute. An operator of TensorFlow itself (`Flex...`) does what it does there; a custom one
is native code that an application registers under its name.
Source: TensorFlow 2.18 `tensorflow/compiler/mlir/lite/schema/schema.fbs` (version 3); TFLite metadata:
`metadata_schema.fbs` (associated files in a zip archive behind the model).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.formats import tensorflow_rules
from modelward.artifact.formats.flatbuffer import Flat, first_text
from modelward.artifact.formats.tally import Tally
from modelward.artifact.reading import Inner, Malformed

if TYPE_CHECKING:
    from modelward.artifact.formats.flatbuffer import Table
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_CUSTOM: Final = 32
_LAST: Final = 209
"""Highest builtin operator of the schema (STABLEHLO_CASE); a newer runtime may have more."""
_ASSOCIATED: Final = 64 << 20
"""Bytes at the end of the file in which associated files are looked for."""
_KNOWN: Final = frozenset(
    (
        "TFLite_Detection_PostProcess", "edgetpu-custom-op", "Convolution2DTransposeBias",
        "MaxPoolingWithArgmax2D", "MaxUnpooling2D", "Landmarks2TransformMatrix", "TransformLandmarks",
        "TransformTensor", "TransformTensorBilinear", "RoIAlign", "AudioSpectrogram", "Mfcc", "RFFT2D",
        "Rfft2d", "Irfft2d", "NumericVerify", "TfLiteNop", "TFSentencepieceTokenizeOp",
        "TFSentencepieceDetokenizeOp", "ethos-u", "DISPATCH_OP", "qnn-custom-op", "CIRCULAR_BUFFER",
        "TreeEnsembleClassifier", "KmeansEmbeddingLookup", "NGrams", "FastSentencepieceTokenizer", "AddN",
        "Gelu", "Multinomial", "RandomUniform", "RandomStandardNormal", "Roll", "Cumsum", "Conv3D",
        "HashtableLookup", "ReadVariable", "AssignVariable", "VarHandle", "Sign", "Erf", "Lerp", "Complex",
        "Delegate", "aeq.hadamard_rotation", "odml.rms_norm", "STABLEHLO_COMPOSITE", "FlattenSequence",
        "MediaPipe", "Bucketize",
    )
)  # fmt: skip
"""Custom operators of TensorFlow, MediaPipe, Coral, Arm and Qualcomm, which compute on tensors."""
_FAMILIES: Final = re.compile(
    r"Signal[A-Z]\w*|XC_\w+|TFText[A-Z]\w*|odml\.\w+|aeq\.\w+|TFLite_\w+|tftext:\w+"
)
"""Custom operators by prefix: signal processing of TFLite Micro, XMOS, TensorFlow Text."""
_DTYPES: Final = (
    "F32", "F16", "I32", "U8", "I64", "STRING", "BOOL", "I16", "C64", "I8", "F64", "C128", "U64", "RESOURCE",
    "VARIANT", "U32", "U16", "I4", "BF16",
)  # fmt: skip


def read(data: Buffer, into: Reading) -> None:
    """Judge the operators and compare every index and place with the file."""
    model = Flat(data, into).root()
    version = model.number(0, "I")
    into.facts["format_version"] = str(version)
    if version != 3:
        raise Malformed(f"version {version} of the schema; 3 is read")
    codes = [_operator(code, into) for code in model.tables(1)]
    buffers = _buffers(model, data, into)
    tally = Tally()
    graphs = list(model.tables(2))
    names: list[list[str]] = [[], []]
    for at, graph in enumerate(graphs):
        _graph(graph, at, (codes, buffers), tally, into)
        if at == 0:
            names = _ends(graph)
    for entry in model.tables(6):
        if not 0 <= entry.number(1, "I") < max(buffers, 1):
            into.unproven("tflite.index", f"metadata {entry.text(0, 80)!r} has no buffer")
    tally.report(into, "tflite", inputs=names[0], outputs=names[1], producer=model.text(3, 200))
    _appended(data, into)
    into.proven = True


def _operator(code: Table, into: Reading) -> str:
    """Name of a kind of operator; what it can do is reported."""
    builtin = max(code.number(0, "b"), code.number(3, "i"))
    if not 0 <= builtin <= _LAST:
        into.unproven("tflite.builtin", f"the builtin operator {builtin} is not known")
    if builtin != _CUSTOM:
        return f"builtin {builtin}"
    name = code.text(1, 200)
    if name.startswith("Flex"):
        _flex(name, name.removeprefix("Flex"), into)
    elif name not in _KNOWN and not _FAMILIES.fullmatch(name) and not _computes(name):
        into.unproven("tflite.custom", f"the custom operator {name[:80]!r}, whose native code is not known")
    return name


def _computes(operator: str) -> bool:
    """Whether TensorFlow has an operator of this name that stays inside the model."""
    reaching = tensorflow_rules.WRITERS | tensorflow_rules.READERS | tensorflow_rules.DANGEROUS.keys()
    return operator in tensorflow_rules.known() and operator not in reaching


def _flex(name: str, operator: str, into: Reading) -> None:
    why = tensorflow_rules.DANGEROUS.get(operator)
    if why is not None:
        into.dangerous("tflite.operator", f"the operator {name} {why}", call=f"{operator}(...)")
    elif operator in tensorflow_rules.WRITERS | tensorflow_rules.READERS:
        into.unproven("tflite.operator", f"the operator {name} reaches files that the model names")
    elif operator not in tensorflow_rules.known():
        into.unproven("tflite.operator", f"the operator {name[:80]!r}, which TensorFlow does not have")


def _inner(operator: Table, name: str, into: Reading) -> None:
    """An operator of TensorFlow runs the one that its options name, whatever its own name is.

    Source: `tensorflow/lite/delegates/flex/kernel.cc` (`OpNode::InitializeNodeDef`): a FlexBuffer of the name
    and the NodeDef.
    """
    options = operator.bytes(5)
    place, size = operator.number(9, "Q"), operator.number(10, "Q")
    if place > 1:
        options = bytes(operator.flat.data[place : place + size])
    if not options:
        return
    try:
        inner = first_text(options)
    except Malformed:
        into.unproven("tflite.operator", f"the options of {name[:80]!r} do not name its operator")
        return
    if inner != name.removeprefix("Flex"):
        into.note("tflite.renamed", f"{name[:80]!r} runs the operator {inner[:80]!r}")
        _flex(f"Flex{inner}", inner, into)


def _buffers(model: Table, data: Buffer, into: Reading) -> int:
    """Compare the places of buffers behind the flatbuffer with the file; how many buffers there are."""
    count = 0
    for at, buffer in enumerate(model.tables(4)):
        count += 1
        start, size = buffer.number(1, "Q"), buffer.number(2, "Q")
        buffer.vector(0, 1)
        if start > 1 and start + size > len(data):
            into.unproven("tflite.extent", f"buffer {at} lies outside the file")
            break
    return count


def _graph(graph: Table, at: int, known: tuple[list[str], int], tally: Tally, into: Reading) -> None:
    codes, buffers = known
    tensors = 0
    for tensor in graph.tables(0):
        tensors += 1
        buffer, kind = tensor.number(2, "I"), tensor.number(1, "B")
        shape = tensor.integers(0)
        if buffer:
            tally.tensor(_DTYPES[kind] if kind < len(_DTYPES) else f"type {kind}", shape)
        if buffer >= max(buffers, 1):
            into.unproven("tflite.index", f"a tensor of graph {at} has buffer {buffer} of {buffers}")
            return
    ends = (*graph.integers(1), *graph.integers(2))
    for operator in graph.tables(3):
        code = operator.number(0, "I")
        used = (*operator.integers(1), *operator.integers(2), *operator.integers(8))
        operator.vector(5, 1)
        if code >= len(codes):
            into.unproven("tflite.index", f"an operator of graph {at} is of kind {code} of {len(codes)}")
            return
        tally.operator(codes[code])
        if codes[code].startswith("Flex"):
            _inner(operator, codes[code], into)
        if used and (min(used) < -1 or max(used) >= tensors):
            into.unproven(
                "tflite.index", f"an operator of graph {at} uses tensors outside the {tensors} it has"
            )
            return
        if operator.number(9, "Q") > 1:
            place, size = operator.number(9, "Q"), operator.number(10, "Q")
            if place + size > len(graph.flat.data):
                into.unproven("tflite.extent", f"options of an operator of graph {at} lie outside the file")
    if ends and (min(ends) < -1 or max(ends) >= tensors):
        into.unproven("tflite.index", f"graph {at} begins or ends at tensors outside the {tensors} it has")


def _ends(graph: Table) -> list[list[str]]:
    """Names of the inputs and outputs."""
    tensors = list(graph.tables(0))
    return [
        [tensors[at].text(3, 200) for at in graph.integers(field)[:200] if 0 <= at < len(tensors)]
        for field in (1, 2)
    ]


def _appended(data: Buffer, into: Reading) -> None:
    """Associated files (labels, vocabularies) stand in a zip archive behind the model."""
    if data.find(b"PK\x05\x06", max(0, len(data) - (1 << 16))) < 0:
        return
    start = data.find(b"PK\x03\x04", max(0, len(data) - _ASSOCIATED))
    if start >= 0:
        into.inner.append(Inner("associated files", bytes(data[start:]), "zip"))
