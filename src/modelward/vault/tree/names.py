"""Which paths may stand in a tree, and in which order."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from modelward.errors import PathUnsafe

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_PATH: Final = 4096
"""Bytes of a path in UTF-8, as Linux has it."""
DEEPEST: Final = 256
"""Folders within folders, at most: deeper ones cannot be made, walked or removed by everybody."""
_FOLDERS: Final = 1
"""Folders per file of a tree, at most, beyond the first half a million."""
_SPARED: Final = 1 << 19


def sorting_key(path: str) -> tuple[str, ...]:
    """Paths are ordered by their parts, and parts by code points."""
    return tuple(path.split("/"))


def increasing(keys: Iterable[tuple[object, ...]]) -> bool:
    """Whether each key comes after the one before it."""
    return all(before < after for before, after in pairwise(keys))


def check_name(path: str) -> None:
    """Check one path.

    Raises:
        PathUnsafe: it is absolute, empty, not UTF-8, too long or deep, leaves the tree, or reads otherwise
            elsewhere.
    """
    try:
        size = len(path.encode())
    except UnicodeEncodeError as error:
        raise PathUnsafe(f"{shown(path)}: the name is not UTF-8") from error
    if size > LONGEST_PATH:
        raise PathUnsafe(f"{shown(path)}: the path is {size} bytes long, more than {LONGEST_PATH}")
    if "\\" in path or "\0" in path:
        raise PathUnsafe(f"{shown(path)}: a backslash parts folders on another system; NUL ends a name")
    if path.count("/") > DEEPEST:
        raise PathUnsafe(f"{shown(path)}: lies more than {DEEPEST} folders deep")
    if any(part in {"", ".", ".."} for part in path.split("/")):
        raise PathUnsafe(f"{shown(path)}: is not relative to the tree")


def check_names(paths: Iterable[str]) -> None:
    """Check paths one by one and against each other, folders included.

    Raises:
        PathUnsafe: as `check_name`; a path stands twice, is a file and a folder, or two paths are one where
            case or the spelling of accents does not count; there are many more folders than files, so that a
            short list of long paths would take a hundred times its length in memory.
    """
    seen: dict[bytes, str] = {}  # number of a folder, and a folded part in it: the first path of this
    folders: dict[bytes, int] = {}  # the numbers of those that are folders themselves
    for files, path in enumerate(paths):
        check_name(path)
        if len(seen) > _SPARED + (_FOLDERS + 1) * files:
            raise PathUnsafe(f"{shown(path)}: is one of too few files for the {len(seen):,} names so far")
        above, end, parts = 0, 0, path.split("/")
        for left, part in enumerate(parts, 1 - len(parts)):
            key = f"{above}/{fold(part)}".encode()  # less than the text, where one character is a wide one
            end += len(part) + 1
            if key not in seen:
                seen[key] = path
                if left:
                    folders[key] = len(seen)
            elif not left or not seen[key].startswith(path[:end]):
                raise PathUnsafe(f"{shown(path)} and {shown(seen[key])} may name one file")
            above = folders.get(key, 0)


def fold(path: str) -> str:
    """What is equal for two names that a file system may take for one.

    Source: Unicode Standard, section 3.13, canonical caseless matching (D145).
    """
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def shown(path: str) -> str:
    """A path for a sentence: no control characters, no surrogates, not too long."""
    return ascii(path[:200])[1:-1] if not path.isprintable() else path[:200]
