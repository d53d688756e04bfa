"""Formats with magic numbers: GGUF, HDF5 behind a user block, flatbuffers, boosters, R data, msgpack."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.format import Sniffed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer

_OLD_GGML: Final = {b"lmgg": "ggml", b"fmgg": "ggmf", b"tjgg": "ggjt", b"algg": "ggla"}


def sign(data: Buffer, head: bytes) -> Sniffed | None:
    """Format of the content, or None when no rule of this group applies.

    Args:
        data: the whole content.
        head: its first 64 KiB.
    """
    for rule in (
        _ggml,
        _rdata,
        _boosters,
        _flatbuffers,
        _msgpack,
        _arrow,
        _hdf5,
        _tfrecord,
        _bytecode,
    ):
        found = rule(data, head)
        if found is not None:
            return found
    return None


_RDATA: Final = re.compile(
    rb"RD[XAB][23]\r?\n[XAB]\r?\n|X\n\0\0\0[\x02\x03]\0[\0-\x09]|B\n[\x02\x03]\0\0\0..[\0-\x09]\0|"
    rb"B\n\0\0\0[\x02\x03]\0[\0-\x09]|A\r?\n[23]\r?\n\d{6}\r?\n\d{5,6}\r?\n",
    re.DOTALL,
)
"""Encoding, version of the format, version of R (major number in the third byte)."""


def _rdata(data: Buffer, head: bytes) -> Sniffed | None:
    del data
    return Sniffed("r-data", "starts as R's serialisation") if _RDATA.match(head) else None


def _ggml(data: Buffer, head: bytes) -> Sniffed | None:
    del data
    if head[:4] == b"GGUF":
        return Sniffed("gguf", "starts with GGUF")
    old = _OLD_GGML.get(head[:4])
    return Sniffed("ggml", f"starts with the magic number of {old}") if old and len(head) > 16 else None


def _hdf5(data: Buffer, head: bytes) -> Sniffed | None:
    from modelward.artifact.formats.hdf5.store import behind_user_block

    found = behind_user_block(data, head)
    return Sniffed("hdf5", "the signature of HDF5 behind a user block") if found else None


_OBJECTIVE: Final = re.compile(rb"[\x04-\x30]\0{7}(?:binary|reg|multi|rank|count|survival):[a-z_]+")
"""Length and text of an objective, as the old binary format of XGBoost holds it."""


def _boosters(data: Buffer, head: bytes) -> Sniffed | None:
    if head[:4] == b"CBM1" and len(data) > 16 and int.from_bytes(head[4:8], "little") <= len(data) - 8:
        return Sniffed("catboost", "starts with CBM1 and the size of its core")
    if head[:4] == b"binf" or _OBJECTIVE.match(head, 136):
        start = 140 if head[:4] == b"binf" else 136
        if _OBJECTIVE.match(head, start):
            return Sniffed("xgboost-binary", "names an objective of XGBoost where its binary format does")
    return None


def _flatbuffers(data: Buffer, head: bytes) -> Sniffed | None:
    root = int.from_bytes(head[:4], "little")
    if not 8 <= root <= len(data) - 4:
        return None
    if head[4:8] == b"TFL3":
        return Sniffed("tflite", "a flatbuffer with the identifier TFL3")
    if re.fullmatch(rb"ET\d\d", head[4:8]):
        return Sniffed("executorch", "a flatbuffer with the identifier of ExecuTorch")
    return None


def _msgpack(data: Buffer, head: bytes) -> Sniffed | None:
    if head[0] & 0xF0 != 0x80 and head[0] not in {0xDE, 0xDF}:
        return None
    from modelward.artifact.formats.msgpack import begins

    found = begins(data)
    return Sniffed(*found) if found else None


def _arrow(data: Buffer, head: bytes) -> Sniffed | None:
    end = bytes(data[max(0, len(data) - 6) :])
    if (head[:6] == b"ARROW1" and end == b"ARROW1") or (head[:4] == b"FEA1" and end[2:] == b"FEA1"):
        return Sniffed("arrow", "starts and ends as an Arrow file")
    size = int.from_bytes(head[4:8], "little")
    if head[:4] == b"\xff\xff\xff\xff" and 16 <= size <= len(data) - 8 and size % 8 == 0:
        from modelward.artifact.formats.arrow import starts

        if starts(data):
            return Sniffed("arrow", "starts with the schema of an Arrow stream")
    return None


def _tfrecord(data: Buffer, head: bytes) -> Sniffed | None:
    """Records of TensorFlow: a length and its masked CRC-32C.

    Source: tensorflow/core/lib/io/record_writer.h.
    """
    size = int.from_bytes(head[:8], "little")
    if len(head) < 16 or not 0 < size <= len(data) - 16:
        return None
    crc = 0xFFFFFFFF
    for byte in head[:8]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    if masked != int.from_bytes(head[8:12], "little"):
        return None
    return Sniffed("tfrecord", "a length with its checksum, as TensorFlow's records begin")


def _bytecode(data: Buffer, head: bytes) -> Sniffed | None:
    """Compiled Python: run when a program imports it, as source is, and taken as a model by no loader.

    Source: CPython, Include/internal/pycore_magic_number.h (3000 to 3999 since 3.0) and PEP 552 (flags).
    """
    magic, flags = int.from_bytes(head[:2], "little"), int.from_bytes(head[4:8], "little")
    if (
        len(data) > 16
        and head[2:4] == b"\r\n"
        and 3000 <= magic < 4000
        and flags < 4
        and head[16] & 0x7F == 0x63
    ):
        return Sniffed("python-bytecode", "the magic number of compiled Python before a code object")
    return None
