"""Canonical JSON: one byte string per value, so that a digest identifies what was recorded."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import rfc8785

JSON: TypeAlias = bool | int | float | str | list["JSON"] | dict[str, "JSON"] | None
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
