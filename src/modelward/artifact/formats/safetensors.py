"""Safetensors: a JSON header and tensors without gaps.

Loading builds arrays and nothing else, provided that the header is what the reference loader accepts; what it
refuses, other loaders may read differently.
Source: safetensors 0.5, README "Format" and `safetensors/src/tensor.rs` (`read_metadata`, `validate`).
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading
    from modelward.core.canonical import JSON

LONGEST: Final = 100_000_000
"""Longest header in bytes (`MAX_HEADER_SIZE`)."""
_BITS: Final = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
_FRAMEWORKS: Final = {"pt": "pytorch", "tf": "tensorflow", "flax": "flax", "np": "numpy", "mlx": "mlx"}


class _Tensor(msgspec.Struct):
    dtype: str
    shape: list[Annotated[int, msgspec.Meta(le=(1 << 63) - 1)]]
    data_offsets: tuple[int, int]


_HEADER: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENTRY: Final = msgspec.json.Decoder(_Tensor)
_METADATA: Final = msgspec.json.Decoder(dict[str, str])


def read(data: Buffer, into: Reading) -> None:
    """Read the header and compare every extent with the file."""
    if len(data) < 10:
        raise Malformed(f"{len(data)} bytes hold no header")
    size = int.from_bytes(data[:8], "little")
    if size > min(LONGEST, len(data) - 8):
        raise Malformed(f"a header of {size} bytes; the file leaves {len(data) - 8} and the format {LONGEST}")
    header = bytes(data[8 : 8 + size])
    before = len(into.events)
    entries = _entries(header, into)
    end = _extents(entries, into)
    if end != len(data) - 8 - size and len(into.events) == before:
        into.unproven(
            "safetensors.extent",
            f"the tensors end at byte {end} of the data, which has {len(data) - 8 - size}",
        )
    into.proven = True


def _entries(header: bytes, into: Reading) -> dict[str, _Tensor]:
    """The tensors by name; metadata goes to the facts."""
    try:
        raw = _HEADER.decode(header)
        metadata = raw.pop("__metadata__", None)
        into.spend(len(raw))
        entries = {name: _ENTRY.decode(value) for name, value in raw.items()}
        texts = _METADATA.decode(metadata) if metadata is not None else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the header is not of the format: {' '.join(str(error).split())[:200]}") from error
    if header[:1] != b"{":
        into.unproven("safetensors.header", "the header does not start with a brace")
    if (
        not header.isascii()
        or b"\\u" in header
        or any(
            header.count(b'"' + key + b'"') != len(entries) for key in (b"dtype", b"shape", b"data_offsets")
        )
    ):
        _repeated(header, into)
    _facts(entries, texts, into)
    return entries


def _repeated(header: bytes, into: Reading) -> None:
    """Keys that occur twice, of which loaders may take either; asked where counting cannot tell."""
    found: list[str] = []

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        made = dict(items)
        if len(made) != len(items):
            found.append(next(key for key, times in Counter(key for key, _ in items).items() if times > 1))
        return made

    try:
        json.loads(header, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the header is no JSON: {str(error)[:200]}") from error
    if found:
        into.unproven(
            "safetensors.repeated", f"the key {found[0][:80]!r} stands in the header more than once"
        )


def _extents(entries: dict[str, _Tensor], into: Reading) -> int:
    """Check shapes, types and places; the end of the last tensor in bytes."""
    spans: list[tuple[int, int, str]] = []
    for name, entry in entries.items():
        start, end = entry.data_offsets
        spans.append((start, end, name))
        bits = _BITS.get(entry.dtype)
        if bits is None:
            into.unproven("safetensors.dtype", f"{name[:80]!r} has the unknown type {entry.dtype[:40]!r}")
        elif min(entry.shape, default=0) < 0 or len(entry.shape) > 64:
            into.unproven("safetensors.shape", f"{name[:80]!r} has the shape {str(entry.shape)[:80]}")
        elif prod(entry.shape) * bits != (end - start) * 8:
            into.unproven(
                "safetensors.extent",
                f"{name[:80]!r} of {entry.dtype} and shape {str(entry.shape)[:80]} has {end - start} bytes",
            )
        if len(into.events) > 20:
            break
    spans.sort()
    if spans and spans[0][0] != 0:
        into.unproven("safetensors.hole", f"the first tensor starts at byte {spans[0][0]} of the data")
    for (_, end, name), (start, _, other) in pairwise(spans):
        if start != end:
            what, how = ("overlap", "overlaps") if start < end else ("hole", "leaves a hole before")
            into.unproven(f"safetensors.{what}", f"{name[:80]!r} {how} {other[:80]!r}")
            break
    return spans[-1][1] if spans else 0


def _facts(entries: dict[str, _Tensor], texts: dict[str, str], into: Reading) -> None:
    into.facts["tensors"] = len(entries)
    parameters = sum(prod(entry.shape) for entry in entries.values() if len(entry.shape) < 65)
    into.facts["parameters"] = max(0, min(parameters, (1 << 53) - 1))
    into.facts["dtypes"] = dict(sorted(Counter(entry.dtype[:40] for entry in entries.values()).items())[:50])
    if texts:
        shown: dict[str, JSON] = {key[:200]: value[:200] for key, value in list(texts.items())[:100]}
        into.facts["metadata"] = shown
    licence = next((texts[key] for key in ("license", "licence", "modelspec.license") if key in texts), None)
    if licence:
        into.facts["licence"] = licence[:200]
    if texts.get("format") in _FRAMEWORKS:
        into.facts["framework"] = _FRAMEWORKS[texts["format"]]
