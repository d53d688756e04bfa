"""npy and npz files, read without executing or believing them.

Format: NumPy Enhancement Proposal 1 and `numpy.lib.format`, versions 1.0 to 3.0.
"""

from __future__ import annotations

import ast
import math
import re
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from modelward.adapters.data.limits import GRACE, MAX_RATIO
from modelward.errors import FileDamaged, FileMissing, FormatUnknown, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000
_TYPE = re.compile(r"[<>|=]?([biufUS]\d{1,9}|\?)")


class _Header(NamedTuple):
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    fortran: bool
    start: int


def open_npy(path: Path) -> NDArray[np.generic]:
    """Map an npy file into memory, read-only.

    Raises:
        FileMissing: it cannot be read.
        FileDamaged: it is truncated, too long, or its header is damaged.
        InputError: it holds Python objects, records or complex numbers.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            header = _header(stream, size, str(path))
        if size == header.start:
            return np.empty(header.shape, dtype=header.dtype)
        flat = np.memmap(path, dtype=np.uint8, mode="r", offset=header.start, shape=(size - header.start,))
    except OSError as error:
        raise FileMissing(f"{path}: cannot be read ({error.strerror})") from error
    return _shaped(flat, header)


def open_npz(
    path: Path, label: str | None
) -> tuple[NDArray[np.generic], NDArray[np.generic] | None, list[str]]:
    """Read the arrays ``x`` and ``y`` of an npz file.

    Args:
        path: the file.
        label: key of the labels; null means ``y``, which may then be absent if ``x`` is the only array.

    Returns:
        x, y or null, and the keys of the arrays that were not read.

    Raises:
        FileMissing: it cannot be read.
        FileDamaged: an array is truncated, damaged or would expand to implausibly much.
        FormatUnknown: it holds no arrays.
        InputError: it lacks ``x`` or the labels, or they are Python objects, records or complex numbers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            if not keys:
                raise FormatUnknown(f"{path}: is a zip archive without npy arrays")
            wanted = label or "y"
            if "x" not in keys or (wanted not in keys and (label or len(keys) > 1)):
                found = ", ".join(repr(key) for key in keys[:8])
                raise InputError(
                    f"{path}: holds the arrays {found} where 'x' and {wanted!r} are expected",
                    advice="Save it with `numpy.savez(path, x=..., y=...)`, or state the key of the labels.",
                )
            x = _member(archive, "x", path)
            y = _member(archive, wanted, path) if wanted in keys else None
            return x, y, [key for key in keys if key not in {"x", wanted}]
    except FileNotFoundError as error:
        raise FileMissing(f"{path}: does not exist") from error
    except PermissionError as error:
        raise FileMissing(f"{path}: cannot be read ({error.strerror})") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        # RuntimeError: encrypted, or compressed by a method that zipfile does not know.
        raise FileDamaged(f"{path}: is a truncated or damaged npz file") from error


def open_npz_arrays(path: Path, keys: Sequence[str]) -> list[NDArray[np.generic]]:
    """Read named arrays of an npz file.

    Raises:
        FileDamaged: one is absent, truncated, damaged or would expand to implausibly much.
        InputError: one holds Python objects, records or complex numbers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [_member(archive, key, path) for key in keys]
    except KeyError as error:
        raise FileDamaged(f"{path}: has not all of the arrays {', '.join(keys)}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        raise FileDamaged(f"{path}: is a truncated or damaged npz file") from error


def _member(archive: zipfile.ZipFile, key: str, path: Path) -> NDArray[np.generic]:
    name = f"{path}: array {key!r}"
    info = archive.getinfo(key + ".npy")
    packed = min(info.compress_size, path.stat().st_size)
    if info.file_size > max(GRACE, MAX_RATIO * packed):
        raise FileDamaged(
            f"{name}: {packed:,} bytes claim to unzip to {info.file_size:,}, over {MAX_RATIO} times as much",
            advice="If the file is genuine, save it again with `numpy.savez`, uncompressed.",
        )
    with archive.open(info) as stream:
        header = _header(stream, info.file_size, name)
        flat = np.empty(info.file_size - header.start, dtype=np.uint8)
        done = 0
        while part := stream.read(min(1 << 20, len(flat) - done)):
            flat[done : done + len(part)] = np.frombuffer(part, dtype=np.uint8)
            done += len(part)
        stream.read(1)  # lets zipfile compare the checksum
    if done != len(flat):
        raise FileDamaged(f"{name}: is truncated")
    return _shaped(flat, header)


def _header(stream: IO[bytes], size: int, name: str) -> _Header:
    """Parse and check the header; `start` is where the values begin."""
    lead = stream.read(8)
    wide = len(lead) == 8 and lead[6] in {2, 3}
    if len(lead) < 8 or lead[:6] != MAGIC or lead[6] not in {1, 2, 3}:
        raise FileDamaged(f"{name}: is not an npy array")
    count = stream.read(4 if wide else 2)
    length = int.from_bytes(count, "little")
    text = stream.read(min(length, _MAX_HEADER))
    if len(text) != length:
        raise FileDamaged(f"{name}: its header is truncated or longer than {_MAX_HEADER:,} bytes")
    dtype, shape, fortran = _fields(text, name)
    start = len(lead) + len(count) + length
    if size - start != math.prod(shape) * dtype.itemsize:
        raise FileDamaged(
            f"{name}: has {size - start:,} bytes of values where {dtype} of shape {shape} takes "
            f"{math.prod(shape) * dtype.itemsize:,}"
        )
    return _Header(dtype, shape, fortran, start)


def _fields(text: bytes, name: str) -> tuple[np.dtype[np.generic], tuple[int, ...], bool]:
    try:
        fields = ast.literal_eval(text.decode("utf-8").strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise FileDamaged(f"{name}: its header cannot be read") from error
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise FileDamaged(f"{name}: its header lacks type, order or shape")
    descr, shape, fortran = fields["descr"], fields["shape"], fields["fortran_order"]
    if isinstance(descr, str) and descr.lstrip("|<>=").startswith("O"):
        raise InputError(
            f"{name}: holds Python objects, which only unpickling could read, so it is refused",
            advice="Save it as an array of numbers or texts: `numpy.asarray(values, dtype=float)`.",
        )
    sizes_ok = isinstance(shape, tuple) and all(type(n) is int and 0 <= n < 2**62 for n in shape)
    if not sizes_ok or type(fortran) is not bool or len(shape) > 32:
        raise FileDamaged(f"{name}: its header states no valid shape")
    if not isinstance(descr, str) or not _TYPE.fullmatch(descr):
        raise InputError(f"{name}: holds values of type {str(descr)[:40]!r}, neither numbers nor texts")
    try:
        dtype: np.dtype[np.generic] = np.dtype(descr)
    except (TypeError, ValueError) as error:
        raise FileDamaged(f"{name}: its header states no valid type") from error
    if dtype.itemsize == 0 or (dtype.kind in "iuf" and dtype.itemsize > 8):
        raise InputError(f"{name}: holds values of type {descr!r}, neither numbers nor texts")
    return dtype, shape, fortran


def _shaped(flat: NDArray[np.uint8], header: _Header) -> NDArray[np.generic]:
    return flat.view(header.dtype).reshape(header.shape, order="F" if header.fortran else "C")
