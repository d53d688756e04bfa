"""The verb `report`: render stored results again, and verify the store they are in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from modelward.errors import ConfigInvalid, OutputUnwritable
from modelward.ledger.blobs import write_atomically
from modelward.ledger.store import Head, Ledger
from modelward.verbs.store import recall

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from modelward.reporting.exhibit import Exhibit
    from modelward.reporting.result import AuditResult

Format: TypeAlias = Literal["text", "json", "sarif", "html"]
STORED: Final = "Choose a path that can be written; `modelward report` shows stored results again."
"""What to do where the result of an audit, which is in the ledger, cannot be written."""


def report(store: str | Path = ".modelward", run: str | None = None) -> AuditResult:
    """Read the latest result of a store, or the one of a run.

    Args:
        store: the ledger's folder, or the URL of its database.
        run: beginning of a run identity.

    Raises:
        ModelwardError: there is none, or the ledger was tampered with.
    """
    return recall(store, run)


def verify_store(store: str | Path, head: str | None = None) -> Head:
    """Hash the whole ledger.

    Args:
        store: the ledger's folder, or the URL of its database.
        head: a head printed earlier, which the ledger must continue.

    Returns:
        The current head.

    Raises:
        ConfigInvalid: `head` is not 64 hexadecimal digits.
        LedgerTampered: it was altered.
    """
    if head is not None:
        head = head.strip().lower()
        if not re.fullmatch("[0-9a-f]{64}", head):
            raise ConfigInvalid(f"{head!r} is not a head", advice="Give all 64 hexadecimal digits.")
    ledger = Ledger.open_read_only(store)
    try:
        return ledger.verify(head)
    finally:
        ledger.close()


def render(result: AuditResult, form: Format, exhibits: Sequence[Exhibit] | None = None) -> bytes:
    """Write a result in one format; ``text`` is plain, without colours.

    Args:
        result: the audit.
        form: the format.
        exhibits: witnesses to show, see `modelward.verbs.exhibits`; null shows no row of data. SARIF has no
            place for them.
    """
    from modelward.governance.catalogue import glossary

    if form == "json":
        from modelward.reporting.json_report import to_json

        return to_json(result, exhibits)
    if form == "sarif":
        from modelward.reporting.sarif import to_sarif

        return to_sarif(result, glossary=glossary())
    if form == "html":
        from modelward.reporting.html import to_html

        return to_html(result, glossary=glossary(), exhibits=exhibits).encode()
    from modelward.reporting.terminal import to_text

    return to_text(result, exhibits=exhibits).encode()


def write_report(path: Path, content: bytes, *, advice: str | None = None) -> None:
    """Write a rendered report, whole or not at all, 0600 (it can name people's rows).

    Args:
        path: where.
        content: all of it.
        advice: where it cannot be written.

    Raises:
        OutputUnwritable: the path cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise OutputUnwritable(f"{path}: cannot be written ({error.strerror})", advice=advice) from error
