"""Scan what is behind a URL: by ranges where the format allows it, else from a temporary copy."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

import msgspec

from modelward.artifact.collected import Limits
from modelward.artifact.events import Event
from modelward.artifact.finding import Finding, Location
from modelward.artifact.remote import hub
from modelward.artifact.remote.client import Client
from modelward.artifact.remote.ranges import BLOCK, RangedFile
from modelward.artifact.verdict import ArtifactReport, Coverage, inspect, inspect_bytes
from modelward.errors import FileMissing, InputError, RemoteRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

LONGEST: Final = 64 << 30
"""Largest file that is downloaded, in bytes."""
_PIECE: Final = 64 * BLOCK
_SMALL: Final = 4 * BLOCK
"""Files up to this size are read whole: a range would save nothing."""
_BESIDE: Final = 16 << 20


class _Expected(msgspec.Struct, frozen=True):
    """What a hub says the content is: `sha256`, or git's `sha1` of a blob; "" when it says nothing."""

    sha256: str = ""
    blob: str = ""


def inspect_remote(source: str, hosts: AbstractSet[str]) -> Iterator[ArtifactReport]:
    """Reports on a URL, or on every file of a hub's repository.

    Args:
        source: `http://`, `https://` or `hf://`.
        hosts: hosts that may be asked although their address is not public.

    Raises:
        RemoteRefused: a URL must not be asked, or does not answer.
        FileMissing: the repository has no such file.
    """
    if not source.startswith("hf://"):
        with closing(Client(hosts)) as client:
            yield _inspect(client, source, source, lambda _: None)
        return
    repository = hub.parse(source)
    with closing(Client(hosts, hub.token(), hub.home())) as client:
        yield from _inspect_hub(client, source, repository)


def _inspect_hub(client: Client, source: str, repository: hub.Repository) -> Iterator[ArtifactReport]:
    found = hub.listing(client, repository)
    files = {listed.name: listed for listed in found.siblings}
    wanted = [
        name for name in files if not repository.path or PurePosixPath(name).is_relative_to(repository.path)
    ]
    if not wanted:
        raise FileMissing(f"{source}: the repository has no such file")
    for name in sorted(wanted):
        yield _hub_file(client, repository, found.sha, files[name], files)


def _hub_file(
    client: Client,
    repository: hub.Repository,
    commit: str,
    listed: hub.Listed,
    files: dict[str, hub.Listed],
) -> ArtifactReport:
    shown = f"hf://{repository.name}@{commit[:12]}/{listed.name}"

    def beside(name: str) -> bytes | None:
        path = str(PurePosixPath(listed.name).parent / name).removeprefix("./")
        if path not in files or (files[path].size or 0) > _BESIDE:
            return None
        return bytes(RangedFile(client, hub.address(repository, commit, path), _BESIDE))

    expected = _Expected(listed.lfs.sha256 if listed.lfs else "", "" if listed.lfs else listed.blob)
    try:
        return _inspect(client, hub.address(repository, commit, listed.name), shown, beside, expected)
    except InputError as error:
        finding = Finding("file.unreadable", "medium", str(error), Location("", None), level="unproven")
        return ArtifactReport(
            shown, "unknown", "error", Coverage(0, 0, 0, 0, ("the whole file",)), (finding,)
        )


def _inspect(
    client: Client,
    url: str,
    shown: str,
    beside: Callable[[str], bytes | None],
    expected: _Expected | None = None,
) -> ArtifactReport:
    file = RangedFile(client, url, LONGEST)
    if not len(file):
        raise FileMissing(f"{shown}: there is nothing")
    expected = expected or _Expected(_linked(file))
    name = PurePosixPath(urlsplit(url).path).name or shown
    if _by_range(file) and len(file) > _SMALL:
        before = client.received
        report = inspect_bytes(cast("bytes", file), name, beside=beside, limits=Limits(second=BLOCK))
        read = client.received - before + min(len(file), 2 * BLOCK)
        what = f"{read} of {len(file)} bytes were read"
        asked = ", so the hub's digest was not compared" if expected.sha256 or expected.blob else ""
        event = Event("remote.ranges", "note", what + asked, -1)
        return _with(report, shown, event)
    with tempfile.TemporaryDirectory(prefix="modelward-") as folder:
        path = Path(folder, "content")
        sha256, blob = _download(file, path)
        report = msgspec.structs.replace(_inspect_copy(path, name, beside), path=shown)
    if (expected.sha256 and expected.sha256 != sha256) or (expected.blob and expected.blob != blob):
        event = Event(
            "remote.digest", "unproven", "the content is not what the hub says: its digest is another", -1
        )
        return _with(report, shown, event)
    return report


def _inspect_copy(path: Path, name: str, beside: Callable[[str], bytes | None]) -> ArtifactReport:
    """A small copy is inspected under its own name, which texts are recognised by."""
    if path.stat().st_size <= _BESIDE:
        return inspect_bytes(path.read_bytes(), name, beside=beside)
    return inspect(path)


def _by_range(file: RangedFile) -> bool:
    """Formats whose readers look at a few places of a large file."""
    head = file.head[:16]
    return not file.whole and (
        head.startswith((b"PK\x03\x04", b"GGUF")) or (head[8:9] == b"{" and head[4:8] == bytes(4))
    )


def _download(file: RangedFile, path: Path) -> tuple[str, str]:
    """Copy the whole content to a file; its SHA-256, and git's SHA-1 of it as a blob."""
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(b"blob %d\0" % len(file), usedforsecurity=False)
    if len(file) > LONGEST:
        raise RemoteRefused(f"the file has {len(file)} bytes; at most {LONGEST} are downloaded")
    with path.open("wb") as stream:
        for start in range(0, len(file), _PIECE):
            piece = file.read_once(start, min(start + _PIECE, len(file)))
            sha256.update(piece)
            blob.update(piece)
            stream.write(piece)
    return sha256.hexdigest(), blob.hexdigest()


def _linked(file: RangedFile) -> str:
    """The digest that a hub sends with a file of its large-file store."""
    mark = file.headers.get("X-Linked-Etag", "").strip('"')
    return mark if len(mark) == 64 else ""


def _with(report: ArtifactReport, shown: str, event: Event) -> ArtifactReport:
    level = event.level
    finding = Finding(
        event.rule,
        "medium" if level == "unproven" else "info",
        event.message,
        Location("", None),
        level=level,
    )
    worse = level == "unproven" and report.verdict != "dangerous"
    return msgspec.structs.replace(
        report,
        path=shown,
        verdict="unproven" if worse else report.verdict,
        findings=(*report.findings, finding),
    )
