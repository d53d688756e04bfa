"""A file behind a URL that is read where it is needed, as a memory map of it would be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

from modelward.errors import RemoteRefused

if TYPE_CHECKING:
    from modelward.artifact.remote.client import Client

BLOCK: Final = 1 << 15
"""Bytes asked for at least, and the unit of what is kept."""
KEPT: Final = 1 << 30
"""Most bytes that are kept of one file."""
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@final
class RangedFile:
    """The content of a file, in blocks that are fetched when they are looked at.

    Attributes:
        head: the first bytes, or the whole content of a server that knows no ranges and sent it.
        whole: whether `head` is the whole content.
        headers: of the first answer.
    """

    def __init__(self, client: Client, url: str, limit: int) -> None:
        """Ask for the first block.

        Raises:
            RemoteRefused: there is no such file, or without ranges it is longer than `limit`.
        """
        self._client, self._blocks = client, dict[int, bytes]()
        self._kept = 0
        answer, self._url = client.get(url, {"Range": f"bytes=0-{2 * BLOCK - 1}"})
        self.headers = answer.headers
        if answer.status not in {200, 206, 416}:
            answer.close()
            raise RemoteRefused(f"{url}: the server answers {answer.status} {answer.reason}")
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", "")) if answer.status == 206 else None
        self.whole = found is None
        self.head = client.body(answer, min(limit, KEPT)) if answer.status != 416 else b""
        self._size = int(found[3]) if found else len(self.head)
        self._mark = answer.headers.get("ETag", "")
        last = min(self._size, 2 * BLOCK) - 1
        if found and (found[1], found[2], len(self.head)) != ("0", str(last), last + 1):
            raise RemoteRefused(f"{url}: the server answers a range with {len(self.head)} other bytes")
        for start in range(0, len(self.head) if found else 0, BLOCK):
            self._blocks[start // BLOCK] = self.head[start : start + BLOCK]

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: int | slice) -> int | bytes:
        if isinstance(key, int):
            at = key + self._size if key < 0 else key
            if not 0 <= at < self._size:
                raise IndexError(key)
            return self._read(at, at + 1)[0]
        start, stop, step = key.indices(self._size)
        content = self._read(start, max(start, stop)) if step > 0 else self._read(stop + 1, start + 1)[::-1]
        return content[:: abs(step)]

    def __bytes__(self) -> bytes:
        return self._read(0, self._size)

    def find(self, sub: bytes, start: int = 0, end: int | None = None) -> int:
        """Offset of the first occurrence, or -1, as of bytes."""
        start, stop, _ = slice(start, end).indices(self._size)
        while start + len(sub) <= stop:
            piece = self._read(start, min(stop, start + 64 * BLOCK))
            at = piece.find(sub)
            if at >= 0:
                return start + at
            start += max(1, len(piece) - len(sub) + 1)
        return -1

    def _read(self, start: int, stop: int) -> bytes:
        if self.whole:
            return self.head[start:stop]
        first, last = start // BLOCK, (max(start, stop - 1)) // BLOCK
        missing = [index for index in range(first, last + 1) if index not in self._blocks]
        if missing and start < stop:
            self._fetch(missing[0], missing[-1])
        content = b"".join(self._blocks.get(index, b"") for index in range(first, last + 1))
        return content[start - first * BLOCK : stop - first * BLOCK]

    def read_once(self, start: int, stop: int) -> bytes:
        """Bytes that will not be asked for again, so they are not kept."""
        return self.head[start:stop] if self.whole else self._ask(start, stop)

    def _fetch(self, first: int, last: int) -> None:
        start, stop = first * BLOCK, min((last + 1) * BLOCK, self._size)
        self._kept += stop - start
        if self._kept > KEPT:
            raise RemoteRefused(f"{self._url}: more than {KEPT} bytes would have to be kept")
        content = self._ask(start, stop)
        for at in range(0, len(content), BLOCK):
            self._blocks[first + at // BLOCK] = content[at : at + BLOCK]

    def _ask(self, start: int, stop: int) -> bytes:
        """One request; the answer must be of the file that was asked for first."""
        answer, _ = self._client.get(self._url, {"Range": f"bytes={start}-{stop - 1}"})
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        stated = (str(start), str(stop - 1), str(self._size))
        if answer.status != 206 or not found or found.groups() != stated:
            answer.close()
            raise RemoteRefused(f"{self._url}: the server does not answer bytes {start} to {stop - 1}")
        if answer.headers.get("ETag", "") != self._mark:
            answer.close()
            raise RemoteRefused(f"{self._url}: the file changed while it was read")
        content = self._client.body(answer, stop - start)
        if len(content) != stop - start:
            raise RemoteRefused(f"{self._url}: the answer breaks off")
        return content
