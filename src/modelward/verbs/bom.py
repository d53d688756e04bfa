"""The verb `bom`: what a model consists of, as a bill of materials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from modelward.errors import FileMissing
from modelward.vault.bom.cyclonedx import cyclonedx, stated_time
from modelward.vault.bom.inventory import Stated, take
from modelward.vault.bom.spdx import spdx
from modelward.vault.tree.pool import Meter
from modelward.verbs.scan import ScanOptions, scan_each
from modelward.verbs.scan_files import files_below
from modelward.verbs.talk import Talk
from modelward.verbs.versions import versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.artifact.verdict import ArtifactReport

BomFormat: TypeAlias = Literal["cyclonedx", "spdx"]


class BomOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to write it.

    Attributes:
        form: `cyclonedx` (1.6, JSON) or `spdx` (3.0.1, JSON-LD).
        name: of the whole; the folder's when empty.
        version: of the whole.
        supplier: who supplies it.
        data: files that the model was trained on, in or outside the folder.
        jobs: processes for folders.
    """

    form: BomFormat = "cyclonedx"
    name: str = ""
    version: str = ""
    supplier: str = ""
    data: tuple[str | Path, ...] = ()
    jobs: int = 1


def bom(path: str | Path, options: BomOptions | None = None, talk: Talk | None = None) -> bytes:
    """Write a bill of materials of a file or folder; nothing is loaded.

    Args:
        path: file or folder on the disk.
        options: how.
        talk: whom to tell of progress: of inspecting the files, then of hashing them.

    Returns:
        the document, UTF-8; CycloneDX is validated by its official schema.

    Raises:
        FileMissing: there is no such path, or a folder holds no file.
        ExtraMissing: the extra [bom] is not installed.
        DocumentInvalid: the document is not valid; a defect of modelward.
    """
    options, talk = options or BomOptions(), talk or Talk()
    root = Path(path)
    if not root.exists():
        raise FileMissing(f"{root}: there is no such file")
    training = _scanned(options.data, options.jobs, talk)
    outside = {str(Path(report.path).resolve()) for report in training}
    reports = [r for r in _scanned([root], options.jobs, talk) if str(Path(r.path).resolve()) not in outside]
    stated = Stated(name=options.name, version=options.version, supplier=options.supplier)
    inventory = take(
        root, [r for r in reports if Path(r.path).is_file()], training, stated, progress=talk.progress
    )
    write = cyclonedx if options.form == "cyclonedx" else spdx
    return write(inventory, version=versions().get("modelward", "unknown"), at=stated_time())


def _scanned(paths: Sequence[str | Path], jobs: int, talk: Talk) -> list[ArtifactReport]:
    meter = Meter(sum(map(_length, paths)), talk.progress)
    reports = []
    for report in scan_each(paths, ScanOptions(jobs=jobs)):
        meter.add(_length(report.path))
        reports.append(report)
    return reports


def _length(path: str | Path) -> int:
    """Bytes of a file, or of all files below a folder; of what cannot be asked none."""
    try:
        if Path(path).is_dir():
            return sum(map(_length, files_below(Path(path))))
        return Path(path).stat().st_size
    except OSError:
        return 0
