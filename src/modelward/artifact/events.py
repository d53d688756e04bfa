"""What a reader reports."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Level: TypeAlias = Literal["dangerous", "unproven", "note"]
Severity: TypeAlias = Literal["critical", "high", "medium", "low", "info"]


class Broken(Exception):
    """The stream ends, or holds what no unpickler accepts."""


class Event(msgspec.Struct):
    """One effect that was not proven harmless, or something a reader of the report should know.

    Attributes:
        rule: identifier of the rule.
        level: `dangerous`, `unproven`, or `note` for what does not change the verdict.
        message: one sentence.
        pos: offset in the buffer, -1 when there is none.
        call: the reconstructed call, or None.
        times: how often it occurred.
        severity: of a note about source, configuration or secrets; None leaves it to the level.
        line: line in a text, from 1, or None.
        remedy: what to do about it, or None.
    """

    rule: str
    level: Level
    message: str
    pos: int
    call: str | None = None
    times: int = 1
    severity: Severity | None = None
    line: int | None = None
    remedy: str | None = None
