"""Files of bare numbers have no mark of their own: a file beside them that describes them is the proof."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.compress import first_bytes
from modelward.artifact.format import Format, Sniffed
from modelward.artifact.sniff import compression, sniff
from modelward.errors import FileDamaged

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.pickle.values import Buffer

_GRIDS: Final = tuple("../" * up for up in range(6))
_DESCRIBED: Final[tuple[tuple[str, tuple[str, ...], frozenset[Format]], ...]] = (
    (r"(.+)\.data-\d{5}-of-\d{5}", (r"\1.index",), frozenset({"tensorflow-checkpoint"})),
    (r"(.+)\.bin", (r"\1.xml",), frozenset({"openvino"})),
    (r"(.+)(\.onnx)?[._](?:data|weights|bin)", (r"\1.onnx", r"\1"), frozenset({"onnx"})),
    (r"weight\.bin", ("../model.mlmodel", "../../model.mlmodel"), frozenset({"coreml"})),
    (r"[0-9a-f]{32}", ("../manifest.ocdbt",), frozenset({"array-store"})),
)
"""Name of the file, names of what may describe it, and the formats that do."""
_TEXTS: Final[tuple[tuple[str, tuple[str, ...], re.Pattern[bytes]], ...]] = (
    (r"(.+)\.bin", (r"\1.param",), re.compile(rb"7767517\r?\n\d+ \d+")),
    (r"(.+)\.tnnmodel", (r"\1.tnnproto",), re.compile(rb'"\d+ \d+ \d+ \d+ ?,?"')),
    (r"coremldata\.bin", ("model.mil", "../model.mil"), re.compile(rb"program\s*\([\d.]+\)")),
    (r"coremldata\.bin|.+\.weights", ("model.espresso.net",), re.compile(rb"\s*\{")),
    (r"\d+(?:\.\d+)*", tuple(f"{up}.zarray" for up in _GRIDS), re.compile(rb"\s*\{")),
    (r"\d+|c", tuple(f"{up}zarr.json" for up in _GRIDS), re.compile(rb"\s*\{")),
    (r"\d+", tuple(f"{up}attributes.json" for up in _GRIDS), re.compile(rb"\s*\{")),
    (r"\d+-\d+_\d+-\d+_\d+-\d+", ("../info",), re.compile(rb"\s*\{")),
)
"""The same with how the text starts: layers of ncnn and TNN, compiled CoreML, arrays in chunks."""
_CODED: Final = re.compile(rb'"(?:pickle|object|msgpack2?)"|"\|O"|\\u00', re.IGNORECASE)
"""What makes of the chunks of an array more than numbers."""


def described(found: Sniffed, data: Buffer, name: str, beside: Callable[[str], bytes | None]) -> Sniffed:
    """What content is that no rule recognised, when a file beside it is the graph that it belongs to.

    Args:
        found: what the content alone says.
        data: the content; when it is compressed, its first bytes must be nothing that is known.
        name: name of the file.
        beside: content of a file beside it or in a folder around it, by relative path.
    """
    if found.format != "unknown" and not (found.format == "compressed" and _bare(data)):
        return found
    leaf = name.replace("\\", "/").rsplit("/", 1)[-1]
    for pattern, partners, formats in _DESCRIBED:
        match = re.fullmatch(pattern, leaf)
        for partner in [match.expand(each) for each in partners] if match else []:
            if _is(beside(partner), formats):
                return Sniffed("raw-numbers", f"numbers that {partner} describes")
    graph = beside("model.onnx") or b""
    if leaf.encode() in graph and _is(graph, frozenset({"onnx"})):
        return Sniffed("raw-numbers", "numbers that model.onnx names")
    for pattern, partners, start in _TEXTS:
        match = re.fullmatch(pattern, leaf)
        for partner in [match.expand(each) for each in partners] if match else []:
            text = beside(partner)
            if text is not None and start.match(text) and not _CODED.search(text):
                return Sniffed("raw-numbers", f"numbers that {partner} describes")
    return found


def _is(content: bytes | None, formats: frozenset[Format]) -> bool:
    try:
        return bool(content) and sniff(content or b"").format in formats
    except FileDamaged:
        return False


def _bare(data: Buffer) -> bool:
    """Whether compressed content is nothing that is known, as far as its first bytes show."""
    codec = compression(bytes(data[: 1 << 16]))
    inner = first_bytes(data, codec, 4096) if codec else None
    try:
        return inner is not None and sniff(inner).format in {"unknown", "text", "json"}
    except FileDamaged:
        return False
