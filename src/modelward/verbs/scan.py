"""The verb `scan`: what loading files can do, without loading them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelward.artifact.finding import Finding, Location
from modelward.artifact.verdict import ArtifactReport, Coverage, inspect
from modelward.errors import FileMissing, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def scan(*paths: str | Path) -> tuple[ArtifactReport, ...]:
    """Inspect files, and all files below folders.

    Raises:
        FileMissing: a path does not exist, or a folder holds no file.
    """
    return tuple(scan_each([Path(path) for path in paths]))


def scan_each(paths: Sequence[Path]) -> Iterator[ArtifactReport]:
    """The same, one report at a time."""
    for path in paths:
        if path.is_dir():
            # A link can lead out of the folder; what it points to is scanned where it lies.
            files = [p for p in sorted(path.rglob("*")) if p.is_file() and not p.is_symlink()]
            if not files:
                raise FileMissing(f"{path}: holds no file")
            yield from map(_inspect_member, files)
        elif path.is_file():
            yield inspect(path)
        elif path.exists():
            raise FileMissing(f"{path}: is neither a file nor a folder")
        else:
            raise FileMissing(f"{path}: there is no such file")


def _inspect_member(path: Path) -> ArtifactReport:
    """One bad file among many is reported and never ends the scan."""
    try:
        return inspect(path)
    except InputError as error:
        finding = Finding("file.unreadable", "medium", str(error), Location("", None))
        nothing = Coverage(0, 0, 0, 0, ("the whole file",))
        return ArtifactReport(str(path), "unknown", "error", nothing, (finding,))
