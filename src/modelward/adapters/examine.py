"""What static inspection says of a model file, bound to the bytes it was said of."""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelward.adapters.loading import SANDBOXED
from modelward.artifact.verdict import inspect, inspect_bytes
from modelward.core.digest import file_digest, table_digest
from modelward.errors import ExtraMissing, FileDamaged, FileMissing

if TYPE_CHECKING:
    from pathlib import Path

    from modelward.artifact.verdict import ArtifactReport


@dataclass(frozen=True, slots=True)
class Examined:
    """A model file before it is loaded.

    Attributes:
        report: what loading it could do.
        digest: of its bytes; for a format whose loading can run code, of the very bytes that were inspected.
        beside: other files that it names as parts of itself (external weights of ONNX).
        whole: digest of the file and the files beside it.
    """

    report: ArtifactReport
    digest: str
    beside: tuple[Path, ...]
    whole: str

    def require_unchanged(self, path: Path) -> None:
        """Refuse a file that is not what was examined any more.

        Raises:
            FileDamaged: it changed.
        """
        if file_digest(path) != self.digest or _whole(path, self.digest, self.beside) != self.whole:
            raise FileDamaged(
                f"{path}: changed while it was examined", advice="Examine it when it is at rest."
            )


def examine(path: Path) -> Examined:
    """Inspect a model file without loading it.

    Raises:
        FileMissing: it does not exist, is no file or cannot be read; or a file that it names is absent.
        FileDamaged: it is empty or damaged.
        UnsafeArtifact: it names files outside its folder.
        ExtraMissing: it names files beside it, and onnx, which finds them, is not installed.
    """
    if not path.is_file():
        reason = "is a folder, not a model file" if path.is_dir() else "there is no such file"
        raise FileMissing(
            f"{path}: {'is not a regular file' if path.exists() and not path.is_dir() else reason}"
        )
    report = inspect(path)
    if report.format in SANDBOXED:
        # A map of the file could change under the inspection; these bytes cannot, and no others are loaded.
        content = path.read_bytes()
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        return Examined(inspect_bytes(content, str(path)), digest, (), digest)
    digest = file_digest(path)
    beside = _beside(path) if report.format == "onnx" else ()
    return Examined(report, digest, beside, _whole(path, digest, beside))


def _whole(path: Path, digest: str, beside: tuple[Path, ...]) -> str:
    if not beside:
        return digest
    folder = path.parent.resolve()
    return table_digest({"": digest} | {str(b.relative_to(folder)): file_digest(b) for b in beside})


def _beside(path: Path) -> tuple[Path, ...]:
    # ExternalData.md: every external tensor has the key `location`; most files have none, and are not parsed.
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"location") < 0:
            return ()
    try:
        from modelward.adapters.onnx_import.graph import external_files
    except ImportError as error:
        raise ExtraMissing("onnx", "torch") from error
    return external_files(path)
