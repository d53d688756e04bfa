"""Names of members: whether extracting one would write outside the folder it is extracted to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from collections.abc import Iterable

_STEPS: Final = 1_000
"""Most parts of a name that are followed, those of the links on its way among them."""
_DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]|[\\/]{2}|[A-Za-z]:\.\.")


def leads_out(name: str) -> bool:
    """Whether a name is absolute, names a drive or share, or leads above its root, on any system.

    Args:
        name: with slashes or backslashes; dots that stay inside (`a/../b`) are harmless.
    """
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        return True
    return _climbs(name.split("/")) or ("\\" in name and _climbs(re.split(r"[\\/]", name)))


def link_leads_out(place: str, target: str) -> bool:
    """Whether a symbolic link at `place` leads out of the folder that it is extracted to."""
    out = target.startswith(("/", "\\")) or _DRIVE.match(target) is not None
    return out or leads_out(f"{folder(place)}{target}")


@final
class Links:
    """The symbolic links of an archive, through which the names of its other members are followed."""

    __slots__ = ("_targets",)

    def __init__(self, targets: Iterable[tuple[str, str]] = ()) -> None:
        self._targets = {"/".join(_parts(place)): target for place, target in targets}

    def lead_out(self, name: str) -> bool:
        """Whether a name that looks harmless leads above the root through the links on its way."""
        if not self._targets:
            return False
        todo, place = _parts(name)[::-1], list[str]()
        for _ in range(_STEPS):
            if not todo:
                return False
            part = todo.pop()
            if part == "..":
                if not place:
                    return True
                place.pop()
                continue
            place.append(part)
            target = self._targets.get("/".join(place))
            if target is not None:
                if target.startswith(("/", "\\")) or _DRIVE.match(target):
                    return True
                place.pop()
                todo += _parts(target)[::-1]
        return False  # a circle, which no system follows


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in {"", "."}]


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
