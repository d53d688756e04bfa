"""The adversarial examples of an audit as one file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from modelward.errors import OutputUnwritable
from modelward.ledger.blobs import Blobs, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from modelward.reporting.result import AuditResult

_PER_WITNESS = ("index", "x", "prediction", "original", "label")


def save_witnesses(result: AuditResult, store: Path, path: Path) -> int:
    """Write every witness of a result to an npz file, 0600.

    Arrays, one entry per witness: ``index`` (row of the data file), ``x`` (the changed input), ``original``
    (the unmodified one), ``label`` and ``prediction`` (index into ``classes``), ``norm``, ``eps``, ``check``;
    and to read them ``classes``, for tables ``columns`` and ``categories`` (a JSON list of texts per column).

    Returns:
        The number of witnesses.

    Raises:
        OutputUnwritable: the file cannot be written.
        LedgerTampered: the stored arrays are not what the evidence names.
    """
    blobs = Blobs(store / "blobs")
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*_PER_WITNESS, "norm", "eps", "check")}
    words: dict[str, np.ndarray] = {}
    for outcome in result.checks:
        for evidence in outcome.evidence:
            if "witnesses" not in evidence.attachments:
                continue
            arrays = blobs.get(evidence.attachments["witnesses"])
            count = len(arrays["index"])
            for name in _PER_WITNESS:
                parts[name].append(arrays[name])
            words |= {name: arrays[name] for name in ("classes", "columns", "categories")}
            parts["norm"].append(np.full(count, str(evidence.parameters.get("norm"))))
            parts["eps"].append(np.full(count, evidence.parameters.get("eps"), dtype=np.float64))
            parts["check"].append(np.full(count, evidence.check))
    whole = {name: np.concatenate(found) if found else np.empty(0) for name, found in parts.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **whole, **words)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise OutputUnwritable(f"{path}: the witnesses cannot be written ({error.strerror})") from error
    return len(whole["index"])
