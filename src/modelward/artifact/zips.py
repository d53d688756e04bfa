"""The walk of a zip archive: every member of both readings is recognised by its content and read."""

from __future__ import annotations

import re
import zlib
from functools import partial
from typing import TYPE_CHECKING, Final

from modelward.artifact import compress
from modelward.artifact.collected import Collected
from modelward.artifact.containers import expand, nested, pickled
from modelward.artifact.formats.torch_ops import CLASSES
from modelward.artifact.names import Links, folder, join, leads_out, link_leads_out

if TYPE_CHECKING:
    from modelward.artifact.events import Event
    from modelward.artifact.format import Format
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.zipread import Archive, Member

METHODS: Final = {8: "deflate", 12: "bz2", 14: "lzma-zip", 20: "zstd", 93: "zstd", 95: "xz"}
"""APPNOTE 4.4.5. Left out: 9 (deflate64), 98 (PPMd), 99 (encrypted by AES) and those of before 1993."""
_TORCH: Final[frozenset[Format]] = frozenset(("torch-zip", "torchscript", "torch-package", "torch-export"))
_SOURCES: Final[frozenset[Format]] = frozenset(("torchscript", "torch-export"))
"""Formats whose `code/` is TorchScript, which their reader reads; it is no Python."""
_ABOUT_NAMES: Final = frozenset({"pickle.arguments", "pickle.unknown-name", "pickle.gadget"})
_NATIVE: Final = (
    "torch._utils._rebuild_tensor", "torch._utils._rebuild_parameter", "torch._utils._rebuild_sparse",
    "torch._utils._rebuild_qtensor", "torch._utils._rebuild_meta", "torch.jit._pickle.build_",
    "torch.jit._pickle.restore_type_tag", "torch.per_tensor_", "torch.per_channel_",
)  # fmt: skip
"""Names that TorchScript's unpickler knows by itself, whatever their arguments; in Python they only build."""
_BESIDE: Final = 16 << 20
_HEAD: Final = 1 << 12
_PICKLES: Final = (".pkl", ".pickle", ".joblib")
_NAMED: Final = re.compile(rb"[(\]}0-9a-zN]{0,8}(?:c|\(*i)[A-Za-z_][\w.]*\r?\n[A-Za-z_][\w.]*\r?\n")
_STARTS: Final = (
    b"\x93NUMPY", b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18",
    b"7z\xbc\xaf", b"\x89HDF\r\n\x1a\n",
)  # fmt: skip


def walk(into: Collected, archive: Archive, kind: Format, prefix: str, depth: int) -> None:
    """Read every member.

    Args:
        into: takes the events.
        archive: the archive.
        kind: what it is, which decides who reads its members.
        prefix: path of the archive within the file, "" for the file itself.
        depth: how many archives and compressions stand around it.
    """
    for oddity in archive.oddities[:20]:
        into.note(prefix, "zip.oddity", oddity)
    if not archive.directories:
        into.missed(prefix, "the archive has no directory: it is truncated")
    if not archive.complete:
        into.missed(prefix, "not every member of the archive could be located")
    if depth >= into.limits.depth:
        into.missed(prefix, f"nested deeper than {into.limits.depth} levels")
        return
    index = {member.name: member for member in archive.members}
    links = Links((member.name, _target(archive, member)) for member in archive.members if member.link)
    outer = into.beside
    for member in archive.members:
        into.members += 1
        if into.members > into.limits.members:
            into.missed(prefix, f"more than {into.limits.members} members")
            break
        name = f"{prefix}/{member.name}" if prefix else member.name
        into.beside = partial(_beside, archive, index, folder(member.name))
        _place(into, archive, member, name, links)
        _member(into, archive, member, (name, kind), depth)
    else:
        if kind in {"zip", "npz", "torch-zip"}:
            into.harmless.add(prefix)
            into.proven = into.proven or (not prefix and kind == "zip")
    into.beside = outer


def _beside(archive: Archive, index: dict[str, Member], base: str, name: str) -> bytes | None:
    """Content of another member of the same archive."""
    path = join(base, name)
    member = index.get(path) if path is not None else None
    return content(archive, member) if member is not None else None


def content(archive: Archive, member: Member, limit: int = _BESIDE) -> bytes | None:
    """Content of a member for a reader of the archive; None when it is larger or cannot be read."""
    if member.size > limit:
        return None
    raw = archive.stored(member)
    if member.method == 0:
        return raw
    if member.method not in METHODS:
        return None
    try:
        made, problem = compress.decompress(raw, METHODS[member.method], limit)
    except (compress.TooLarge, OSError):
        return None
    return bytes(made) if problem is None else None


