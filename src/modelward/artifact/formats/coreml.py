"""CoreML: models, pipelines, the parts of a package; classes of the application and files that they name.

Source: coremltools 9, mlmodel/format/Model.proto, NeuralNetwork.proto, CustomModel.proto,
LinkedModel.proto, MIL.proto; mlmodel/src/MILBlob/Blob/StorageFormat.hpp (weights);
modelpackage/src/ModelPackage.cpp (manifest).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.cursor import Cursor
from modelward.artifact.formats.paths import escapes
from modelward.artifact.formats.protobuf import BYTES, VARINT, Message
from modelward.artifact.formats.tally import MOST, Tally
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_KINDS: Final = {
    200: "pipelineClassifier", 201: "pipelineRegressor", 202: "pipeline", 300: "glmRegressor",
    301: "supportVectorRegressor", 302: "treeEnsembleRegressor", 303: "neuralNetworkRegressor",
    304: "bayesianProbitRegressor", 400: "glmClassifier", 401: "supportVectorClassifier",
    402: "treeEnsembleClassifier", 403: "neuralNetworkClassifier", 404: "kNearestNeighborsClassifier",
    500: "neuralNetwork", 501: "itemSimilarityRecommender", 502: "mlProgram", 555: "customModel",
    556: "linkedModel", 560: "classConfidenceThresholding", 600: "oneHotEncoder", 601: "imputer",
    602: "featureVectorizer", 603: "dictVectorizer", 604: "scaler", 606: "categoricalMapping",
    607: "normalizer", 609: "arrayFeatureExtractor", 610: "nonMaximumSuppression", 900: "identity",
    2000: "textClassifier", 2001: "wordTagger", 2002: "visionFeaturePrint",
    2003: "soundAnalysisPreprocessing", 2004: "gazetteer", 2005: "wordEmbedding",
    2006: "audioFeaturePrint", 3000: "serializedModel",
}  # fmt: skip
"""Number of the field of Model -> kind of model."""
_DESCRIPTION: Final = dict.fromkeys((1, 10, 11, 12, 13, 20, 21, 50, 100), BYTES)
"""Fields of ModelDescription; a SavedModel, whose graphs stand in the same place, has others."""
_CUSTOM_LAYER: Final = 500
_BRANCH: Final = {605: (1, 2), 615: (3, 4)}
"""Layers that hold networks -> the fields they stand in."""
_DTYPES: Final = {
    1: "bool", 2: "string", 10: "float16", 11: "float32", 12: "float64", 13: "bfloat16", 21: "int8",
    22: "int16", 23: "int32", 24: "int64", 25: "int4", 31: "uint8", 32: "uint16", 33: "uint32", 34: "uint64",
    35: "uint4", 36: "uint2", 37: "uint1", 38: "uint6", 39: "uint3",
}  # fmt: skip
_HOME: Final = "@model_path/"
_SENTINEL: Final = 0xDEADBEEF
_BLOCK: Final = 64


def read(data: Buffer, into: Reading) -> None:
    """A model, the manifest of a package, or its weights."""
    if bytes(data[64:68]) == _SENTINEL.to_bytes(4, "little") and data[4] == 2:
        _weights(data, into)
    elif bytes(data[:64]).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        _manifest(data, into)
    else:
        _model(Message(data, ((0, len(data)),), into.spend), into)
    into.proven = True


def _model(root: Message, into: Reading) -> None:
    tally = Tally()
    waiting, kinds = [root], set()
    while waiting:
        model = waiting.pop()
        present = model.numbers_present() - {1, 2, 10}
        model.only_fields({1: VARINT, 10: VARINT, **dict.fromkeys(present | {2}, BYTES)})
        model.only(2).only_fields(_DESCRIPTION)
        for number in sorted(present):
            kind = _KINDS.get(number)
            if kind is None:
                into.unproven("coreml.unknown", f"a model of the unknown kind {number}")
                continue
            kinds.add(kind)
            inner = model.only(number)
            if number in {200, 201}:
                waiting += [part for pipeline in inner.each(1) for part in pipeline.each(1)]
            elif number == 202:
                waiting += inner.each(1)
            elif number in {303, 403, 500}:
                _network(inner, tally, into)
            elif number == 502:
                _program(inner, tally, into)
            elif number in {555, 556, 3000}:
                _foreign(number, inner, into)
    about = root.only(2).only(100)
    described = {"description": about.text(1), "version": about.text(2), "author": about.text(3)}
    tally.report(
        into,
        "coreml",
        producer=next(
            (entry.text(2) for entry in about.each(100) if entry.text(1).endswith("coremltools.version")), ""
        ),
        format_version=str(root.number(1)),
        licence=about.text(4),
        metadata={"kind": ", ".join(sorted(kinds)), **{key: text for key, text in described.items() if text}},
        inputs=[part.text(1) for part in root.only(2).each(1)],
        outputs=[part.text(1) for part in root.only(2).each(10)],
    )


def _foreign(number: int, model: Message, into: Reading) -> None:
    """A model that code or a file elsewhere provides."""
    pos = model.spans[0][0] if model.spans else -1
    if number == 555:
        into.unproven(
            "coreml.custom-model",
            f"the class {model.text(10)[:MOST]!r} of the application runs as a model",
            pos=pos,
        )
    elif number == 3000:
        name = model.text(1)
        report = into.note if name.startswith("com.apple.") else into.unproven
        report("coreml.serialized", f"content for {name[:MOST]!r} that was not read", pos=pos)
    else:
        file = model.only(1)
        for part, what in ((1, "file"), (2, "search path")):
            path = file.only(part).text(1)
            reason = next((why for each in path.split(":") if (why := escapes(each)) is not None), None)
            if reason is not None:
                into.dangerous(
                    "coreml.linked-path",
                    f"the {what} of a linked model is {path[:MOST]!r}, which {reason}",
                    pos=pos,
                )
        name = file.only(1).text(1)[:MOST]
        into.unproven("coreml.linked", f"the model {name!r} is loaded as well, and it was not read", pos=pos)


def _network(network: Message, tally: Tally, into: Reading) -> None:
    waiting = [network]
    while waiting:
        for layer in waiting.pop().each(1):
            for number in layer.numbers_present():
                if number == _CUSTOM_LAYER:
                    name = layer.only(number).text(10)
                    tally.operator("custom")
                    into.unproven(
                        "coreml.custom-layer",
                        f"the class {name[:MOST]!r} of the application runs as a layer",
                        pos=layer.spans[0][0],
                    )
                for inner in _BRANCH.get(number, ()):
                    waiting += layer.only(number).each(inner)


def _program(program: Message, tally: Tally, into: Reading) -> None:
    """An ML program: functions of blocks of operations, each of which may have attributes."""
    functions = [part for entry in program.each(2) for part in entry.each(2)]
    blocks = [block for part in functions for entry in part.each(3) for block in entry.each(2)]
    for part in (program, *functions):
        _attributes(part, 4, tally, into)
    while blocks:
        block = blocks.pop()
        _attributes(block, 4, tally, into)
        for operation in block.each(3):
            name = operation.text(1)
            tally.operator(name)
            if name == "custom_layer":
                into.unproven(
                    "coreml.custom-layer",
                    "a class of the application runs as a layer",
                    pos=operation.spans[0][0],
                )
            blocks += operation.each(4)
            _attributes(operation, 5, tally, into)
            for entry in operation.each(2):
                for binding in entry.only(2).each(1):
                    _value(binding.only(2), tally, into)


def _attributes(owner: Message, number: int, tally: Tally, into: Reading) -> None:
    for entry in owner.each(number):
        _value(entry.only(2), tally, into)


def _value(value: Message, tally: Tally, into: Reading) -> None:
    """Constants in files of weights, and values that hold others: tuples, lists and dictionaries."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        _file(value, tally, into)
        for inner in value.each(3):
            waiting += [part for number in (2, 3) for held in inner.each(number) for part in held.each(1)]
            pairs = [pair for held in inner.each(4) for pair in held.each(1)]
            waiting += [part for pair in pairs for number in (1, 2) for part in pair.each(number)]


