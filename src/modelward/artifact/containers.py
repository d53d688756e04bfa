"""Which bytes of a file are pickle streams, and what all of them together would do.

One corrupt member never ends the walk, and whatever was not read is listed.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, final

import msgspec

from modelward.artifact import compress, npy, skops
from modelward.artifact.events import Event
from modelward.artifact.format import TEXTUAL, Sniffed
from modelward.artifact.pickle.opcodes import VALID
from modelward.artifact.pickle.streams import scan
from modelward.artifact.sniff import PREFIX, compression, sniff
from modelward.artifact.zipread import Archive
from modelward.errors import FileDamaged

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.format import Format
    from modelward.artifact.pickle.judge import Loader
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Read
    from modelward.artifact.zipread import Member
    from modelward.core.canonical import JSON

_METHODS: Final = {8: "deflate", 12: "bz2"}
_TORCH: Final = frozenset({"torch-zip", "torchscript", "torch-package"})


class Limits(msgspec.Struct, frozen=True):
    """Budgets; what lies beyond them is reported as unproven.

    Attributes:
        depth: archives and compressed streams inside each other.
        member: bytes one member may decompress to.
        total: bytes all members together may decompress to.
        members: members of all archives together.
    """

    depth: int = 4
    member: int = 1 << 30
    total: int = 4 << 30
    members: int = 20_000


@final
class Collected:
    """What the walk of one file has found.

    Attributes:
        events: (member, event) in order.
        unread: sentences on what was not read.
        proven: content other than a pickle was proven harmless (a skops schema).
        contained: name -> format of each member that was recognised.
        harmless: names of the members whose own content was proven harmless.
        facts: what the content says about itself.
    """

    __slots__ = (
        "arrays", "beside", "contained", "events", "facts", "harmless", "limits", "members", "produced",
        "proven", "streams", "unread",
    )  # fmt: skip

    def __init__(self, limits: Limits, beside: Callable[[str], bytes | None] | None = None) -> None:
        self.limits = limits
        self.beside = beside
        self.events: list[tuple[str, Event]] = []
        self.unread: list[str] = []
        self.members = self.streams = self.arrays = self.produced = 0
        self.proven = False
        self.contained: dict[str, Format] = {}
        self.harmless: set[str] = set()
        self.facts: dict[str, JSON] = {}

    def add(self, member: str, rule: str, message: str, *, note: bool = False) -> None:
        """Record that something was not proven, or is only worth a note."""
        self.events.append((member, Event(rule, "note" if note else "unproven", message, -1)))

    def missed(self, member: str, message: str) -> None:
        """Record content that was not read and may hold code."""
        where = f"{member}: " if member else ""
        self.unread.append(where + message)
        self.add(member, "artifact.unread", message)


def recognise(data: Buffer, name: str) -> Sniffed:
    """What content is; a text is recognised by its name as well.

    Args:
        data: the whole content.
        name: name of the file or member.

    Raises:
        FileDamaged: it is empty, or truncated so that its format cannot be read at all.
    """
    found = sniff(data)
    if found.format in TEXTUAL:
        from modelward.artifact.around.kinds import refine

        return refine(found, name, bytes(data[:PREFIX]))
    return found


def collect(
    data: Buffer,
    found: Sniffed,
    limits: Limits,
    *,
    name: str = "",
    beside: Callable[[str], bytes | None] | None = None,
) -> Collected:
    """Walk everything in a file that loading could execute.

    Args:
        data: the whole content.
        found: what it is.
        limits: budgets.
        name: name of the file, for formats that are known by it.
        beside: content of a file beside it, by relative path.
    """
    into = Collected(limits, beside)
    _content(into, data, found, "", 0)
    _readers(into, data, found.format, ("", name), 0)
    if found.format not in {"zip", "npz", "skops", *_TORCH}:
        _appended_zip(into, data)
        if not into.streams:
            _second_look(into, data)
    return into


def _second_look(into: Collected, data: Buffer) -> None:
    """Content of another format that is also a pickle: `pickle.load` does not ask what a file looks like."""
    if data[0] not in VALID:
        return
    result = scan(data)
    broken = any(event.rule == "pickle.broken" for event in result.events)
    dangerous = [event for event in result.events if event.level == "dangerous"]
    if dangerous or not broken:
        into.add("", "artifact.polyglot", "the content is a pickle as well as what it looks like", note=True)
        into.events += [("", event) for event in (dangerous if broken else result.events)]
        into.streams += result.streams


def _appended_zip(into: Collected, data: Buffer) -> None:
    """A zip archive behind other content: readers that look from the end open that instead."""
    if data[max(0, len(data) - 22) : len(data)].find(b"PK\x05\x06") >= 0:
        archive = Archive(data)
        if archive.members:
            into.add(
                "",
                "zip.appended",
                "a zip archive is appended, which some loaders would open instead",
                note=True,
            )
            _zip(into, data, "torch-zip", "", 0)


def _content(into: Collected, data: Buffer, found: Sniffed, member: str, depth: int) -> None:
    kind = found.format
    if kind in {"pickle", "joblib", "torch-legacy"}:
        _pickle(
            into,
            data,
            member,
            loader="torch-legacy" if kind == "torch-legacy" else "pickle",
            joblib=kind == "joblib",
        )
    elif kind in {"joblib-compressed", "compressed", "csv-compressed"}:
        _compressed(into, data, member, depth)
    elif kind in {"zip", "npz", "skops", *_TORCH}:
        _zip(into, data, kind, member, depth)
    elif kind == "npy":
        _npy(into, data, member)
    elif kind == "tar":
        _tar(into, data, member, depth)
    elif kind == "unknown" and not member:
        into.missed(member, "the format is unknown, so what a loader would do is unknown")


def _readers(into: Collected, data: Buffer, kind: Format, named: tuple[str, str], depth: int) -> None:
    """Let the readers of a format look at it; `named` is the member and the name it goes by."""
    from modelward.artifact.formats.table import readers

    member, name = named
    for read in readers(kind):
        _apply(into, read, data, (member, name), depth)


def _apply(into: Collected, read: Read, data: Buffer, named: tuple[str, str], depth: int) -> None:
    from modelward.artifact.reading import Exhausted, Malformed, Reading

    member, name = named
    reading = Reading(name, beside=into.beside)
    try:
        read(data, reading)
    except Malformed as error:
        reading.missed(f"the content is damaged: {error}")
    except Exhausted:
        reading.missed("the content needs more steps than are taken")
    where = f"{member}: " if member else ""
    into.events += [(member, event) for event in reading.events]
    into.unread += [where + sentence for sentence in reading.unread]
    into.facts.update(reading.facts)
    if reading.proven:
        into.proven = True
        into.harmless.add(member)
    for inner in reading.inner:
        place = f"{member}/{inner.name}" if member else inner.name
        _nested(into, inner.content, place, depth + 1, inner.format)


def _pickle(
    into: Collected,
    data: Buffer,
    member: str,
    *,
    loader: Loader = "pickle",
    joblib: bool = False,
    start: int = 0,
) -> None:
    result = scan(data, loader=loader, joblib=joblib, start=start)
    into.events += [(member, event) for event in result.events]
    into.streams += result.streams
    into.arrays += result.arrays
    if result.streams:
        into.harmless.add(member)
    if result.dropped:
        into.add(member, "pickle.budget", f"{result.dropped} further findings were not kept", note=True)
    broken = any(event.rule == "pickle.broken" for event in result.events)
    if result.unread and not broken and loader != "torch-legacy":
        into.unread.append(
            f"{member + ': ' if member else ''}{result.unread} bytes after the last stream are no stream"
        )
    for index, inner in enumerate(result.embedded):
        name = f"{member}!storage{index}" if member else f"!storage{index}"
        _nested(into, inner, name, 1)


def _nested(into: Collected, data: Buffer, member: str, depth: int, kind: Format | None = None) -> None:
    """Content found inside other content."""
    if depth > into.limits.depth:
        into.missed(member, f"nested deeper than {into.limits.depth} levels")
        return
    try:
        found = Sniffed(kind, "by where it stands") if kind is not None else recognise(data, member)
    except FileDamaged as error:
        into.add(member, "artifact.damaged", str(error), note=not data)
        return
    into.contained[member] = found.format
    _content(into, data, found, member, depth)
    _readers(into, data, found.format, (member, member), depth)


def _compressed(into: Collected, data: Buffer, member: str, depth: int) -> None:
    codec = compression(bytes(data[:16]))
    if codec is None or not compress.readable(codec):
        into.missed(member, f"{codec or 'this'} compression cannot be read here")
        return
    if depth >= into.limits.depth:
        into.missed(member, f"compressed more than {into.limits.depth} times over")
        return
    content = _expand(into, data, codec, member)
    if content:
        _nested(into, content, f"{member}!{codec}" if member else f"!{codec}", depth + 1)


def _expand(into: Collected, data: Buffer, codec: str, member: str) -> bytes:
    room = min(into.limits.member, into.limits.total - into.produced)
    try:
        content, problem = compress.decompress(data, codec, room)
    except compress.TooLarge:
        into.missed(member, f"the content decompresses to more than {room} bytes")
        return b""
    into.produced += len(content)
    if problem is not None:
        into.missed(member, problem)
    return content


# --- zip ----------------------------------------------------------------------------------------------------


def _zip(into: Collected, data: Buffer, kind: str, prefix: str, depth: int) -> None:
    archive = Archive(data)
    for oddity in archive.oddities[:20]:
        into.add(prefix, "zip.oddity", oddity, note=True)
    if not archive.complete:
        into.missed(prefix, "not every member of the archive could be located")
    if depth >= into.limits.depth:
        into.missed(prefix, f"nested deeper than {into.limits.depth} levels")
        return
    for member in archive.members:
        into.members += 1
        if into.members > into.limits.members:
            into.missed(prefix, f"more than {into.limits.members} members")
            return
        name = f"{prefix}/{member.name}" if prefix else member.name
        _member(into, archive, member, (name, kind), depth)


def _member(into: Collected, archive: Archive, member: Member, named: tuple[str, str], depth: int) -> None:
    name, kind = named
    if member.size == 0:
        return
    if member.method == 0:
        head = archive.peek(member, 1 << 12)
    elif member.method in _METHODS:
        head = compress.first_bytes(archive.peek(member, 1 << 16), _METHODS[member.method], 1 << 12) or b""
    else:
        into.missed(name, f"zip compression method {member.method} cannot be read here")
        return
    lower = member.name.lower()
    wanted = lower.endswith((".pkl", ".pickle", ".npy", ".joblib", "schema.json")) or kind == "zip"
    if not wanted and not _plausible(head):
        return
    content = archive.stored(member)
    if member.method in _METHODS:
        content = _expand(into, content, _METHODS[member.method], name)
    if content and not member.hidden and zlib.crc32(content) != member.crc:
        into.add(
            name,
            "zip.crc",
            "the checksum is wrong: some readers refuse the member, others load it",
            note=True,
        )
    if kind == "skops" and lower.endswith("schema.json"):
        _skops(into, content, name)
    elif kind in _TORCH and lower.endswith(".pkl"):
        _pickle(into, content, name, loader="torch")
    elif wanted:
        _nested(into, content, name, depth + 1)
    elif content:
        _opportunistic(into, content, name, depth)


def _plausible(head: bytes) -> bool:
    """Whether a member that need not be a pickle starts as one, or as an archive or an object array."""
    if head[:2] in {b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}:
        return True
    return head.startswith(
        (
            b"\x93NUMPY",
            b"PK\x03\x04",
            b"\x1f\x8b",
            b"BZh",
            b"\xfd7zXZ",
            b"cos\n",
            b"cposix\n",
            b"c__builtin__\n",
            b"cbuiltins\n",
        )
    )


def _opportunistic(into: Collected, content: bytes, name: str, depth: int) -> None:
    """A member that no loader need unpickle: only what is complete, or dangerous, counts."""
    trial = Collected(into.limits, into.beside)
    _nested(trial, content, name, depth + 1)
    broken = any(
        event.rule in {"pickle.broken", "artifact.unread", "artifact.damaged"} for _, event in trial.events
    )
    dangerous = [pair for pair in trial.events if pair[1].level == "dangerous"]
    into.events += dangerous if broken else trial.events
    into.streams += trial.streams
    into.produced += trial.produced
    into.contained.update(trial.contained)
    into.harmless |= trial.harmless


def _skops(into: Collected, content: bytes, name: str) -> None:
    events = skops.judge(content)
    into.events += [(name, event) for event in events]
    into.proven = into.proven or not events


# --- npy, tar -----------------------------------------------------------------------------------------------


def _npy(into: Collected, data: Buffer, member: str) -> None:
    header = npy.header(data)
    if header is None:
        into.missed(member, "the header of the array cannot be read")
    elif header.objects:
        _pickle(into, data, member, start=header.end)


def _tar(into: Collected, data: Buffer, prefix: str, depth: int) -> None:
    import io
    import tarfile

    if depth >= into.limits.depth:
        into.missed(prefix, f"nested deeper than {into.limits.depth} levels")
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(bytes(data)), mode="r:") as archive:
            for entry in archive:
                into.members += 1
                name = f"{prefix}/{entry.name}" if prefix else entry.name
                if into.members > into.limits.members or entry.size > into.limits.member:
                    into.missed(name, "the archive exceeds the budget")
                    return
                file = archive.extractfile(entry) if entry.isreg() else None
                if file is None:
                    into.add(name, "tar.link", "a link or device in an archive", note=entry.isdir())
                elif entry.name == "pickle":
                    _pickle(into, file.read(), name, loader="torch-legacy")
                else:
                    _nested(into, file.read(), name, depth + 1)
    except (tarfile.TarError, OSError, ValueError) as error:
        into.missed(prefix, f"the tar archive is damaged: {error}")
