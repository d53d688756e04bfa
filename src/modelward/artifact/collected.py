"""Budgets of the walk of one file, and what it has found."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import msgspec

from modelward.artifact.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.events import Level
    from modelward.artifact.format import Format
    from modelward.core.canonical import JSON


class Limits(msgspec.Struct, frozen=True):
    """Budgets; what lies beyond them is reported as unproven.

    Attributes:
        depth: archives and compressed streams inside each other.
        member: bytes one member may decompress to.
        total: bytes all members together may decompress to.
        members: members of all archives together.
        second: bytes of content of another format that are looked at as a pickle as well; None for all.
    """

    depth: int = 16
    member: int = 4 << 30
    total: int = 16 << 30
    members: int = 20_000
    second: int | None = None


@final
class Collected:
    """What the walk of one file has found.

    Attributes:
        limits: budgets.
        beside: content of a file beside the one that is read now, by relative path.
        events: (member, event) in order.
        unread: sentences on what was not read.
        proven: content other than a pickle was proven harmless (a skops schema).
        contained: name -> format of each member that was recognised.
        harmless: names of the members whose own content was proven harmless.
        facts: what the content says about itself.
    """

    __slots__ = (
        "arrays", "beside", "contained", "events", "facts", "harmless", "limits", "members", "packed",
        "produced", "proven", "streams", "unread",
    )  # fmt: skip

    def __init__(self, limits: Limits, beside: Callable[[str], bytes | None] | None = None) -> None:
        self.limits = limits
        self.beside = beside
        self.events: list[tuple[str, Event]] = []
        self.unread: list[str] = []
        self.members = self.streams = self.arrays = self.produced = self.packed = 0
        self.proven = False
        self.contained: dict[str, Format] = {}
        self.harmless: set[str] = set()
        self.facts: dict[str, JSON] = {}

    def add(self, member: str, rule: str, message: str, *, level: Level = "unproven") -> None:
        """Record an event of a member."""
        self.events.append((member, Event(rule, level, message, -1)))

    def note(self, member: str, rule: str, message: str) -> None:
        """Record what is worth knowing and changes no verdict."""
        self.add(member, rule, message, level="note")

    def missed(self, member: str, message: str) -> None:
        """Record content that was not read and may hold code."""
        where = f"{member}: " if member else ""
        self.unread.append(where + message)
        self.add(member, "artifact.unread", message)

    def trial(self) -> Collected:
        """A walk whose findings may be dropped; what it may still spend is what this one may."""
        made = Collected(self.limits, self.beside)
        made.members, made.produced, made.packed = self.members, self.produced, self.packed
        return made

    def settle(self, trial: Collected) -> None:
        """Count what a trial has spent, whether or not its findings are taken over."""
        self.members, self.produced, self.packed = trial.members, trial.produced, trial.packed
        trial.members = trial.produced = trial.packed = 0

    def merge(self, other: Collected) -> None:
        """Take over everything that another walk found."""
        self.events += other.events
        self.unread += other.unread
        self.members += other.members
        self.streams += other.streams
        self.arrays += other.arrays
        self.produced += other.produced
        self.packed += other.packed
        self.contained.update(other.contained)
        self.harmless |= other.harmless
        self.facts.update(other.facts)
