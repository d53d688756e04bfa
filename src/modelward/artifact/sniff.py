"""Recognise what a file is by its content; its name is asked for texts alone (`around/kinds.py`)."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Final

from modelward.artifact.format import Sniffed
from modelward.artifact.pickle.judge import Judge
from modelward.artifact.pickle.machine import walk
from modelward.artifact.pickle.opcodes import VALID
from modelward.artifact.pickle.values import holds
from modelward.artifact.zipread import Archive
from modelward.errors import FileDamaged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelward.artifact.events import Event
    from modelward.artifact.pickle.values import Buffer

PREFIX: Final = 1 << 16
"""Bytes looked at from the start of a file (a zip's directory is read from its end)."""
COMPRESSIONS: Final[dict[bytes, str]] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x02\x21\x4c\x18": "lz4",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"ZF0x": "zfile",
}
LEGACY_MAGIC: Final = b"\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""torch.serialization.MAGIC_NUMBER as LONG1, then STOP, after a PROTO opcode."""
_WRAPPERS: Final = (b"NumpyArrayWrapper", b"NDArrayWrapper")
_WHOLE: Final = 1 << 26
"""Largest content, in bytes, that is walked as a pickle to find out whether it is one."""


def sniff(data: Buffer) -> Sniffed:
    """Recognise the format of a file's content.

    Args:
        data: the whole content, as bytes or a memory map; a bounded prefix and a zip's directory are read.

    Raises:
        FileDamaged: there is no content, or a zip archive has no readable directory and no member.
    """
    if not len(data):
        raise FileDamaged("the file is empty")
    head = bytes(data[:PREFIX])
    for rule in (
        _magic,
        _zip,
        _compressed,
        _safetensors,
        _pickle,
        _signs,
        _text,
        _ubj,
        _late_zip,
        _odd_pickle,
        _prose,
        _passive,
    ):
        found = rule(data, head)
        if found is not None:
            return found
    return Sniffed("unknown", "no rule recognises the content")


def compression(head: bytes) -> str | None:
    """Name of the compression whose magic number starts the content, or None."""
    while head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:  # a frame that lz4 and zstd skip
        head = head[8 + int.from_bytes(head[4:8], "little") :]
    found = next((name for magic, name in COMPRESSIONS.items() if head.startswith(magic)), None)
    if (
        found is None
        and len(head) > 1
        and head[0] & 0x8F == 0x08
        and int.from_bytes(head[:2], "big") % 31 == 0
    ):
        return "zlib" if head[0] == 0x78 else None
    return "lzma" if found is None and _lzma_header(head) else found


def _magic(data: Buffer, head: bytes) -> Sniffed | None:
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")):
        return Sniffed("image", "starts with the magic number of a picture")
    if head.startswith(b"SQLite format 3\0"):
        return Sniffed("sqlite", "starts with the magic number of SQLite")
    if head.startswith(b"\x93NUMPY"):
        return Sniffed("npy", "starts with the magic number of npy")
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return Sniffed("hdf5", "starts with the signature of HDF5")
    if head.startswith(b"PAR1"):
        if len(data) < 12 or data[len(data) - 4 : len(data)] not in {b"PAR1", b"PARE"}:
            raise FileDamaged("the file starts as parquet and does not end as parquet: it is truncated")
        return Sniffed("parquet", "starts and ends with PAR1")
    if head[257:262] == b"ustar":
        from modelward.artifact.signs.archives import tar_kind

        return tar_kind(data)
    return None


def _zip(data: Buffer, head: bytes) -> Sniffed | None:
    if not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return None
    archive = Archive(data)
    if not archive.directories:
        raise FileDamaged("the file starts as a zip archive and has no readable directory: it is truncated")
    return _zip_kind(archive)


def _zip_kind(archive: Archive) -> Sniffed:
    from modelward.artifact.signs.archives import zip_kind

    return zip_kind(archive)


def _compressed(data: Buffer, head: bytes) -> Sniffed | None:
    from modelward.artifact.compress import first_bytes

    name = compression(head)
    if name is None:
        return None
    inner = first_bytes(data, name, 4096)
    if inner is None:
        return (
            None
            if name in {"zlib", "lzma"}
            else Sniffed("compressed", f"starts with the magic number of {name}")
        )
    if _looks_pickled(inner):
        return Sniffed("joblib-compressed", f"{name} around a pickle")
    if _csv(inner):
        return Sniffed("csv-compressed", f"{name} around delimited text")
    return Sniffed("compressed", f"{name} around other content")