def _member(into: Collected, archive: Archive, member: Member, named: tuple[str, Format], depth: int) -> None:
    name, kind = named
    if member.size == 0:
        return
    if member.encrypted:
        message = "the member is marked as encrypted; it was read as if it were not, as some readers do"
        into.add(name, "zip.encrypted", message)
    codec = METHODS.get(member.method)
    if codec is None and member.method != 0:
        into.missed(name, f"zip compression method {member.method} cannot be read here")
        return
    lower = member.name.lower()
    unpickled = kind in _TORCH and lower.endswith(".pkl")
    raw = kind in _TORCH and not unpickled and not lower.endswith((".pt", ".npy", "config.json", *_PICKLES))
    if raw and _passed_over(archive, member, kind, codec):
        if codec is not None and compress.bomb(member.plain, member.size):
            message = f"{member.size} bytes state that they are {member.plain}, as a bomb does"
            into.missed(name, message)
        return
    if (kind, member.name) in {("skops", "schema.json"), ("keras", "config.json")}:
        return  # their readers read it
    if member.size > into.limits.member:
        into.missed(name, f"the member has {member.size} bytes; {into.limits.member} are read")
        return
    try:
        found = archive.window(member)
    except OSError as error:
        into.missed(name, f"there is no room to read it: {error.strerror or error}")
        return
    if codec is not None:
        found = expand(into, found, codec, name)
    if not len(found):
        return
    if not member.hidden and len(found) <= compress.IN_MEMORY and zlib.crc32(found) != member.crc:
        into.note(name, "zip.crc", "the checksum is wrong: some readers refuse the member, others load it")
    if unpickled:
        into.contained[name] = "pickle"
        _torch_pickle(into, found, name, kind)
    elif raw:
        _opportunistic(into, found, name, depth)
    else:
        nested(into, found, name, depth + 1)


def _torch_pickle(into: Collected, found: Buffer, name: str, kind: Format) -> None:
    """A pickle of a torch archive.

    TorchScript's own unpickler looks `__torch__` names up in the sources of the archive, which are judged by
    their reader; Python's would find no such module.
    """
    if kind != "torchscript":
        pickled(into, found, name, loader="torch-legacy" if kind == "torch-package" else "torch")
        return
    trial = Collected(into.limits, into.beside)
    pickled(trial, found, name, loader="torch")
    trial.events = [pair for pair in trial.events if not _script_class(pair[1])]
    into.merge(trial)


def _script_class(event: Event) -> bool:
    if event.rule in _ABOUT_NAMES and event.message.startswith(_NATIVE):
        return True
    if event.rule != "pickle.unknown-name" or not event.message.startswith("__torch__."):
        return False
    parts = event.message.split(" ", 1)[0].split(".")
    return parts[1:3] != ["torch", "classes"] or parts[3] in CLASSES


def _target(archive: Archive, member: Member) -> str:
    return (content(archive, member, 1 << 12) or b"").decode("utf-8", "backslashreplace")


def _place(into: Collected, archive: Archive, member: Member, name: str, links: Links) -> None:
    """Where extracting the member would write."""
    if leads_out(member.name) or links.lead_out(folder(member.name)):
        message = f"extracting {member.name!r} writes outside the folder that the archive is extracted to"
        into.add(name, "archive.traversal", message, level="dangerous")
    if member.link:
        target = _target(archive, member)
        if link_leads_out(member.name, target) or links.lead_out(member.name):
            message = f"a symbolic link leads out of the archive, to {target[:200]!r}"
            into.add(name, "archive.link", message, level="dangerous")
        else:
            into.note(name, "archive.link", f"a symbolic link to {target[:200]!r}")


def _passed_over(archive: Archive, member: Member, kind: Format, codec: str | None) -> bool:
    """Whether a member that no loader need unpickle starts as nothing that anyone would."""
    lower = member.name.lower()
    if kind in _SOURCES and "code/" in lower and lower.endswith((".py", ".debug_pkl")):
        return lower.endswith(".py")
    head: bytes = archive.peek(member, _HEAD)
    if codec is not None:
        head = compress.first_bytes(archive.peek(member, 1 << 16), codec, _HEAD) or b""
    return not plausible(head)


def plausible(head: bytes) -> bool:
    """Whether raw data starts as a pickle of any protocol, as an archive, or as an array of objects."""
    if head[:1] == b"\x80" and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}:
        return True
    return head.startswith(_STARTS) or _NAMED.match(head) is not None


def _opportunistic(into: Collected, found: Buffer, name: str, depth: int) -> None:
    """A member that no loader need unpickle, such as the numbers of a tensor.

    What is complete counts, and of what breaks off whatever is dangerous or names something that no numbers
    would spell.
    """
    trial = into.trial()
    nested(trial, found, name, depth + 1)
    into.settle(trial)
    broken = any(
        event.rule in {"pickle.broken", "artifact.unread", "artifact.damaged"} for _, event in trial.events
    )
    if not broken:
        into.merge(trial)
        return
    into.events += [
        pair
        for pair in trial.events
        if pair[1].level == "dangerous"
        or (pair[1].rule == "pickle.unknown-name" and pair[1].message.isascii())
    ]
