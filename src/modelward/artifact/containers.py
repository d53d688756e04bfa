"""What a file holds: its content, what is nested in it, and what all of it together would do when loaded.

One corrupt member never ends the walk, and whatever was not read is listed. Zip and tar archives are walked
by `zips.py` and `tars.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact import compress, npy
from modelward.artifact.collected import Collected, Limits
from modelward.artifact.format import AROUND, PASSIVE, TEXTUAL, Sniffed
from modelward.artifact.formats.hdf5.store import behind_user_block
from modelward.artifact.pickle.opcodes import VALID
from modelward.artifact.pickle.streams import scan
from modelward.artifact.signs.hidden import GRAPHS, within
from modelward.artifact.sniff import PREFIX, compression, credible, sniff
from modelward.artifact.tarread import is_header
from modelward.errors import FileDamaged

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.format import Format
    from modelward.artifact.pickle.judge import Loader
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Read

__all__ = ["Collected", "Limits", "collect", "expand", "nested", "pickled", "recognise"]

_ARRAYS: Final = 10_000
_COMMENT: Final = 22 + (1 << 16)
_TAIL: Final = 1 << 20
_STARTS: Final = 64
_STREAM: Final = re.compile(rb"\x80[\x02-\x05](?=[\x28-\x95])|(?<=[\0\n])c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n")
"""Bytes behind a complete pickle that are searched, and starts of further streams that are walked there."""
_SERVED: Final = re.compile(r"(?:^|[/!])code/inference\.py$")
"""Member of an archive that a model server imports."""
_HUB: Final = re.compile(r"(?:^|[/!\\])hubconf\.py$")
"""File of a folder or an archive that torch.hub imports."""
ZIPS: Final[frozenset[Format]] = frozenset(
    (
        "zip", "npz", "skops", "torch-zip", "torchscript", "torch-package", "torch-export", "mar", "keras",
        "coreml",
    )
)  # fmt: skip
"""Formats that may be zip archives; those that may be something else too are told apart by their start."""
TARS: Final[frozenset[Format]] = frozenset(("tar", "nemo"))
_PICKLED: Final[frozenset[Format]] = frozenset(("pickle", "joblib", "torch-legacy"))
_LOADED: Final[frozenset[Format]] = frozenset(
    ("skops", "mar", "torch-package", "torch-export", "torchscript")
)
"""Zip archives that loaders act on beyond what their members are by themselves."""
_WRAPPING: Final[frozenset[Format]] = frozenset(
    (
        "zip", "npz", "torch-zip", "tar", "7z", "compressed", "joblib-compressed", "csv-compressed", "pickle",
        "joblib", "torch-legacy",
    )
)  # fmt: skip
"""Formats that are proven by what they hold."""


def recognise(data: Buffer, name: str) -> Sniffed:
    """What content is; a text is recognised by its name as well.

    Args:
        data: the whole content.
        name: name of the file or member.

    Raises:
        FileDamaged: it is empty, or truncated so that its format cannot be read at all.
    """
    try:
        found = sniff(data)
    except FileDamaged:
        if not _local_members(data):
            raise
        return Sniffed("zip", "local headers of a zip archive without a directory")
    head = bytes(data[:PREFIX])
    if found.format == "unknown":
        from modelward.artifact import encoding

        found = encoding.text(data, head) or found
    if found.format in TEXTUAL:
        from modelward.artifact.around.kinds import refine

        return refine(found, name, head)
    return found


def _local_members(data: Buffer) -> bool:
    """Whether a zip archive without a directory holds whole members, which readers of local headers see."""
    if data[:4] != b"PK\x03\x04":
        return False
    from modelward.artifact.zipread import Archive

    archive = Archive(data)
    whole = any(0 < member.size <= len(data) - member.start for member in archive.members)
    return whole and not archive.directories


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
    _also(into, data, found.format, ("", name), 0)
    return into


def _also(into: Collected, data: Buffer, kind: Format, named: tuple[str, str], depth: int) -> None:
    """What other loaders make of the same content: they look from the end, or do not ask what it is."""
    if _is_zip(data, kind):
        _other_archives(into, data, kind, named, depth)
    else:
        _appended_zip(into, data, named, depth, usual=kind == "tflite" or _is_tar(data, kind))
    if not _is_tar(data, kind) and is_header(bytes(data[:512])):
        from modelward.artifact import tars

        into.add(named[0], "tar.polyglot", "the content is a tar archive as well as what it looks like")
        tars.walk(into, data, "tar", named[0], depth)
    if kind != "hdf5" and behind_user_block(data, b""):
        from modelward.artifact.formats.hdf5 import reader

        _apply(into, reader.read, data, named, depth)
    if kind not in GRAPHS and (graph := within(data)) is not None:
        message = f"the content is {graph.format} as well as what it looks like"
        into.note(named[0], "artifact.polyglot", message)
        _readers(into, data, graph.format, named, depth)
    if kind not in _PICKLED and data[:2] != b"PK":
        _second_look(into, data, named[0])


def _other_archives(into: Collected, data: Buffer, kind: Format, named: tuple[str, str], depth: int) -> None:
    """What other loaders take the same zip archive for."""
    from modelward.artifact.signs.archives import zip_kinds
    from modelward.artifact.zipread import Archive

    for other in zip_kinds(Archive(data)):
        if other.format in _LOADED and other.format != kind:
            into.note(named[0], "artifact.polyglot", f"to another loader the archive is {other.format}")
            _readers(into, data, other.format, named, depth)


def _is_zip(data: Buffer, kind: Format) -> bool:
    return kind in ZIPS and (kind not in {"keras", "coreml"} or data[:2] == b"PK") and not _is_tar(data, kind)


def _is_tar(data: Buffer, kind: Format) -> bool:
    return kind in TARS or (kind == "mar" and is_header(bytes(data[:512])))


def _second_look(into: Collected, data: Buffer, member: str) -> None:
    """Content of another format that is also a pickle: `pickle.load` does not ask what a file looks like."""
    if data[0] not in VALID:
        return
    if into.limits.second is not None:
        data = bytes(data[: into.limits.second])
    result = scan(data, joblib=True)
    broken = any(event.rule == "pickle.broken" for event in result.events)
    dangerous = [event for event in result.events if credible(data, [event])]
    if dangerous or not broken:
        into.note(member, "artifact.polyglot", "the content is a pickle as well as what it looks like")
        into.events += [(member, event) for event in (dangerous if broken else result.events)]
        into.streams += result.streams


def _appended_zip(into: Collected, data: Buffer, named: tuple[str, str], depth: int, *, usual: bool) -> None:
    """A zip archive behind other content, of which the end may be cut or padded: some loaders open it."""
    tail = bytes(data[max(0, len(data) - _COMMENT) : len(data)])
    if b"PK\x05\x06" not in tail:
        return
    from modelward.artifact import zips
    from modelward.artifact.signs.archives import zip_kind
    from modelward.artifact.zipread import Archive

    archive = Archive(data)
    if archive.members:
        member, _ = named
        message = "a zip archive is appended, which some loaders open instead"
        into.add(member, "zip.appended", message, level="note" if usual else "unproven")
        kind = zip_kind(archive).format
        zips.walk(into, archive, kind if kind in ZIPS else "torch-zip", member, depth)
        _readers(into, data, kind, named, depth)


def _content(into: Collected, data: Buffer, found: Sniffed, member: str, depth: int) -> None:
    kind = found.format
    if kind in _PICKLED:
        loader: Loader = "torch-legacy" if kind == "torch-legacy" else "pickle"
        pickled(into, data, member, loader=loader, joblib=kind == "joblib")
    elif kind in {"joblib-compressed", "compressed", "csv-compressed"}:
        _compressed(into, data, member, depth)
    elif _is_zip(data, kind):
        from modelward.artifact import zips
        from modelward.artifact.zipread import Archive

        zips.walk(into, Archive(data), kind, member, depth)
    elif _is_tar(data, kind):
        from modelward.artifact import tars

        tars.walk(into, data, kind, member, depth)
    elif kind == "7z":
        from modelward.artifact import sevens

        sevens.walk(into, data, member, depth)
    elif kind == "npy":
        _npy(into, data, member)
    elif kind == "unknown":
        if member:
            into.note(member, "artifact.unknown-member", "no rule recognises the content of this member")
        else:
            into.missed(member, "the format is unknown, so what a loader would do is unknown")


def _readers(into: Collected, data: Buffer, kind: Format, named: tuple[str, str], depth: int) -> None:
    """Let the readers of a format look at it; `named` is the member and the name it goes by."""
    from modelward.artifact.formats.table import readers

    member, name = named
    if kind in TEXTUAL and _wide(into, data, named, depth):
        return
    for read in readers(kind):
        _apply(into, read, data, (member, name), depth)
    if kind == "python" and _SERVED.search(member):
        from modelward.artifact.formats import shipped

        _apply(into, shipped.served, data, (member, name), depth)
    if kind == "python" and _HUB.search(member or name):
        from modelward.artifact.formats import torch_hub

        _apply(into, torch_hub.read, data, (member, name), depth)
    if kind != "model-json" and _keras_too(data):
        from modelward.artifact.formats import keras_json

        _apply(into, keras_json.read, data, (member, name), depth)


def _wide(into: Collected, data: Buffer, named: tuple[str, str], depth: int) -> bool:
    """Text of two or four bytes a character is read in UTF-8 instead."""
    from modelward.artifact import encoding

    name = encoding.wide(data) if b"\0" in data[:4096] else None
    if name is None:
        return False
    inner = f"{named[0]}!utf-8"
    if len(data) > encoding.LARGEST:
        into.missed(named[0], f"{len(data)} bytes in {name}; {encoding.LARGEST} are read")
    else:
        content = encoding.narrowed(data, name)
        kind = recognise(content, named[1]).format if content else None
        nested(into, content, inner, depth + 1, kind)
    return True


def _keras_too(data: Buffer) -> bool:
    """Whether JSON of another kind is a configuration of Keras as well; its loader asks for no more."""
    if bytes(data[:64]).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in {b"{", b"["}:
        return False
    head = bytes(data[:PREFIX])
    if (
        b'"class_name"' not in head
        and b"\\u00" not in head
        and data.find(b'"class_name"', len(head) - 12) < 0
    ):
        return False
    from modelward.artifact.formats.keras_json import looks_like_config

    return looks_like_config(head if len(data) <= PREFIX else bytes(data[: 256 << 20]))


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
    if not member or not into.facts:
        into.facts.update(reading.facts)
    if reading.proven:
        into.proven = into.proven or not member
        into.harmless.add(member)
    for inner in reading.inner:
        place = f"{member}/{inner.name}" if member else inner.name
        nested(into, inner.content, place, depth + 1, inner.format)


def pickled(
    into: Collected,
    data: Buffer,
    member: str,
    *,
    loader: Loader = "pickle",
    joblib: bool = False,
    start: int = 0,
) -> None:
    """Walk the pickle streams of some content.

    Args:
        into: takes the events.
        data: the content.
        member: where it was found.
        loader: whose persistent ids are understood.
        joblib: array bodies follow their wrappers.
        start: offset of the first stream.
    """
    result = scan(data, loader=loader, joblib=joblib, start=start)
    into.events += [(member, event) for event in result.events]
    into.streams += result.streams
    into.arrays += result.arrays
    if result.streams:
        into.harmless.add(member)
    if result.dropped:
        into.note(member, "pickle.budget", f"{result.dropped} further findings were not kept")
    broken = any(event.rule == "pickle.broken" for event in result.events)
    if result.unread and not broken and loader != "torch-legacy":
        into.unread.append(
            f"{member + ': ' if member else ''}{result.unread} bytes after the last stream are no stream"
        )
        _tail(into, data, member, result.end)
    for index, inner in enumerate(result.embedded):
        name = f"{member}!storage{index}" if member else f"!storage{index}"
        nested(into, inner, name, 1)


def _tail(into: Collected, data: Buffer, member: str, start: int) -> None:
    """Streams further behind a complete one: whoever seeks there loads them."""
    region = bytes(data[start : start + _TAIL])
    for index, match in enumerate(_STREAM.finditer(region)):
        if index >= _STARTS:
            into.note(member, "pickle.budget", "not every start of a stream behind the first was walked")
            return
        result = scan(region, start=match.start())
        broken = any(event.rule == "pickle.broken" for event in result.events)
        events = [event for event in result.events if not broken or credible(region, [event])]
        if any(event.level != "note" for event in events):
            for event in events:
                event.pos += start if event.pos >= 0 else 0
                into.events.append((member, event))
            return


def nested(into: Collected, data: Buffer, member: str, depth: int, kind: Format | None = None) -> None:
    """Recognise and read content that was found inside other content.

    Args:
        into: takes the events.
        data: the content.
        member: its path within the file.
        depth: how many archives and compressions stand around it.
        kind: its format, when that is known better than its bytes can tell.
    """
    if depth > into.limits.depth:
        into.missed(member, f"nested deeper than {into.limits.depth} levels")
        return
    try:
        found = Sniffed(kind, "by where it stands") if kind is not None else recognise(data, member)
    except FileDamaged as error:
        into.add(member, "artifact.damaged", str(error), level="unproven" if data else "note")
        return
    into.contained[member] = found.format
    before = len(into.events)
    _content(into, data, found, member, depth)
    _readers(into, data, found.format, (member, member), depth)
    _also(into, data, found.format, (member, member), depth)
    quiet = all(event.level == "note" for _, event in into.events[before:])
    settled = found.format in PASSIVE | AROUND | _WRAPPING or found.format == "unknown"
    if quiet and not settled and member not in into.harmless:
        message = f"nothing proves that loading content of format {found.format} is harmless"
        into.add(member, "artifact.unproven-member", message)


def _compressed(into: Collected, data: Buffer, member: str, depth: int) -> None:
    codec = compression(bytes(data[:PREFIX]))
    if codec is None or not compress.readable(codec):
        into.missed(member, f"{codec or 'this'} compression cannot be read here")
        return
    if depth >= into.limits.depth:
        into.missed(member, f"compressed more than {into.limits.depth} times over")
        return
    content = expand(into, data, codec, member)
    if not len(content):
        if not into.unread:
            into.note(member, "artifact.empty", "the compressed content is empty")
            into.proven = True
        return
    # Whatever is proven about the content holds for the compressed file: the loader unpacks it first.
    inner = f"{member}!{codec}" if member else f"!{codec}"
    nested(into, content, inner, depth + 1)
    if inner in into.harmless:
        into.harmless.add(member)
        into.proven = into.proven or not member
    elif into.contained.get(inner) in (PASSIVE | AROUND) - {"csv"} and not member:
        into.proven = True


def expand(into: Collected, data: Buffer, codec: str, member: str) -> Buffer:
    """Decompress content within the budgets; what goes wrong is recorded as not read."""
    if compress.bomb(into.produced, into.packed):
        into.missed(member, "the members before it grow together as a bomb does")
        return b""
    room = min(into.limits.member, into.limits.total - into.produced)
    try:
        content, problem = compress.decompress(data, codec, room)
    except compress.TooLarge:
        message = (
            f"the content decompresses to more than {room} bytes, or to more than {compress.BOMB} bytes at "
            f"over {compress.RATIO} to one, and grows as a bomb does"
        )
        into.missed(member, message)
        return b""
    except OSError as error:
        into.missed(member, f"there is no room to decompress it: {error.strerror or error}")
        return b""
    into.produced += len(content)
    into.packed += len(data)
    if problem is not None:
        into.missed(member, problem)
    return content


def _npy(into: Collected, data: Buffer, member: str) -> None:
    """Arrays may follow each other, which repeated `numpy.load` calls read one by one."""
    start = 0
    for _ in range(_ARRAYS):
        header = npy.header(data, start)
        if header is None:
            into.missed(member, "the header of the array cannot be read")
            return
        if header.objects:
            pickled(into, data, member, start=header.end)
            return
        start = header.end + header.size if header.size is not None else data.find(npy.MAGIC, header.end)
        if start < 0 or data[start : start + 6] != npy.MAGIC:
            return
    into.missed(member, f"more than {_ARRAYS} arrays follow each other")
