"""Canonical JSON: one byte string per value, so that a digest identifies what was recorded."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    JSON: TypeAlias = bool | int | float | str | list["JSON"] | dict[str, "JSON"] | None
else:
    JSON = Any  # msgspec cannot resolve a recursive alias when it decodes
"""A value that JSON can hold. Numbers are finite; integers are below 2**53 in magnitude."""


def canonical(value: JSON) -> bytes:
    """Encode a value by RFC 8785 (JSON Canonicalization Scheme).

    Args:
        value: nested lists and string-keyed dicts of null, booleans, finite numbers and strings.

    Returns:
        UTF-8 bytes; equal values give equal bytes, whatever the order of keys.

    Raises:
        ValueError: a number is not finite or an integer does not fit in 2**53, a string holds a lone
            surrogate, or a value has another type.
    """
    import rfc8785  # costs start-up time that verification does not need

    return rfc8785.dumps(value)  # its errors are ValueErrors


def parse(text: bytes) -> JSON:
    """Decode JSON so that `canonical` gives the same bytes back.

    RFC 8785 writes a large whole float such as 1e16 without a point; read as an integer it would be outside
    the range that JSON numbers hold exactly, so it is read as the float it was.

    Raises:
        ValueError: it is not JSON, or not UTF-8.
    """
    value: JSON = json.loads(text, parse_int=_whole)
    return value


def digest(value: JSON) -> str:
    """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _whole(digits: str) -> int | float:
    value = int(digits)
    return value if abs(value) < 2**53 else float(digits)
