"""What a validation error says to a user: which value it is about, and what it could have been."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args, get_origin

import msgspec

_PLACE: Final = re.compile(r"`\$\.(\w+)")
_VALUE: Final = re.compile(r"Invalid enum value ('.*?'|\S+) - at")


def explained(error: msgspec.ValidationError, kind: type[msgspec.Struct]) -> str:
    """A sentence about a flat struct that could not be made.

        norm: 'l3' is none of linf, l2

    Args:
        error: as `msgspec.convert` raised it.
        kind: what was to be made.
    """
    said = str(error)
    place, value = _PLACE.search(said), _VALUE.match(said)
    if place is not None and value is not None:
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        words = _words(fields.get(place[1]))
        if words:
            return f"{place[1]}: {value[1]} is none of {', '.join(words)}"
    return said.replace(" - at `$.", ": ").replace("`", "")


def _words(annotation: object) -> list[str]:
    """What a field can be, where that is one of a few words, or several of them, or none."""
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for part in get_args(annotation) for word in _words(part)]
