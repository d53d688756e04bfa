"""The walk of a tar archive: every member is recognised by its content and read."""

from __future__ import annotations

import re
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from modelward.artifact.compress import window
from modelward.artifact.containers import nested
from modelward.artifact.events import Event
from modelward.artifact.names import Links, folder, join, leads_out, link_leads_out
from modelward.artifact.pickle.judge import Judge
from modelward.artifact.pickle.machine import walk as walk_stream
from modelward.artifact.pickle.streams import scan
from modelward.artifact.tarread import Trouble, entries

if TYPE_CHECKING:
    from modelward.artifact.collected import Collected
    from modelward.artifact.format import Format
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.tarread import Entry

_BESIDE: Final = 16 << 20
_TROUBLES: Final = 1_000
"""Most remarks on the archive as a whole, besides its members."""
_PARTS: Final = frozenset({"pickle", "storages", "tensors"})
"""Members of the archive that torch.save wrote before 2017; all three are unpickled."""
_STORAGE: Final = re.compile(
    rb"\x80\x02\(?(?:K.|M..|J.{4}|\x8a.{2,9}|[IL]\d+L?\n)(?:q.|r.{4})?"
    rb"[XU].\0{0,3}[a-z]+(?::\d+)?(?:q.|r.{4})?ctorch\n(\w+)Storage\n(?:q.|r.{4})?[\x87t](?:q.|r.{4})?\.",
    re.DOTALL,
)
"""The arguments of a storage as torch wrote them: a key, a place, and the class that says how wide it is."""
_SIZES: Final = {
    b"Double": 8, b"Float": 4, b"Half": 2, b"Long": 8, b"Int": 4, b"Short": 2, b"Char": 1, b"Byte": 1,
    b"Bool": 1, b"BFloat16": 2, b"ComplexDouble": 16, b"ComplexFloat": 8,
}  # fmt: skip


def walk(into: Collected, data: Buffer, kind: Format, prefix: str, depth: int) -> None:
    """Read every member.

    Args:
        into: takes the events.
        data: the archive.
        kind: "tar" or "nemo".
        prefix: path of the archive within the file, "" for the file itself.
        depth: how many archives and compressions stand around it.
    """
    if depth >= into.limits.depth:
        into.missed(prefix, f"nested deeper than {into.limits.depth} levels")
        return
    listed = list(islice(entries(data), into.limits.members + _TROUBLES))
    seen = {_plain(entry.name): entry for entry in listed if not isinstance(entry, Trouble)}
    members = [entry for entry in listed if not isinstance(entry, Trouble)]
    links = Links((entry.name, entry.target) for entry in members if entry.kind == "link")
    outer = into.beside
    for entry in listed:
        if isinstance(entry, Trouble):
            if entry.lost:
                into.missed(prefix, entry.message)
            else:
                into.note(prefix, "tar.oddity", entry.message)
            continue
        into.members += 1
        if into.members > into.limits.members:
            into.missed(prefix, f"more than {into.limits.members} members")
            break
        into.beside = partial(_beside, data, seen, folder(_plain(entry.name)))
        _place(into, entry, _path(prefix, entry), links)
        _member(into, data, entry, _path(prefix, entry), depth)
    else:
        into.harmless.add(prefix)
        into.proven = into.proven or (not prefix and kind == "tar")
    into.beside = outer


