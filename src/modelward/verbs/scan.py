"""The verb `scan`: what loading files can do, without loading them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from modelward.errors import FileDamaged, FileMissing
from modelward.verbs.scan_licences import LicencePolicy

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
        vulnerabilities: `online`, or the path of an OSV export, to compare pinned packages with.
        licences: which licences may be used; None accepts all.
        deep_secrets: look for secrets with the library detect-secrets as well.
    """

    jobs: int = 1
    hosts: frozenset[str] = frozenset()
    vulnerabilities: str | None = None
    licences: LicencePolicy | None = None
    deep_secrets: bool = False


class ScanTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table ``[scan]``: the flags of `scan`, and which licences may be used."""

    fail_on: Literal["dangerous", "unproven"] = "unproven"
    fail_on_finding: Literal["critical", "high", "medium", "low", "never"] = "high"
    baseline: str | None = None
    vulnerabilities: str | None = None
    licences: LicencePolicy | None = None
    deep_secrets: bool = False


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
        RemoteRefused: a URL leads to an address that must be named or cannot be read; or OSV cannot be asked.
        ExtraMissing: an option needs an extra that is not installed.
    """
    options = options or ScanOptions()
    return tuple(settle(list(scan_each(sources, options)), options))


def settle(reports: list[ArtifactReport], options: ScanOptions) -> list[ArtifactReport]:
    """Add to all reports what the options ask for: licences refused, known vulnerabilities, more secrets.

    Raises:
        ExtraMissing, FileMissing, FileDamaged, RemoteRefused: as `scan` does.
    """
    if options.deep_secrets:
        from modelward.verbs.scan_secrets import add_secrets

        reports = [add_secrets(report) for report in reports]
    if options.licences is not None:
        from modelward.verbs.scan_licences import judge_licences

        reports = [judge_licences(report, options.licences) for report in reports]
    if options.vulnerabilities is not None:
        from modelward.verbs.scan_vulnerabilities import add_vulnerabilities

        reports = add_vulnerabilities(reports, options.vulnerabilities)
    return reports


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
        from modelward.verbs.scan_files import files_below, inspect_all

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
