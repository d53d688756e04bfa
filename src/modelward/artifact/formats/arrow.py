"""Arrow files (Feather) and Parquet: columns of data, with one way to run code.

A column of pyarrow's `PyExtensionType` states its type as a pickle, which pyarrow before 14.0.1 loads when it
reads the schema (CVE-2023-47248). Everything else builds tables.
Source: Arrow columnar format 1.5, "IPC File Format"; Parquet 2.10, "File format"; pyarrow 14 `types.pxi`.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.reading import Inner

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_NAME: Final = b"arrow.py_extension_type"
_SCHEMA: Final = re.compile(rb"ARROW:schema(?=.{1,12}?([A-Za-z0-9+/]{16,}={0,2}))", re.DOTALL)
_PICKLE: Final = re.compile(rb"(....)(?=\x80[\x02-\x05])", re.DOTALL)
_LARGEST: Final = 1 << 26
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
