"""Names of members: whether extracting one would write outside the folder it is extracted to."""

from __future__ import annotations

import re
from typing import Final

_DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]|[\\/]{2}|[A-Za-z]:\.\.")


def escapes(name: str) -> bool:
    """Whether a name is absolute, names a drive or share, or leads above its root, on any system.

    Args:
        name: with slashes or backslashes; dots that stay inside (`a/../b`) are harmless.
    """
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        return True
    return _climbs(name.split("/")) or ("\\" in name and _climbs(re.split(r"[\\/]", name)))


def link_escapes(place: str, target: str) -> bool:
    """Whether a symbolic link at `place` leads out of the folder that it is extracted to."""
    out = target.startswith(("/", "\\")) or _DRIVE.match(target) is not None
    return out or escapes(f"{folder(place)}{target}")


def _climbs(parts: list[str]) -> bool:
    depth = 0
    for part in parts:
        if part == "..":
            depth -= 1
        elif part not in {"", "."}:
            depth += 1
        if depth < 0:
            return True
    return False


def folder(name: str) -> str:
    """The folder of a name with its closing slash, or "" when it stands at the top."""
    return name[: name.rfind("/") + 1]


def join(base: str, name: str) -> str | None:
    """A relative path seen from a folder, without dots; None when it leads out."""
    if name.startswith("/"):
        return None
    parts = [part for part in base.split("/") if part not in {"", "."}]
    for part in name.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)
