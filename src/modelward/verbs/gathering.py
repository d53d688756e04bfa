"""What is to be attested of files in clear, gathered before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelward.errors import ConfigInvalid, ContentUnstable

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.vault.attest.attestation import Written
    from modelward.vault.tree.walk import WalkOptions
    from modelward.verbs.talk import Progress


class Attesting(msgspec.Struct, frozen=True, kw_only=True):
    """What is attested.

    Attributes:
        evidence: store of audits; the newest audit of every model among the files.
        scan: what loading each file can do.
        bom: a bill of materials: a file, or true to write one now (extra [bom]).
        provenance: file that states where the model comes from (docs/admission.md).
        release: file that states who may open it, where and until when.
    """

    evidence: str | Path | None = None
    scan: bool = False
    bom: str | Path | bool = False
    provenance: str | Path | None = None
    release: str | Path | None = None


def unchanged_since(source: Path, walking: WalkOptions | None = None) -> Callable[[], None]:
    """Remember which files there are; they are read more than once, and must be the same each time.

    Returns:
        What raises ContentUnstable where a file has come, gone or changed.
    """
    from modelward.vault.tree.names import shown
    from modelward.vault.tree.walk import walk

    before = {(entry.path, entry.stat) for entry in walk(source, walking)}

    def check() -> None:
        changed = before ^ {(entry.path, entry.stat) for entry in walk(source, walking)}
        if changed:
            path = min(path for path, _ in changed)
            raise ContentUnstable(f"{shown(path)}: changed between two times that it was read")

    return check


def gather(
    source: Path,
    wanted: Attesting,
    walking: WalkOptions | None = None,
    *,
    jobs: int = 0,
    progress: Progress | None = None,
) -> list[tuple[str, Written]]:
    """Everything that will be attested, each with a name for its file.

    Args:
        source: the files in clear.
        wanted: what is attested.
        walking: which files are sealed.
        jobs: processes; 0 for one.
        progress: told bytes done and bytes in all, of each reading.

    Raises:
        ConfigInvalid: a bill of materials would list files that are left out, or it is more than is read.
        ModelwardError: something cannot be read.
    """
    if wanted == Attesting():
        return []  # what follows costs start-up time
    from modelward.vault.attest.attestation import MOST
    from modelward.verbs import attest

    found: list[tuple[str, Written]] = []
    if wanted.evidence is not None:
        audits = attest.audit_evidence(source, wanted.evidence, options=walking, progress=progress)
        found += [(f"evidence-{place}", audit) for place, audit in enumerate(audits)]
    if wanted.scan:
        scan = attest.scan_verdict(source, jobs=jobs or 1, options=walking, progress=progress)
        found.append(("scan", scan))
    if wanted.bom is True and walking is not None and walking.excluded:
        raise ConfigInvalid(
            "a bill of materials written now would list what is left out",
            advice="Write it with `modelward bom`.",
        )
    if wanted.bom:
        document = None if wanted.bom is True else Path(wanted.bom)
        found.append(("bom", attest.materials(source, document, jobs=jobs or 1, progress=progress)))
    if wanted.provenance is not None:
        folder = source if source.is_dir() else source.parent
        found.append(("provenance", attest.provenance(Path(wanted.provenance), folder=folder)))
    if wanted.release is not None:
        found.append(("release", attest.read_release_file(Path(wanted.release))))
    if len(found) > MOST:
        raise ConfigInvalid(
            f"{len(found)} attestations would be made, and a verifier reads {MOST}",
            advice="Seal fewer models together, or leave --evidence out.",
        )
    return found
