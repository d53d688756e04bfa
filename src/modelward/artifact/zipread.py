"""A zip archive read both ways: by its central directory and by its local headers.

Readers differ in which of the two they believe, in whether they honour flag bits and checksums, and in what
they make of duplicate names, prefixes and gaps. Everything that either reading calls a member is listed.

Source: PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5; CPython Lib/zipfile; PyTorch caffe2/serialize (miniz).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, final

import msgspec

from modelward.artifact.compress import window

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer

MEMBERS: Final = 100_000
"""Most members read from one archive."""
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_TAIL: Final = _END.size + (1 << 16)
_SIGNATURE: Final = b"PK\x03\x04"


class Member(msgspec.Struct, frozen=True):
    """One member as one of the two readings sees it.

    Attributes:
        name: as written in that reading.
        start: offset of its data.
        size: compressed size in bytes.
        plain: uncompressed size in bytes as stated, which need not be true.
        method: compression method (0 stored, 8 deflate).
        crc: checksum as stated.
        hidden: it is in no central directory.
        link: its attributes say that it is a symbolic link.
        encrypted: a flag says that it is encrypted, which some readers ignore.
    """

    name: str
    start: int
    size: int
    plain: int
    method: int
    crc: int
    hidden: bool = False
    link: bool = False
    encrypted: bool = False


@final
class Archive:
    """The members of a zip archive in both readings.

    Attributes:
        members: those of the central directory, then those that only local headers show.
        oddities: sentences on what the two readings, or two readers, disagree about.
        directories: number of end-of-directory records; 0 in a truncated archive.
        complete: whether all members were listed.
    """

    __slots__ = ("_data", "_known", "_spans", "complete", "directories", "members", "oddities")

    def __init__(self, data: Buffer) -> None:
        self._data = data
        self._spans: list[tuple[int, int]] = []
        self._known: set[tuple[str, int, int, int]] = set()
        self.members: list[Member] = []
        self.oddities: list[str] = []
        self.complete = True
        ends = self._ends()
        self.directories = len(ends)
        seen = set(ends)
        while ends and len(self.members) < MEMBERS:
            before = [shift - _END.size for shift in self._directory(ends.pop(0))]
            more = [
                at for at in before if at not in seen and self._data[max(at, 0) : at + 4] == b"PK\x05\x06"
            ]
            seen.update(more)  # archives one behind the other, as torch.distributed.checkpoint writes them
            ends += more
        self._gaps()
        names = [member.name for member in self.members]
        if len(set(names)) < len(names):
            self.oddities.append("two members have the same name, and readers differ in which one they take")

    def _ends(self) -> list[int]:
        """Offsets of end-of-directory records; a reader takes the last one or the one at the very end."""
        tail = bytes(self._data[max(0, len(self._data) - _TAIL) : len(self._data)])
        base = len(self._data) - len(tail)
        found: list[int] = []
        at = tail.rfind(b"PK\x05\x06")
        while at >= 0 and len(found) < 4:
            if at + _END.size <= len(tail):
                found.append(base + at)
            at = tail.rfind(b"PK\x05\x06", 0, at)
        if len(found) > 1:
            self.oddities.append(
                "there is more than one directory, and readers differ in which one they take"
            )
        return found

    def _directory(self, end: int) -> list[int]:
        """Read the entries of a directory; gives where archives start that have other bytes before them."""
        fields = _END.unpack(self._data[end : end + _END.size])
        readings = self._zip64_records(end)
        replaced = [at for *_, at in readings] == [end - 20 - _END64.size] * 2 and all(
            plain in {large, full}
            for plain, large, full in zip(
                fields[4:7], readings[0][:3], (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF), strict=True
            )
        )
        starts = list[tuple[int, int, int]]()
        for _, size, offset, before in [*readings, (*fields[4:7], end)]:
            near = before >= size and not (replaced and before == end)
            if near and self._is_directory(before - size):  # as Python finds it
                starts.append((before - size, size, before - size - offset))
            if self._is_directory(offset):  # as miniz finds it, and with it PyTorch
                starts.append((offset, size, 0))
        if not starts:
            starts.append((readings[0][2], readings[0][1], 0) if readings else (fields[6], fields[5], 0))
        for start, size, shift in dict.fromkeys(starts):
            if shift:
                self.oddities.append(f"{shift} bytes stand before the archive")
            self._entries(start, min(start + size, len(self._data)), shift)
            self._spans.append((start, end + _END.size))
        return [shift for _, _, shift in starts if shift > 0]

    def _zip64_records(self, end: int) -> list[tuple[int, int, int, int]]:
        """Entries, size and offset that zip64 records before an end record state, and where they stand.

        Miniz and Java look where the locator says, Python right before the locator. All use such a record
        in place of the plain one, Java only where the two agree.
        """
        locator = bytes(self._data[end - 20 : end]) if end >= 20 else b""
        if locator[:4] != b"PK\x06\x07":
            return []
        found = list[tuple[int, int, int, int]]()
        for at in (end - 20 - _END64.size, int.from_bytes(locator[8:16], "little")):
            block = bytes(self._data[at : at + _END64.size]) if 0 <= at < len(self._data) else b""
            if len(block) == _END64.size and block[:4] == b"PK\x06\x06":
                found.append((*_END64.unpack(block)[7:10], at))
        return found

    def _is_directory(self, start: int) -> bool:
        found: bytes = self._data[start : start + 4] if 0 <= start < len(self._data) else b""
        return found in {b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06"}

    def _entries(self, pos: int, end: int, shift: int) -> None:
        while pos + _CENTRAL.size <= end:
            fields = _CENTRAL.unpack(self._data[pos : pos + _CENTRAL.size])
            if fields[0] != b"PK\x01\x02":
                self.oddities.append("the directory is damaged")
                return
            if len(self.members) >= MEMBERS:
                self.complete = False
                return
            flags, method, crc, size, plain = fields[3], fields[4], fields[7], fields[8], fields[9]
            name_size, extra_size, comment_size, offset = fields[10], fields[11], fields[12], fields[16]
            at = pos + _CENTRAL.size
            name = _text(bytes(self._data[at : at + name_size]))
            extra = bytes(self._data[at + name_size : at + name_size + extra_size])
            plain, size, offset = _zip64(extra, plain, size, offset)
            pos = at + name_size + extra_size + comment_size
            link = fields[15] >> 28 == 0xA
            found = Member(name, 0, size, plain, method, crc, link=link, encrypted=bool(flags & 0x41))
            before = len(self.members)
            self._member(name, offset + shift, found, flags)
            if (other := _unicode_name(extra)) not in {None, name}:
                self.oddities.append(f"{name!r} has a second name, which some readers take")
                for added in self.members[before:]:
                    self._keep(msgspec.structs.replace(added, name=other))

    def _keep(self, member: Member) -> None:
        """List a member once, however many directories name it."""
        key = (member.name, member.start, member.size, member.method)
        if key not in self._known:
            self._known.add(key)
            self.members.append(member)

    def _member(self, name: str, header: int, central: Member, flags: int) -> None:
        """Add the member of a central entry, and a second one where its local header says otherwise."""
        block = bytes(self._data[header : header + _LOCAL.size]) if 0 <= header < len(self._data) else b""
        if len(block) < _LOCAL.size or block[:4] != _SIGNATURE:
            self.oddities.append(f"{name!r} has no local header where the directory says")
            self.complete = False
            return
        local = self._local(block, header)
        start = local.start
        self._keep(msgspec.structs.replace(central, start=start))
        self._spans.append((header, start + central.size))
        streamed = bool(flags & 8 or block[6] & 8) and local.size == 0
        same = local.name == name and local.method == central.method
        if not same or (not streamed and (local.size, local.crc) != (central.size, central.crc)):
            self.oddities.append(f"the local header of {name!r} contradicts the directory")
            if not streamed:
                self._keep(local)
                self._spans.append((header, start + local.size))
            elif not same:
                self._keep(msgspec.structs.replace(local, size=central.size))
        if flags & 0x41 or block[6] & 0x41:
            self.oddities.append(f"{name!r} is marked as encrypted, which some readers ignore")

    def _local(self, block: bytes, header: int) -> Member:
        fields = _LOCAL.unpack(block)
        method, crc, size, plain, name_size, extra_size = fields[3], *fields[6:11]
        at = header + _LOCAL.size
        name = _text(bytes(self._data[at : at + name_size]))
        extra = bytes(self._data[at + name_size : at + name_size + extra_size])
        plain, size, _ = _zip64(extra, plain, size, 0)
        return Member(name, at + name_size + extra_size, size, plain, method, crc, hidden=True)

    def _gaps(self) -> None:
        """Find local headers in bytes that no central entry claims."""
        pos = 0
        for start, end in [*sorted(self._spans), (len(self._data), len(self._data))]:
            while pos < start:
                at = self._data.find(_SIGNATURE, pos, start)
                if at < 0 or at + _LOCAL.size > len(self._data):
                    break
                if len(self.members) >= MEMBERS:
                    self.complete = False
                    return
                found = self._local(bytes(self._data[at : at + _LOCAL.size]), at)
                size = found.size or max(0, start - found.start)
                self._keep(msgspec.structs.replace(found, size=size))
                self.oddities.append(
                    f"{found.name!r} is in no directory, and only readers of local headers see it"
                )
                pos = at + 4
            pos = max(pos, end)

    def window(self, member: Member) -> Buffer:
        """Compressed bytes of a member; many of them stand in a temporary file.

        Raises:
            OSError: there is no room for one.
        """
        return window(self._data, member.start, member.size)

    def stored(self, member: Member) -> bytes:
        """Compressed bytes of a member."""
        return bytes(self._data[member.start : member.start + member.size])

    def peek(self, member: Member, count: int) -> bytes:
        """The first compressed bytes of a member."""
        return bytes(self._data[member.start : member.start + min(count, member.size)])


def _text(raw: bytes) -> str:
    """A name, which readers end at a zero byte."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _unicode_name(extra: bytes) -> str | None:
    """The name in the Info-ZIP Unicode path field (APPNOTE 4.6.9), which Python and unzip prefer."""
    pos = 0
    while pos + 4 <= len(extra):
        code, length = struct.unpack_from("<HH", extra, pos)
        if code == 0x7075 and length > 5:
            return _text(extra[pos + 9 : pos + 4 + length])
        pos += 4 + length
    return None


def _zip64(extra: bytes, plain: int, size: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset, from the zip64 extra field where the 32-bit fields are full."""
    values = [plain, size, offset]
    pos = 0
    while pos + 4 <= len(extra):
        code, length = struct.unpack_from("<HH", extra, pos)
        if code == 1:
            body, at = extra[pos + 4 : pos + 4 + length], 0
            for index, value in enumerate(values):
                if value == 0xFFFFFFFF and at + 8 <= len(body):
                    values[index] = int.from_bytes(body[at : at + 8], "little")
                    at += 8
            break
        pos += 4 + length
    return values[0], values[1], values[2]
