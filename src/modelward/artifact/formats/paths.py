"""Paths that a model names, and whether they stay beside it."""

from __future__ import annotations

import re
from typing import Final

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_DRIVE: Final = re.compile(r"[A-Za-z]:")


def escapes(path: str) -> str | None:
    """Why a path leads out of the folder of the file that names it, or None when it stays inside.

    A backslash separates on one system and is part of a name on another; the worse reading counts.
    """
    if "\0" in path:
        return "holds a zero byte"
    if _SCHEME.match(path):
        return "is a URL"
    if path.startswith(("/", "\\")) or _DRIVE.match(path):
        return "is absolute"
    if path.startswith("~"):
        return "starts in a home folder"
    if ".." in re.split(r"[/\\]", path):
        return "leads out of the folder"
    return None
