"""Whether what is attested speaks of the very files at hand.

An attestation is over a root; evidence and scans name files and their digests besides, and whoever signed
them may have looked at others.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelward.core.digest import file_digest
from modelward.core.policy import Reason
from modelward.vault.attest.audited import Audit
from modelward.vault.attest.predicates import Scan
from modelward.vault.tree.walk import WalkOptions, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from modelward.vault.attest.attestation import Attestations


def bound_reasons(
    attestations: Attestations,
    path: Path,
    options: WalkOptions | None = None,
    *,
    absent: Sequence[str] = (),
) -> tuple[Reason, ...]:
    """Whether evidence and scans speak of the very files that are at hand, in clear.

    Args:
        attestations: those that verify over the root.
        path: the sealed files, in clear.
        options: which files are sealed.
        absent: signed files that a partial copy lacks; the others are compared all the same.

    Raises:
        FileMissing, PathUnsafe: as `walk` says.
    """
    files = {file.path: Path(file.absolute) for file in walk(path, options)}
    return _bound(attestations, files.keys(), frozenset(absent), lambda name: file_digest(files[name]))


def named_reasons(attestations: Attestations, names: Collection[str]) -> tuple[Reason, ...]:
    """Whether evidence and scans speak of files of these names; what is in them is not asked.

    Args:
        attestations: those that verify over the root.
        names: paths of all that was sealed.
    """
    return _bound(attestations, names, frozenset(), None)


def counted_reasons(attestations: Attestations, files: int) -> tuple[Reason, ...]:
    """Whether scans speak of as many files as were encrypted: all that is to be seen of them without a key.

    Args:
        attestations: those that verify over the root.
        files: how many were sealed.
    """
    scans = [one.content for one in attestations.held if isinstance(one.content, Scan)]
    return tuple(
        Reason(
            requirement="scan is of as many files",
            status="holds" if len(scan.files) == files else "refuted",
            detail=f"{len(scan.files)} were scanned, and {files} are sealed",
        )
        for scan in scans
    )


def _bound(
    attestations: Attestations,
    names: Collection[str],
    absent: frozenset[str],
    digest: Callable[[str], str] | None,
) -> tuple[Reason, ...]:
    reasons: list[Reason] = []
    for one in attestations.held:
        content = one.content
        if isinstance(content, Audit):
            stated = {content.evidence.model.path: content.evidence.model.digest}
        elif isinstance(content, Scan):
            stated = {file.path: file.digest for file in content.files}
        else:
            continue
        wrong = [f"{name} is not there" for name in stated if name not in names and name not in absent]
        if isinstance(content, Scan):
            wrong += [f"{name} was not scanned" for name in names if name not in stated]
        if digest is not None:
            there = (name for name in stated if name in names)
            wrong += [f"{name} is another file" for name in there if digest(name) != stated[name]]
        reasons.append(
            Reason(
                requirement=f"{one.kind} is of these files",
                status="refuted" if wrong else "holds",
                detail="; ".join(wrong[:5]) or "its digests are those of the files",
            )
        )
    return tuple(reasons)
