"""TOML files that a user writes, decoded strictly into values."""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, TypeVar, get_args, get_type_hints

import msgspec

from modelward.core.files import read_at_most
from modelward.errors import ConfigInvalid

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST: Final = 1 << 20
_T = TypeVar("_T", bound=msgspec.Struct)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<key>.*?)`(?: - at `\$\.?(?P<where>.*)`)?")


def decode(path: Path, kind: type[_T]) -> _T:
    """Read a file of at most 1 MiB.

    Raises:
        FileMissing: it cannot be read.
        ConfigInvalid: it is not TOML, has an unknown key (the nearest known one is named) or a bad value.
    """
    text = read_at_most(path, _LARGEST, ConfigInvalid(f"{path}: is longer than {_LARGEST:,} bytes"))
    try:
        content = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise ConfigInvalid(f"{path}: is not TOML ({str(error)[:200]})") from error
    try:
        return msgspec.convert(content, kind)
    except (msgspec.ValidationError, OverflowError) as error:
        raise ConfigInvalid(f"{path}: {_explained(str(error), kind)}") from error


def _explained(message: str, kind: type[msgspec.Struct]) -> str:
    unknown = _UNKNOWN.match(message)
    if unknown is None:
        message = message[:300]  # keys of the file stand in it, of any length
        return message.replace(" - at `$.", " (at `").replace(" - at `$", " (at `") + (
            ")" if " - at `$" in message else ""
        )
    key, where = unknown["key"][:80], (unknown["where"] or "")[:80]
    known = _keys(kind, where)
    near = get_close_matches(key, known, 1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
    return f"unknown key {key!r}{f' in [{where}]' if where else ''}{hint}"


def _keys(kind: type[msgspec.Struct], where: str) -> list[str]:
    """The keys of the table at a place; places are written like ``require[0]``."""
    for part in re.findall(r"[\w-]+", where):
        hints = get_type_hints(kind)
        names = {field.encode_name: field.name for field in msgspec.structs.fields(kind)}
        kind = (_table(hints[names[part]]) if part in names else None) or kind
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def _table(hint: object) -> type[msgspec.Struct] | None:
    """The struct in an annotation, also in a tuple or beside null."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    return next((found for part in get_args(hint) if (found := _table(part)) is not None), None)
