"""One finding of the static scan."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from modelward.artifact.events import Level, Severity
from modelward.core.canonical import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence


class Location(msgspec.Struct, frozen=True):
    """Where in a file something stands.

    Attributes:
        member: path of the member inside archives, "" for the file itself.
        offset: byte offset in the member's (decompressed) content, or None.
        line: line of a text, from 1, or None.
    """

    member: str
    offset: int | None
    line: int | None = None


class Finding(msgspec.Struct, frozen=True):
    """One thing that loading would do, or that could not be decided.

    Attributes:
        rule: identifier, e.g. `pickle.payload`.
        severity: where there is a verdict, `critical` makes it dangerous, `medium` unproven, and `info`
            changes nothing; in source, configuration, secrets and dependencies it says how bad it is.
        message: one sentence.
        location: member and offset.
        call: the reconstructed call, e.g. `os.system('id')`, or None.
        remedy: what to do about it, or None.
        level: what it means for the verdict: `dangerous`, `unproven`, or `note` for nothing.
        accepted: why it does not count (an inline suppression or a baseline), or None.
    """

    rule: str
    severity: Severity
    message: str
    location: Location
    call: str | None = None
    remedy: str | None = None
    level: Level = "note"
    accepted: str | None = None


def fingerprints(findings: Sequence[Finding]) -> list[str]:
    """One stable name per finding of a file: it survives moved lines and offsets, and names no path.

    Args:
        findings: all findings of one file.

    Returns:
        in the same order, SHA-256 in hexadecimal over rule, member, call, and the count of equal ones before.
    """
    seen: Counter[bytes] = Counter()
    made: list[str] = []
    for finding in findings:
        key = canonical([finding.rule, finding.location.member, finding.call or ""])
        made.append(hashlib.sha256(key + b"#%d" % seen[key]).hexdigest())
        seen[key] += 1
    return made
