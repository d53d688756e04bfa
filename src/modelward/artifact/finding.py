"""One finding of the static scan."""

from __future__ import annotations

import msgspec

from modelward.artifact.events import Level, Severity


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
