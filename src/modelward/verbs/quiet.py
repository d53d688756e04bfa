"""Nobody watches."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from modelward.core.catalogue import CheckEntry
    from modelward.engine.outcome import CheckRun


@final
class Quiet:
    """An observer that says nothing; what library users get."""

    def opening(self, what: str) -> None:
        """Say nothing."""

    def started(self, entry: CheckEntry) -> None:
        """Say nothing."""

    def progress(self, done: int, total: int) -> None:
        """Say nothing."""

    def noted(self, text: str) -> None:
        """Say nothing."""

    def ended(self, outcome: CheckRun) -> None:
        """Say nothing."""
