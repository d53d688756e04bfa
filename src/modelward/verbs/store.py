"""Results in the ledger: written once, read again by `report`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from modelward.core.evidence import Evidence, to_json
from modelward.errors import ConfigInvalid, FileMissing, LedgerTampered
from modelward.ledger.store import Ledger, find_all
from modelward.reporting.result import AuditResult

if TYPE_CHECKING:
    from pathlib import Path

    from modelward.core.canonical import JSON
    from modelward.engine.journal import Journal


def record(journal: Journal, ledger: Ledger, result: AuditResult) -> AuditResult:
    """Append a result, its evidence by reference, and return it with the head that covers it."""
    plain = to_json(result)
    for check, outcome in zip(cast("list[dict[str, JSON]]", plain["checks"]), result.checks, strict=True):
        check["evidence"] = [item.digest for item in outcome.evidence]
    journal.decision(plain)
    return msgspec.structs.replace(result, ledger_head=ledger.head().root)


def recall(folder: str | Path, run: str | None = None, *, head: str | None = None) -> AuditResult:
    """Read the latest result of a ledger.

    Args:
        folder: the store: its folder, or the URL of its database.
        run: beginning of a run identity; null takes the latest run.
        head: a head printed earlier, which the ledger must continue.

    Raises:
        FileMissing: there is no ledger, or no result in it.
        ConfigInvalid: no run begins with `run`.
        LedgerTampered: the ledger is not what it was.
    """
    ledger = Ledger.open_read_only(folder)
    try:
        current = ledger.verify(head)
        records = list(ledger.records())
    finally:
        ledger.close()
    decisions = find_all(records, kind="decision")
    if not decisions:
        raise FileMissing(f"{folder}: the ledger holds no result", advice="Run `modelward audit` first.")
    chosen = [r for r in decisions if str(r.get("run")).startswith(run or "")]
    if not chosen:
        raise ConfigInvalid(
            f"no run in {folder} begins with {run!r}", advice="Leave --run out to see the latest run."
        )
    last = chosen[-1]
    measured: dict[str, Evidence] = {}
    try:
        for item in find_all(records, kind="evidence", run=last["run"]):
            evidence = msgspec.convert(item["evidence"], Evidence)
            measured[evidence.digest] = evidence
        result = cast("dict[str, JSON]", last["result"])
        for check in cast("list[dict[str, JSON]]", result["checks"]):
            names = cast("list[str]", check["evidence"])
            check["evidence"] = [cast("JSON", to_json(measured[name])) for name in names]
        found = msgspec.convert(result, AuditResult)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise LedgerTampered(f"{folder}: the stored result does not fit its evidence ({error})") from error
    return msgspec.structs.replace(found, ledger_head=current.root)
