"""The adversarial examples of an audit as one file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np

from modelward.errors import OutputUnwritable
from modelward.ledger.blobs import Blobs, write_atomically
from modelward.verbs.report import STORED

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from modelward.core.evidence import Evidence
    from modelward.reporting.result import AuditResult

_PER_WITNESS: Final = ("index", "x", "prediction", "original", "label", "changed")
_WORDS: Final = ("classes", "columns", "categories")


def save_witnesses(result: AuditResult, store: Path, path: Path) -> int:
    """Write every witness of a result to an npz file, 0600.

    Arrays, one entry per witness: ``index`` (row of the data file), ``x`` (the changed input), ``original``
    (the unmodified one), ``label`` and ``prediction`` (index into ``classes``), ``norm``, ``eps``, ``check``;
    for texts ``changed``, a JSON list of the spans of ``x`` that differ; and to read them ``classes``, for
    tables ``columns`` and ``categories`` (a JSON list of texts per column). Where witnesses of one run have
    several shapes, no array holds them all: each shape then has arrays of its own, named by its first check,
    as in ``evasion.query/x``. Corruptions and motions keep to no ball, so theirs always are, as in
    ``evasion.corruption/x``; their ``norm`` and ``eps`` are the name and the largest severity or motion.

    Returns:
        The number of witnesses.

    Raises:
        OutputUnwritable: the file cannot be written.
        LedgerTampered: the stored arrays are not what the evidence names.
    """
    blobs = Blobs(store / "blobs")
    alike: dict[tuple[object, ...], list[dict[str, np.ndarray]]] = {}
    apart: list[dict[str, np.ndarray]] = []
    for evidence in (item for outcome in result.checks for item in outcome.evidence):
        if "witnesses" in evidence.attachments:
            arrays = _of(evidence, blobs.get(evidence.attachments["witnesses"]))
            if {"corruption", "motion"} & set(evidence.parameters):
                apart.append(arrays)
                continue
            alike.setdefault((arrays["x"].dtype.kind == "U", arrays["x"].shape[1:]), []).append(arrays)
    whole: dict[str, np.ndarray] = {}
    for parts in alike.values():
        prefix = f"{parts[0]['check'][0]}/" if len(alike) > 1 else ""
        whole |= {prefix + name: array for name, array in _joined(parts).items()}
    if apart:
        whole |= {f"{apart[0]['check'][0]}/{name}": array for name, array in _joined(apart).items()}
    if not alike:
        whole |= {name: np.empty(0) for name in (*_PER_WITNESS[:-1], "norm", "eps", "check")}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **whole)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise OutputUnwritable(
            f"{path}: the witnesses cannot be written ({error.strerror})", advice=STORED
        ) from error
    return sum(len(arrays["index"]) for parts in (apart, *alike.values()) for arrays in parts)


def _of(evidence: Evidence, stored: dict[str, NDArray[np.generic]]) -> dict[str, np.ndarray]:
    """The arrays of one piece of evidence, with what the evidence says of all of them."""
    count = len(stored["index"])
    return {
        **{name: stored[name] for name in (*_PER_WITNESS, *_WORDS) if name in stored},
        "norm": np.full(count, str(evidence.parameters.get("norm"))),
        "eps": np.full(count, evidence.parameters.get("eps"), dtype=np.float64),
        "check": np.full(count, evidence.check),
    }


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    words = {name: parts[0][name] for name in _WORDS if name in parts[0]}
    others = [name for name in parts[0] if name not in words]
    return {name: np.concatenate([part[name] for part in parts]) for name in others} | words
