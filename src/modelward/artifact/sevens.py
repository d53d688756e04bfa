"""The walk of a 7z archive: every file is recognised by its content and read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from modelward.artifact import compress
from modelward.artifact.containers import nested
from modelward.artifact.names import Links, folder, join, leads_out, link_leads_out
from modelward.artifact.reading import Malformed
from modelward.artifact.sevenread import Unreadable, directory, unfold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelward.artifact.collected import Collected
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.sevenread import Directory, Folder, Item


def walk(into: Collected, data: Buffer, prefix: str, depth: int) -> None:
    """Read every file.

    Args:
        into: takes the events.
        data: the archive.
        prefix: path of the archive within the file, "" for the file itself.
        depth: how many archives and compressions stand around it.
    """
    if depth >= into.limits.depth:
        into.missed(prefix, f"nested deeper than {into.limits.depth} levels")
        return
    try:
        found = directory(data)
    except Malformed as error:
        into.missed(prefix, f"the content is damaged: {error}")
        return
    except (Unreadable, compress.TooLarge) as error:
        into.missed(prefix, f"the header cannot be read: {str(error) or 'it is too large'}")
        return
    if not found.intact:
        into.note(prefix, "7z.crc", "the checksum of the header is wrong, which some readers ignore")
    outer = into.beside
    done = _files(into, data, found, prefix, depth)
    into.beside = outer
    if done:
        into.harmless.add(prefix)
        into.proven = into.proven or not prefix


def _files(into: Collected, data: Buffer, found: Directory, prefix: str, depth: int) -> bool:
    for item in found.items:
        into.members += 1
        if into.members > into.limits.members:
            into.missed(prefix, f"more than {into.limits.members} members")
            return False
        if leads_out(item.name):
            message = f"extracting {item.name!r} writes outside the folder that the archive is extracted to"
            into.add(_path(prefix, item), "archive.traversal", message, level="dangerous")
    filled = [item for item in found.items if not item.empty]
    at = 0
    for packed in found.folders:
        items = filled[at : at + len(packed.sizes)]
        at += len(packed.sizes)
        _folder(into, data, packed, items, (prefix, depth))
    if at < len(filled):
        into.missed(prefix, f"{len(filled) - at} files have no content")
    return True


def _folder(into: Collected, data: Buffer, packed: Folder, items: list[Item], where: tuple[str, int]) -> None:
    prefix, depth = where
    room = min(into.limits.member, into.limits.total - into.produced)
    named = ", ".join(item.name for item in items[:3]) or "a folder"
    try:
        content = unfold(data, packed, room)
    except Unreadable as error:
        into.missed(prefix, f"{named[:200]}: {error}")
        return
    except compress.TooLarge:
        into.missed(prefix, f"{named[:200]}: the content decompresses to more than {room} bytes")
        return
    except OSError as error:
        into.missed(prefix, f"there is no room to decompress it: {error.strerror or error}")
        return
    into.produced += len(content)
    parts = list(_parts(items, packed.sizes))
    links = Links((item.name, _target(content, start, size)) for item, start, size in parts if item.link)
    into_index = {item.name: (start, size) for item, start, size in parts}
    for item, start, size in parts:
        into.beside = partial(_beside, content, into_index, folder(item.name))
        piece = compress.window(content, start, size) if len(parts) > 1 else content
        name = _path(prefix, item)
        if links.lead_out(folder(item.name)):
            message = f"extracting {item.name[:200]!r} writes through a link that leads out of the archive"
            into.add(name, "archive.traversal", message, level="dangerous")
        if item.link:
            target = _target(content, start, size)
            out = link_leads_out(item.name, target) or links.lead_out(item.name)
            message = f"a symbolic link to {target[:200]!r}{', out of the archive' if out else ''}"
            into.add(name, "archive.link", message, level="dangerous" if out else "note")
        elif size:
            nested(into, piece, name, depth + 1)


def _target(content: Buffer, start: int, size: int) -> str:
    return bytes(content[start : start + min(size, 1 << 12)]).decode("utf-8", "backslashreplace")


def _parts(items: list[Item], sizes: tuple[int, ...]) -> Iterator[tuple[Item, int, int]]:
    start = 0
    for item, size in zip(items, sizes, strict=False):
        yield item, start, size
        start += size


def _beside(content: Buffer, index: dict[str, tuple[int, int]], base: str, name: str) -> bytes | None:
    """Content of another file that is packed together with this one."""
    path = join(base, name)
    start, size = index.get(path or "", (0, 1 << 62))
    return bytes(content[start : start + size]) if size <= 16 << 20 else None


def _path(prefix: str, item: Item) -> str:
    return f"{prefix}/{item.name}" if prefix else item.name