def _plain(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


def _beside(data: Buffer, seen: dict[str, Entry], base: str, name: str) -> bytes | None:
    """Content of another member."""
    path = join(base, name)
    found = seen.get(path) if path is not None else None
    if found is None or found.kind != "file" or found.size > _BESIDE:
        return None
    return bytes(data[found.start : found.start + found.size])


def _path(prefix: str, entry: Entry) -> str:
    return f"{prefix}/{entry.name}" if prefix else entry.name


def _place(into: Collected, entry: Entry, name: str, links: Links) -> None:
    """Where extracting the member would write, under every name that it has."""
    out = next(
        (each for each in (entry.name, *entry.others) if leads_out(each) or links.lead_out(folder(each))),
        None,
    )
    if out is not None:
        message = f"extracting {out[:200]!r} writes outside the folder that the archive is extracted to"
        into.add(name, "archive.traversal", message, level="dangerous")
    if entry.kind in {"link", "hard-link"}:
        hard = entry.kind == "hard-link"
        away = leads_out(entry.target) if hard else link_leads_out(entry.name, entry.target)
        away = away or links.lead_out(entry.target if hard else folder(entry.name) + entry.target)
        message = f"a {entry.kind.replace('-', ' ')} to {entry.target[:200]!r}"
        if away:
            into.add(name, "archive.link", f"{message} leads out of the archive", level="dangerous")
        elif _plain(entry.name) in _PARTS:
            into.add(name, "archive.link", f"{message} stands where torch.load looks for pickles")
        else:
            into.note(name, "archive.link", message)


def _member(into: Collected, data: Buffer, entry: Entry, name: str, depth: int) -> None:
    if entry.mode & 0o6000 and entry.kind == "file":
        into.note(name, "tar.mode", "the member is extracted with the set-user-id or set-group-id bit")
    if entry.kind == "device":
        into.add(name, "archive.device", "extracting makes a device or a pipe")
    elif entry.kind == "sparse":
        into.missed(name, "the member is sparse")
    elif entry.kind == "file" and entry.size:
        _file(into, data, entry, name, depth)


def _file(into: Collected, data: Buffer, entry: Entry, name: str, depth: int) -> None:
    if entry.size > into.limits.member:
        into.missed(name, f"the member has {entry.size} bytes; {into.limits.member} are read")
        return
    try:
        found = window(data, entry.start, entry.size)
    except OSError as error:
        into.missed(name, f"there is no room to read it: {error.strerror or error}")
        return
    part = _plain(entry.name)
    if part in _PARTS and _legacy(into, found, part, name):
        return
    if len(found):
        nested(into, found, name, depth + 1)


def _legacy(into: Collected, found: Buffer, part: str, name: str) -> bool:
    """A part of the archive that torch.save wrote before 2017; False when it is none.

    `pickle` is one stream. `storages` holds a count, then per storage a stream of arguments and raw numbers,
    then a stream of views; `tensors` a count, then per tensor arguments and raw sizes.

    Source: torch/serialization.py, `_legacy_load`, `legacy_load`.
    """
    into.contained[name] = "torch-legacy"
    if part == "pickle":
        result = scan(found, loader="torch-legacy")
        # A persistent id names a tensor that was read before, or gives back a class of this file, judged.
        into.events += [(name, event) for event in result.events if event.rule != "pickle.persistent-id"]
        into.streams += result.streams
        into.harmless.add(name)
        return True
    pos, streams = 0, 0
    while pos < len(found):
        judge = Judge(found, "torch-legacy")
        result_of = walk_stream(judge, pos)
        into.events += [(name, event) for event in judge.events.values()]
        if result_of.broken is not None:
            message = f"the stream breaks off at byte {result_of.end}: {result_of.broken}"
            into.events.append((name, Event("pickle.broken", "unproven", message, result_of.end)))
            return True
        start, pos, streams = pos, result_of.end, streams + 1
        if streams > 1:
            pos = _after(found, start, pos, part)
    into.streams += streams
    into.harmless.add(name)
    return True


def _after(found: Buffer, start: int, pos: int, part: str) -> int:
    """Offset behind the raw numbers that follow the arguments of a storage or tensor."""
    if part == "tensors":
        return pos + 16 + 16 * int.from_bytes(found[pos : pos + 4], "little")
    match = _STORAGE.fullmatch(bytes(found[start : min(pos, start + 200)]))
    width = _SIZES.get(match[1], 0) if match is not None else 0
    return pos + 8 + int.from_bytes(found[pos : pos + 8], "little") * width if width else pos
