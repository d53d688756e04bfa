"""Arrays that evidence refers to, stored beside the ledger under the digest of their content."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, final

from modelward.core.digest import array_digest, table_digest
from modelward.errors import LedgerTampered, LedgerUnwritable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


@final
class Blobs:
    """Content-addressed npz files, 0600: they can hold personal data (a witness may be a patient's row)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, arrays: Mapping[str, NDArray[np.generic]]) -> str:
        """Store named arrays; the same content is stored once.

        Returns:
            ``sha256:<hex>`` over names, types, shapes and values.

        Raises:
            LedgerUnwritable: the file cannot be written.
        """
        import numpy as np

        digest = _digest(arrays)
        path = self._path(digest)
        if path.exists():
            return digest
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, buffer.getvalue())
        except OSError as error:
            raise LedgerUnwritable(f"{path}: cannot be written ({error.strerror})") from error
        return digest

    def get(self, digest: str) -> dict[str, NDArray[np.generic]]:
        """Read arrays back.

        Raises:
            LedgerTampered: the file is missing or its content has another digest.
        """
        import zipfile  # these cost start-up time that those who write a file do not need
        import zlib

        import numpy as np

        path = self._path(digest)
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except FileNotFoundError as error:
            raise LedgerTampered(f"{path}: is gone") from error
        except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise LedgerTampered(f"{path}: cannot be read back ({error})") from error
        if _digest(arrays) != digest:
            raise LedgerTampered(f"{path}: does not hold what its name says")
        return arrays

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest.removeprefix('sha256:')}.npz"


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600, beside: Path | None = None) -> None:
    """Write a file so that a killed process leaves the old content or the new, never half.

    Args:
        path: where; its folder exists. What a link names is replaced, not the link; a device or a pipe
            (``/dev/stdout``) is written to and stays what it is.
        data: the whole content.
        mode: permission bits.
        beside: folder for the unfinished file, which a killed process leaves behind, where the path's own
            folder must hold nothing strange; it is used if it can be.

    Raises:
        OSError: as the system reports it; the old content is still there.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    folder = beside if beside is not None and _one_disk(beside, path.parent) else path.parent
    handle, name = tempfile.mkstemp(dir=folder, prefix=".modelward-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _one_disk(beside: Path, folder: Path) -> bool:
    """Whether a file can be made in one folder and moved to the other."""
    return os.access(beside, os.W_OK | os.X_OK) and beside.stat().st_dev == folder.stat().st_dev


def _digest(arrays: Mapping[str, NDArray[np.generic]]) -> str:
    import numpy as np

    digests = {}
    for name, array in arrays.items():
        plain = np.ascontiguousarray(array)
        little = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        digests[name] = array_digest(little.dtype.str, plain.shape, [little.tobytes()])
    return table_digest(digests)
