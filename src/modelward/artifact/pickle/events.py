"""What the walk reports."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Level: TypeAlias = Literal["dangerous", "unproven", "note"]


class Broken(Exception):
    """The stream ends, or holds what no unpickler accepts."""


class Event(msgspec.Struct):
    """One effect that was not proven harmless.

    Attributes:
        rule: identifier of the rule.
        level: `dangerous`, `unproven`, or `note` for what does not change the verdict.
        message: one sentence.
        pos: offset in the buffer of the opcode.
        call: the reconstructed call, or None.
        times: how often it occurred.
    """

    rule: str
    level: Level
    message: str
    pos: int
    call: str | None = None
    times: int = 1
