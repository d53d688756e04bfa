"""Arrow files (Feather), Arrow streams and Parquet: columns of data, with one way to run code.

A column of pyarrow's `PyExtensionType` states its type as a pickle, which pyarrow before 14.0.1 loads when it
reads the schema (CVE-2023-47248). Everything else builds tables.
Source: Arrow columnar format 1.5, "IPC File Format", "IPC Streaming Format", Message.fbs;
Parquet 2.10, "File format"; pyarrow 14 `types.pxi`.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.formats.flatbuffer import Flat
from modelward.artifact.reading import Exhausted, Inner, Malformed, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.pickle.values import Buffer

_NAME: Final = b"arrow.py_extension_type"
_SCHEMA: Final = re.compile(rb"ARROW:schema(?=.{1,12}?([A-Za-z0-9+/]{16,}={0,2}))", re.DOTALL)
_PICKLE: Final = re.compile(rb"(....)(?=\x80[\x02-\x05])", re.DOTALL)
_LARGEST: Final = 1 << 26
_CONTINUES: Final = b"\xff\xff\xff\xff"
"""What each message of a stream begins with, before the size of its description."""
_SCHEMA_KIND: Final = 1
"""MessageHeader.Schema, which the first message of a stream is and no other."""
_VERSIONS: Final = range(5)
"""MetadataVersion: V1 to V5."""
_NEAR: Final = 1 << 20
"""Bytes at the start of an Arrow file in which its other schema stands."""


def read(data: Buffer, into: Reading) -> None:
    """Look at the schema of either format."""
    size = len(data)
    if bytes(data[:4]) == b"PAR1":
        footer = int.from_bytes(data[size - 8 : size - 4], "little")
        if data[size - 4 :] == b"PARE":
            into.missed("the footer is encrypted")
        texts = _parquet(_footer(data, size - 8, footer, into))
    elif bytes(data[:4]) == _CONTINUES:
        texts = list(_stream(data, into))
    else:
        footer = int.from_bytes(data[size - 10 : size - 6], "little")
        texts = [_footer(data, size - 10, footer, into), bytes(data[: min(size, _NEAR)])]
    for text in texts:
        if _NAME in text:
            into.unproven(
                "arrow.extension", "a column's type is a pickle, which old releases of pyarrow load"
            )
            _pickles(text, into)
            return


def starts(data: Buffer) -> bool:
    """Whether the content starts with the schema of a stream."""
    try:
        end, kind, body = _message(data, 0, Reading())
    except (Malformed, Exhausted):
        return False
    return kind == _SCHEMA_KIND and body == 0 and end > 8


def _stream(data: Buffer, into: Reading) -> Iterator[bytes]:
    """The descriptions of all messages; the numbers between them are passed over."""
    pos, schemas = 0, 0
    while pos < len(data) and bytes(data[pos : pos + 8]) != _CONTINUES + b"\0\0\0\0":
        end, kind, body = _message(data, pos, into)
        schemas += kind == _SCHEMA_KIND
        if schemas == 1:
            yield bytes(data[pos + 8 : end])
        pos = end + body
    if schemas > 1 or pos + 8 < len(data):
        into.missed("behind the end of the stream there is more, which another reader may take")


def _message(data: Buffer, pos: int, into: Reading) -> tuple[int, int, int]:
    """The end of the description of a message, its kind, and the size of the numbers behind it.

    Raises:
        Malformed: it is no message, or does not fit.
    """
    size = int.from_bytes(data[pos + 4 : pos + 8], "little")
    start, end = pos + 8, pos + 8 + size
    if bytes(data[pos : pos + 4]) != _CONTINUES or not 16 <= size <= min(_LARGEST, len(data) - start):
        raise Malformed(f"the message at offset {pos} has a description of {size} bytes")
    root = Flat(data, into, start=start, end=end).root()
    version, kind, body = root.number(0, "h"), root.number(1, "B"), root.number(3, "q")
    if version not in _VERSIONS or not 1 <= kind <= 5 or not 0 <= body <= len(data) - end:
        raise Malformed(f"the message at offset {pos} has version {version}, kind {kind} and {body} bytes")
    return end, kind, body


def _footer(data: Buffer, end: int, size: int, into: Reading) -> bytes:
    """The description of the columns, which stands before the end."""
    if size > _LARGEST:
        into.missed(f"the footer has {size} bytes, of which {_LARGEST} are read")
    return bytes(data[max(4, end - min(size, _LARGEST)) : max(4, end)])


def _parquet(footer: bytes) -> list[bytes]:
    """The Arrow schemas in the metadata of a Parquet file, and the metadata."""
    texts = [footer]
    for found in _SCHEMA.finditer(footer):
        try:
            texts.append(base64.b64decode(found[1][: len(found[1]) // 4 * 4]))
        except binascii.Error:
            continue
    return texts


def _pickles(text: bytes, into: Reading) -> None:
    """Pickles in a schema are texts with their length before them."""
    for at, found in enumerate(_PICKLE.finditer(text)):
        size = int.from_bytes(found[1], "little")
        if 2 < size <= len(text) - found.end() and at < 100:
            into.inner.append(Inner(f"type{at}", text[found.end() : found.end() + size], "pickle"))