def _lzma_header(head: bytes) -> bool:
    """Whether the content may be LZMA alone, which has no magic number.

    Properties, a window of 2**n or 2**n + 2**(n-1) bytes, a plausible size, and a coder that starts with 0.
    Source: liblzma, alone_decoder.c (its strict reading, which Python's is).
    """
    if len(head) < 18 or head[0] >= 225 or head[13]:
        return False
    window, size = int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:13], "little")
    power = window & (window - 1) == 0 or window == 0xFFFFFFFF
    power = power or (window % 3 == 0 and window // 3 & (window // 3 - 1) == 0)
    return power and (size == (1 << 64) - 1 or 0 < size < 1 << 38)


def _looks_pickled(head: bytes) -> bool:
    return len(head) > 2 and head[0] == 0x80 and head[1] <= 5 and head[2] in VALID


_SIGNS: Final = ("binary", "graphs", "archives", "documents")
"""Modules of `signs`, asked in this order; each has a function `sign(data, head)`."""


def _signs(data: Buffer, head: bytes) -> Sniffed | None:
    for name in _SIGNS:
        found: Sniffed | None = import_module(f"modelward.artifact.signs.{name}").sign(data, head)
        if found is not None:
            return found
    return None


def _safetensors(data: Buffer, head: bytes) -> Sniffed | None:
    if len(head) < 10 or head[8:9] != b"{":
        return None
    size = int.from_bytes(head[:8], "little")
    if size > 100_000_000 or size < 2:
        return None
    if size + 8 > len(data):
        raise FileDamaged(
            f"the file starts as safetensors and its header of {size} bytes is cut off: it is truncated"
        )
    return Sniffed("safetensors", f"a JSON header of {size} bytes after its length")


def _pickle(data: Buffer, head: bytes) -> Sniffed | None:
    if LEGACY_MAGIC in head[:32]:  # protocols 4 and 5 put a frame before it
        return Sniffed("torch-legacy", "starts with torch's magic number")
    if _looks_pickled(head):
        if any(name in head for name in _WRAPPERS) or _far_wrapper(data):
            return Sniffed("joblib", "a pickle with joblib's array wrapper")
        return Sniffed("pickle", f"starts with PROTO {head[1]}")
    return None


def _far_wrapper(data: Buffer) -> bool:
    """Whether the wrapper's name stands beyond the prefix; one search, at memory speed."""
    return len(data) > PREFIX and holds(data, (b"joblib.numpy_pickle",), PREFIX)


_PROTOCOL0: Final = re.compile(
    rb"(?:c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n|\(i[A-Za-z_][\w.]*\n|\((?:lp|dp|tp)\d+\n|\([ldt](?:p|\.|[aIFSVLc(])|"
    rb"[IF]-?\d[\d.eE+-]*\n(?:p\d+\n)?\.|L-?\d+L?\n\.|[SV][^\n]*\n(?:p\d+\n)?\.|[])}](?:q.|\.)|\((?:c|[SVIKMJX\]}(]))"
)

_CERTAIN: Final = re.compile(rb"\([ldt]p\d+\n")
_NAMES: Final = re.compile(rb"c[^\n]*\n[^\n]*\n|[SVIFLpg][^\n]*\n")
"""Opcodes of texts and names, as lines of words spell them too."""


def _protocol0(head: bytes) -> bool:
    """Whether the start is that of a pickle, and what follows gets on as one: lists of words start so too."""
    if _PROTOCOL0.match(head) is None:
        return False
    if _CERTAIN.match(head) or b"\0" in head or not _decodes(head):
        return True
    judge = Judge(head)
    found = walk(judge)
    if found.broken is None or found.end > PREFIX // 2 or credible(head, judge.events.values()):
        return True
    return re.search(rb"[Riob\x81\x92]", _NAMES.sub(b"", head[: found.end])) is not None


def _odd_pickle(data: Buffer, head: bytes) -> Sniffed | None:
    """Protocols 0 and 1 have no magic number: the opcodes of the beginning must make a plausible start."""
    if _protocol0(head):
        return Sniffed("pickle", "starts with opcodes of protocol 0 or 1")
    if head[:1] in {b"N", b"I", b"K", b"\x88", b"\x89"} and len(head) < 8 and head.endswith(b"."):
        return Sniffed("pickle", "one constant and STOP")
    if head[0] in VALID and len(data) <= _WHOLE:
        judge = Judge(data)
        if walk(judge).broken is None or credible(data, judge.events.values()):
            return Sniffed("pickle", "every byte up to STOP is an opcode")
    return None


_IMPORTABLE: Final = re.compile(rb"[ci][A-Za-z_][\w.]{0,500}\r?\n[A-Za-z_][\w.]{0,500}\r?\n")


def credible(data: Buffer, events: Iterable[Event]) -> bool:
    """Whether a broken stream holds a payload.

    Text (`import os`, `class A:`) spells names as well, which no unpickler could import.
    """
    return any(
        event.level == "dangerous"
        and (event.pos < 0 or data[event.pos] not in b"ci" or _IMPORTABLE.match(data, event.pos) is not None)
        for event in events
    )


def _text(data: Buffer, head: bytes) -> Sniffed | None:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if re.match(rb"tree\r?\n", start) and (
        b"version=" in start[:200] or data.find(b"\nmax_feature_idx=") >= 0
    ):
        return Sniffed("lightgbm", "starts as the text of a LightGBM model")
    if start[:1] in {b"{", b"["} and _decodes(start):
        if b'"gradient_booster"' in head or _learns(data):
            return Sniffed("xgboost-json", "JSON with a learner")
        if _KEYS.match(start) and all(data.find(key) >= 0 for key in _CATBOOST):
            return Sniffed("catboost-json", "JSON with information on features, scale and bias")
        if re.match(rb'[{\[]\s*(?:["{\[\]}0-9tfn-])', start):
            return Sniffed("json", "text that starts as JSON")
    if _protocol0(head):
        return Sniffed("pickle", "starts with opcodes of protocol 0 or 1")
    return Sniffed("csv", "delimited text") if _csv(head) else None


_KEYS: Final = re.compile(rb'\{\s*"')
_CATBOOST: Final = (b'"features_info"', b'"scale_and_bias"')
"""What CatBoost's JSON always has at its top, in any order."""


def _learns(data: Buffer) -> bool:
    """Whether an object of JSON is called a learner; a vocabulary may hold the word, with a number."""
    at = data.find(b'"learner"')
    while at >= 0:
        if re.match(rb"\s*:\s*\{", data[at + 9 : at + 4096]):
            return True
        at = data.find(b'"learner"', at + 9)
    return False


def _prose(data: Buffer, head: bytes) -> Sniffed | None:
    """Text of any other kind: no loader of a model takes it. Asked last, after text that is a pickle."""
    last = bytes(data[-PREFIX:])
    if b"\0" in head or b"\0" in last or not _decodes(head):
        return None
    control = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head)
    return None if control else Sniffed("text", "text that is no model")


