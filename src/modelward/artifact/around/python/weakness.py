"""A weakness of source code, and how rules look at a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from modelward.artifact.events import Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.around.python.scope import Site


class Weakness(msgspec.Struct, frozen=True):
    """Something in source code that should not be so.

    Attributes:
        rule: identifier, `source.<what>`.
        line: from 1.
        severity: how bad it is.
        message: one sentence.
        remedy: how to fix it.
    """

    rule: str
    line: int
    severity: Severity
    message: str
    remedy: str


if TYPE_CHECKING:
    Rule: TypeAlias = Callable[[Site], Weakness | None]


def weak(site: Site, rule: str, severity: Severity, message: str, remedy: str) -> Weakness:
    """A weakness where a call stands."""
    return Weakness(f"source.{rule}", site.line, severity, message, remedy)


def is_true(site: Site, name: str, position: int = -1) -> bool:
    """Whether an argument is the constant True (or 1)."""
    given = site.arg(position, name)
    return given is not None and given.known and given.const == 1


def is_false(site: Site, name: str, position: int = -1) -> bool:
    """Whether an argument is the constant False (or 0)."""
    given = site.arg(position, name)
    return given is not None and given.known and given.const is not None and given.const == 0
