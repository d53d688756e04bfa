"""The verb `bom`: what a model consists of, as a bill of materials."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from modelward.errors import FileMissing
from modelward.vault.bom.cyclonedx import cyclonedx, stated_time
from modelward.vault.bom.inventory import Stated, take
from modelward.vault.bom.spdx import spdx
from modelward.verbs.scan import ScanOptions, scan
from modelward.verbs.versions import versions

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


def bom(path: str | Path, options: BomOptions | None = None) -> bytes:
    """Write a bill of materials of a file or folder; nothing is loaded.

    Args:
        path: file or folder on the disk.
        options: how.

    Returns:
        the document, UTF-8; CycloneDX is validated by its official schema.

    Raises:
        FileMissing: there is no such path, or a folder holds no file.
        ExtraMissing: the extra [bom] is not installed.
        DocumentInvalid: the document is not valid; a defect of modelward.
    """
    options = options or BomOptions()
    root = Path(path)
    if not root.exists():
        raise FileMissing(f"{root}: there is no such file")
    scanning = ScanOptions(jobs=options.jobs)
    training = scan(*options.data, options=scanning) if options.data else ()
    outside = {str(Path(report.path).resolve()) for report in training}
    reports = [r for r in scan(root, options=scanning) if str(Path(r.path).resolve()) not in outside]
    stated = Stated(name=options.name, version=options.version, supplier=options.supplier)
    inventory = take(root, [r for r in reports if Path(r.path).is_file()], training, stated)
    write = cyclonedx if options.form == "cyclonedx" else spdx
    return write(inventory, version=versions().get("modelward", "unknown"), at=stated_time())