def _passive(data: Buffer, head: bytes) -> Sniffed | None:
    from modelward.artifact.signs.passive import sign

    return sign(data, head)


def _decodes(head: bytes) -> bool:
    try:
        head[:4096].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > min(len(head), 4096) - 4
    return True


def _csv(head: bytes) -> bool:
    """The first lines are printable text with one delimiter, equally often on each."""
    if b"\0" in head or not _decodes(head):
        return False
    lines = [line for line in head.split(b"\n")[: 12 if len(head) < PREFIX else 11] if line.strip()]
    if len(head) >= 4096 and len(lines) > 1:
        lines.pop()
    for mark in (b",", b"\t", b";", b"|"):
        counts = {re.sub(rb'"[^"]*"', b"", line).count(mark) for line in lines}
        if len(counts) == 1 and counts != {0}:
            return True
    return False


def _ubj(data: Buffer, head: bytes) -> Sniffed | None:
    if (
        head[:1] == b"{"
        and head[1:2] in b"LliIUV"
        and (b"learner" in head or b"learner" in bytes(data[-PREFIX:]))
    ):
        return Sniffed("xgboost-ubj", "universal binary JSON with a learner")
    return None


def _late_zip(data: Buffer, head: bytes) -> Sniffed | None:
    """A zip archive may follow any prefix; its directory is found from the end."""
    del head
    archive = Archive(data)
    return _zip_kind(archive) if archive.members else None
