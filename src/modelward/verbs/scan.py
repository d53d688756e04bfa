"""The verb `scan`: what loading files can do, without loading them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelward.errors import FileDamaged, FileMissing
from modelward.verbs.scan_files import files_below, inspect_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelward.artifact.verdict import ArtifactReport

REMOTE = ("http://", "https://", "hf://")
"""What a source that is no path starts with."""


class ScanOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to scan.

    Attributes:
        jobs: processes for the files of folders.
        hosts: hosts that may be asked although their address is private, loopback or link-local.
    """

    jobs: int = 1
    hosts: frozenset[str] = frozenset()


def scan(*sources: str | Path, options: ScanOptions | None = None) -> tuple[ArtifactReport, ...]:
    """Inspect files, all files below folders, standard input (`-`), and files behind URLs.

    Args:
        sources: paths; `-`; `https://...`, which is read by ranges where that is enough; `hf://owner/name`,
            optionally followed by `@revision` and `/path`.
        options: how.

    Returns:
        one report per file, in the order of the sources, files of a folder sorted by path.

    Raises:
        FileMissing: a path does not exist, or a folder holds no file.
        FileDamaged: a named file is empty or truncated beyond recognition.
        RemoteRefused: a URL leads to an address that must be named, or cannot be read.
    """
    return tuple(scan_each(sources, options or ScanOptions()))


def scan_each(sources: Sequence[str | Path], options: ScanOptions) -> Iterator[ArtifactReport]:
    """The same, one report at a time; the next files are read while the caller works on one."""
    for source in sources:
        if str(source) == "-":
            yield _standard_input()
        elif str(source).startswith(REMOTE):
            from modelward.verbs.scan_remote import inspect_remote

            yield from inspect_remote(str(source), options.hosts)
        else:
            yield from _scan_path(Path(source), options.jobs)


def _scan_path(path: Path, jobs: int) -> Iterator[ArtifactReport]:
    from modelward.artifact.verdict import inspect

    if path.is_dir():
        found = False
        for report in inspect_all(files_below(path), jobs):
            found = True
            yield report
        if not found:
            raise FileMissing(f"{path}: holds no file")
    elif path.is_file():
        yield inspect(path)
    elif path.exists():
        raise FileMissing(f"{path}: is neither a file nor a folder")
    else:
        raise FileMissing(f"{path}: there is no such file")


def _standard_input() -> ArtifactReport:
    """Standard input goes to a file first: archives are read from their end."""
    import shutil
    import tempfile

    from modelward.artifact.verdict import inspect

    with tempfile.TemporaryDirectory(prefix="modelward-") as folder:
        path = Path(folder, "input")
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        try:
            return msgspec.structs.replace(inspect(path), path="-")
        except FileDamaged as error:
            raise FileDamaged(str(error).replace(str(path), "standard input")) from error