def _file(value: Message, tally: Tally, into: Reading) -> None:
    for blob in value.each(5):
        name = blob.text(1)
        kind = value.only(2).only(1)
        tally.tensor(_DTYPES.get(kind.number(1), "other"), [part.only(1).number(1) for part in kind.each(3)])
        reason = escapes(name.removeprefix(_HOME))
        if reason is not None:
            into.dangerous(
                "coreml.weights-path",
                f"weights are read from {name[:MOST]!r}, which {reason}",
                pos=blob.spans[0][0],
            )


def _manifest(data: Buffer, into: Reading) -> None:
    """The list of a package's parts: each path is below its folder Data."""
    try:
        document = msgspec.json.decode(bytes(data[: 1 << 22]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the manifest is no JSON: {error}") from error
    entries = document.get("itemInfoEntries") if isinstance(document, dict) else None
    if not isinstance(entries, dict):
        raise Malformed("the manifest has no list of parts")
    for entry in entries.values():
        path = entry.get("path") if isinstance(entry, dict) else None
        reason = "is no text" if not isinstance(path, str) else escapes(path)
        if reason is not None:
            into.dangerous(
                "coreml.manifest-path", f"a part of the package lies in {str(path)[:MOST]!r}, which {reason}"
            )
    into.facts["framework"] = "coreml"


def _weights(data: Buffer, into: Reading) -> None:
    """Blocks of 64 bytes, each of which describes the data that some later block holds."""
    start = Cursor(data)
    count = start.number("I")
    tally, pos = Tally(), _BLOCK
    for _ in range(count):
        into.spend()
        block = Cursor(data, pos)
        if block.number("I") != _SENTINEL:
            raise Malformed(f"no description of weights at offset {pos}")
        kind, size, offset = block.number("I"), block.number("Q"), block.number("Q")
        Cursor(data, offset).need(size) if offset <= len(data) else block.need(offset)
        tally.tensor(f"mil-{kind}", [])
        pos = -(-(offset + size) // _BLOCK) * _BLOCK
    into.facts.update({"framework": "coreml", "tensors": tally.tensors})
