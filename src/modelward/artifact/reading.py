"""What a reader of one format says about one content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, final

import msgspec

from modelward.artifact.events import Event
from modelward.artifact.format import Format
from modelward.artifact.pickle.values import Buffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.events import Severity
    from modelward.core.canonical import JSON

STEPS: Final = 3_000_000
"""Most steps (nodes, fields, entries) that a reader may take; more is reported as not read."""


_KEPT: Final = 1_000
"""Most events that are kept of one rule; the last of them counts the others."""


class Malformed(Exception):
    """The content contradicts its format; the reader ends and what it found so far counts."""


class Exhausted(Exception):
    """The content needs more steps than a reader may take."""


class Inner(msgspec.Struct, frozen=True):
    """Content found inside, to be recognised and read like a file.

    Attributes:
        name: what it is called within the content it was found in.
        content: its bytes.
        format: what it is, when the reader knows better than its bytes can tell; None leaves it to them.
    """

    name: str
    content: Buffer
    format: Format | None = None


class Read(Protocol):
    """A reader: looks at the content and tells `into` what loading it can do.

    It raises nothing but `Malformed` and `Exhausted`, whatever the content holds.
    """

    def __call__(self, data: Buffer, into: Reading, /) -> None:
        """Read the whole content."""
        ...


@final
class Reading:
    """What one reader has found; it is handed to the reader empty.

    A reader that understood everything that loading acts on sets `proven`: then, with no event above a note,
    the verdict is `inert`. One that could not read a part calls `missed`: it is at best `unproven`.

    Attributes:
        name: name of the file or member, for messages and for formats known by their names; may be "".
        events: in order.
        unread: sentences on what was not read.
        inner: content found inside.
        proven: everything that loading acts on was understood.
        facts: what the content says about itself (framework, tensors, parameters, licence); for inventories.
    """

    __slots__ = ("_beside", "_kept", "_steps", "events", "facts", "inner", "name", "proven", "unread")

    def __init__(self, name: str = "", *, beside: Callable[[str], bytes | None] | None = None) -> None:
        self.name = name
        self.events: list[Event] = []
        self.unread: list[str] = []
        self.inner: list[Inner] = []
        self.proven = False
        self.facts: dict[str, JSON] = {}
        self._beside = beside
        self._kept: dict[tuple[str, str], list[Event]] = {}
        self._steps = 0

    def dangerous(self, rule: str, message: str, *, pos: int = -1, call: str | None = None) -> None:
        """Loading runs a payload or a gadget."""
        self._keep(Event(rule, "dangerous", message, pos, call))

    def unproven(self, rule: str, message: str, *, pos: int = -1, call: str | None = None) -> None:
        """Loading might run code, and it cannot be excluded."""
        self._keep(Event(rule, "unproven", message, pos, call))

    def note(self, rule: str, message: str, *, pos: int = -1) -> None:
        """Worth knowing; changes no verdict."""
        self._keep(Event(rule, "note", message, pos))

    def finding(
        self,
        rule: str,
        severity: Severity,
        message: str,
        *,
        line: int | None = None,
        remedy: str | None = None,
    ) -> None:
        """A weakness in source, configuration, secrets or dependencies: a severity, and no verdict."""
        self._keep(Event(rule, "note", message, -1, severity=severity, line=line, remedy=remedy))

    def _keep(self, event: Event) -> None:
        kept = self._kept.setdefault((event.rule, event.level), [])
        if len(kept) < _KEPT:
            kept.append(event)
            self.events.append(event)
        else:
            kept[-1].times += 1

    def missed(self, message: str) -> None:
        """Content that was not read and may hold code."""
        self.unread.append(message)
        self.unproven("artifact.unread", message)

    def spend(self, steps: int = 1) -> None:
        """Count steps of work.

        Raises:
            Exhausted: the content needs more than `STEPS`.
        """
        self._steps += steps
        if self._steps > STEPS:
            raise Exhausted

    def beside(self, name: str) -> bytes | None:
        """Content of a file beside this one (or of a member beside this member), at most 16 MiB.

        Args:
            name: relative path with forward slashes; one that leads out of the folder gives None.

        Returns:
            the content; None when there is none, it is too large, or nothing stands beside (standard input).
        """
        return self._beside(name) if self._beside is not None else None
