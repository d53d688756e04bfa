"""A run as records of the ledger, so that a killed run is continued and not repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, final

import msgspec

from modelward.core.canonical import JSON, digest
from modelward.core.evidence import Evidence, to_json
from modelward.engine.outcome import CheckRun
from modelward.errors import LedgerTampered
from modelward.ledger.store import find_all

if TYPE_CHECKING:
    from modelward.core.catalogue import CheckEntry
    from modelward.ledger.store import Ledger


@final
class Journal:
    """The records of one run identity.

    Attributes:
        run: the identity, 64 hexadecimal digits.
        attempt: how often this identity was started afresh; records of earlier attempts are left alone.
    """

    def __init__(self, ledger: Ledger, identity: dict[str, JSON], *, fresh: bool) -> None:
        self.run = digest(identity)
        self._ledger = ledger
        earlier = find_all(list(ledger.records()), run=self.run)
        # Two processes may have started the same attempt, so starts are not counted.
        last = max((cast("int", start["attempt"]) for start in find_all(earlier, kind="run")), default=0)
        self.attempt = last + 1 if fresh or not last else last
        self._earlier = find_all(earlier, attempt=self.attempt)
        if self.attempt > last:
            self._append("run", identity=identity)

    def finished(self, entry: CheckEntry) -> CheckRun | None:
        """The recorded outcome of a check that needs no repeating, or null."""
        done = find_all(self._earlier, kind="check", check=entry.id)
        if not done:
            return None
        recorded = {}
        try:
            for record in find_all(self._earlier, kind="evidence"):
                item = msgspec.convert(record["evidence"], Evidence)
                recorded[item.digest] = item
            run = msgspec.convert(done[-1]["outcome"], CheckRun)
            evidence = tuple(recorded[name] for name in cast("list[str]", done[-1]["evidence"]))
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise LedgerTampered(
                f"the record of check {entry.id} names evidence that is not there"
            ) from error
        return msgspec.structs.replace(run, evidence=evidence, resumed=True)

    def evidence(self, item: Evidence) -> None:
        """Record one measurement as soon as it is made."""
        self._append("evidence", evidence=to_json(item))

    def check(self, outcome: CheckRun) -> None:
        """Record that a check needs no repeating."""
        plain = to_json(msgspec.structs.replace(outcome, evidence=()))
        digests: list[JSON] = [item.digest for item in outcome.evidence]
        self._append("check", check=outcome.check, outcome=plain, evidence=digests)

    def decision(self, result: dict[str, JSON]) -> None:
        """Record what was concluded."""
        self._append("decision", result=result)

    def _append(self, kind: str, **content: JSON) -> None:
        self._ledger.append({"kind": kind, "run": self.run, "attempt": self.attempt, **content})
