"""OpenVINO: the layers of an intermediate representation, and where their weights lie.

Sources: OpenVINO 2026, docs "Intermediate Representation", src/core/include/openvino/opsets/ (opset1 to
opset17, of which `openvino_ops.json` is written by tools/openvino_ops.py), src/frontends/ir;
openvino_tokenizers 2026 (operators of the opset "extension").
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import msgspec

from modelward.artifact.formats import xml
from modelward.artifact.formats.tally import MOST, Tally

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_OPSET: Final = re.compile(r"(?:opset[1-9]\d?|experimental|ie_internal_opset|util|type_relaxed_opset)?")
"""Operator sets that are built into the runtime; layers before IR version 10 name none."""
_TOKENIZERS: Final = frozenset(
    (
        "StringTensorPack", "StringTensorUnpack", "RaggedTensorPack", "RaggedTensorUnpack", "CaseFold",
        "NormalizeUnicode", "RegexNormalization", "RegexSplit", "WordpieceTokenizer", "BPETokenizer",
        "UnigramTokenizer", "TrieTokenizer", "BytesToChars", "CharsToBytes", "CharsMapNormalization",
        "CombineSegments", "RaggedToDense", "RaggedToRagged", "RaggedToSparse", "VocabEncoder",
        "VocabDecoder",
        "FuzeRagged", "UTF8Validate", "ByteFallback", "EqualStr", "SentencepieceTokenizer", "Truncate",
        "SentencepieceDetokenizer", "SentencepieceStreamDetokenizer", "SpecialTokensSplit",
        "StringToHashBucket",
    )
)  # fmt: skip
"""Operators of openvino_tokenizers, a library that the application registers."""
_SET: Final = re.compile(r"opset[1-9]\d?")
_LIST: Final = Path(__file__).with_name("openvino_ops.json")


@cache
def known() -> frozenset[str]:
    """Types of layers in the operator sets that have a number."""
    document: dict[str, list[str]] = msgspec.json.decode(_LIST.read_bytes())
    return frozenset(document["operators"])


def read(data: Buffer, into: Reading) -> None:
    """Every layer, those of nested bodies included."""
    layers = _Layers(into)
    xml.walk(data, into, layers)
    layers.tally.report(
        into,
        "openvino",
        format_version=layers.version,
        metadata={"name": layers.name},
        inputs=layers.inputs,
        outputs=layers.outputs,
    )
    into.proven = True


@final
class _Layers:
    __slots__ = ("_into", "_layer", "_limit", "inputs", "name", "outputs", "tally", "version")

    def __init__(self, into: Reading) -> None:
        self._into = into
        self._layer = ("", "")
        beside = (
            into.beside(re.sub(r"^.*/|\.xml$", "", into.name) + ".bin")
            if into.name.endswith(".xml")
            else None
        )
        self._limit = None if beside is None else len(beside)
        self.name = self.version = ""
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.tally = Tally()

    def start(self, name: str, attributes: dict[str, str], depth: int) -> None:
        if depth == 1:
            self.name, self.version = attributes.get("name", ""), f"IR {attributes.get('version', '?')}"
        elif name == "layer":
            self._open(attributes)
        elif name == "data" and self._layer[0] == "Const" and "offset" in attributes:
            self._constant(attributes)

    def end(self, name: str) -> None:
        if name == "layer":
            self._layer = ("", "")

    def text(self, text: str) -> None:
        """No layer has text that is acted on."""

    def _open(self, attributes: dict[str, str]) -> None:
        kind, opset = attributes.get("type", ""), attributes.get("version", "")
        self._layer = (kind, attributes.get("name", ""))
        self.tally.operator(kind)
        if kind in {"Parameter", "Input"}:
            self.inputs.append(self._layer[1])
        elif kind == "Result":
            self.outputs.append(self._layer[1])
        if _OPSET.fullmatch(opset):
            if _SET.fullmatch(opset) and kind not in known():
                message = f"the layer type {kind[:MOST]} is in no operator set that OpenVINO brings"
                self._into.unproven("openvino.custom-layer", message)
            return
        if opset == "extension" and kind in _TOKENIZERS:
            self._into.note(
                "openvino.tokenizers", f"the layer type {kind} needs the library openvino_tokenizers"
            )
        else:
            self._into.unproven(
                "openvino.custom-layer",
                f"the layer type {kind[:MOST]} of the operator set {opset[:MOST]!r} needs a foreign library",
            )

    def _constant(self, attributes: dict[str, str]) -> None:
        """Weights in the file beside: offset and size must lie within."""
        offset, size = attributes.get("offset", ""), attributes.get("size", "0")
        shape = [int(each) for each in attributes.get("shape", "").split(",") if each.strip().isdecimal()]
        self.tally.tensor(attributes.get("element_type", "?")[:MOST], shape)
        if not (offset.isdecimal() and size.isdecimal()):
            self._into.unproven(
                "openvino.bounds",
                f"the weights of {self._layer[1][:MOST]!r} lie at {offset[:MOST]!r}: no offset",
            )
        elif self._limit is not None and int(offset[:20]) + int(size[:20]) > self._limit:
            self._into.unproven(
                "openvino.bounds",
                f"the weights of {self._layer[1][:MOST]!r} lie outside the {self._limit} bytes beside",
            )
