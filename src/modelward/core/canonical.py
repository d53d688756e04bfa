"""Canonical JSON: one byte string per value, so that a digest identifies what was recorded."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeAlias

import rfc8785

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
    return rfc8785.dumps(value)  # its errors are ValueErrors


def digest(value: JSON) -> str:
    """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value)).hexdigest()
