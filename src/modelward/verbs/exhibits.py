"""The worst witnesses of an audit, ready to show."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final, cast, final

import numpy as np

from modelward.ledger.blobs import Blobs
from modelward.reporting.exhibit import Cell, Exhibit, pieces
from modelward.threats.evasion.geometry import channel_axis, spatial
from modelward.threats.evasion.text.measure import changed
from modelward.verbs.pictures import picture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from modelward.core.evidence import Evidence
    from modelward.reporting.result import AuditResult

_CELLS: Final = 12


@final
@dataclass(frozen=True, slots=True)
class _Found:
    """One witness, not yet drawn.

    Attributes:
        size: of its change.
        row: number in the data file.
        label: of the row.
        position: in the arrays.
        evidence: that names it.
    """

    size: float
    row: int
    label: str
    position: int
    evidence: Evidence


def exhibits(result: AuditResult, store: Path, count: int) -> tuple[Exhibit, ...]:
    """The witnesses with the smallest changes: norms in turn, within a norm one per label first.

    All corruptions without an attacker take turns as if they were one norm, and so do all motions.

    Args:
        result: the audit.
        store: the ledger's folder, where the arrays are.
        count: at most so many.

    Raises:
        LedgerTampered: the stored arrays are not what the evidence names.
    """
    blobs = Blobs(store / "blobs")
    all_evidence = [item for run in result.checks for item in run.evidence]
    labels = _labels(all_evidence)
    per_norm: dict[str, dict[int, _Found]] = {}
    for evidence in all_evidence:
        best = per_norm.setdefault(_kind(evidence), {})
        for found in _witnesses(evidence, labels):
            if found.row not in best or found.size < best[found.row].size:
                best[found.row] = found
    ranked = [_one_per_label(list(best.values())) for best in per_norm.values()]
    turns = chain.from_iterable(zip_longest(*ranked))
    chosen = [found for found in turns if found is not None][:count]
    return tuple(_exhibit(found, blobs.get(found.evidence.attachments["witnesses"])) for found in chosen)


def _kind(evidence: Evidence) -> str:
    """What its witnesses take turns as."""
    others = [name for name in ("corruption", "motion") if name in evidence.parameters]
    return others[0] if others else str(evidence.parameters.get("norm"))


def _labels(evidence: list[Evidence]) -> dict[int, str]:
    """Row number to label, where any evidence says it."""
    known: dict[int, str] = {}
    for item in evidence:
        rows = cast("list[int]", item.outcome.get("rows", []))
        known |= zip(rows, cast("list[str]", item.outcome.get("labels", [])), strict=False)
    return known


def _witnesses(evidence: Evidence, labels: Mapping[int, str]) -> list[_Found]:
    if "witnesses" not in evidence.attachments:
        return []
    broken = cast("list[int]", evidence.outcome.get("broken", []))
    sizes = cast("list[float]", evidence.outcome.get("sizes", []))
    return [
        _Found(size, row, labels.get(row, ""), i, evidence)
        for i, (row, size) in enumerate(zip(broken, sizes, strict=False))
    ]


def _one_per_label(found: list[_Found]) -> list[_Found]:
    """Ascending sizes, the first of every label before the second of any."""
    seen: Counter[str] = Counter()
    numbered = []
    for one in sorted(found, key=lambda one: (one.size, one.row)):
        numbered.append((seen[one.label], one.size, one.row, one))
        seen[one.label] += 1
    return [one for *_, one in sorted(numbered, key=lambda entry: entry[:3])]


def _exhibit(found: _Found, arrays: Mapping[str, NDArray[np.generic]]) -> Exhibit:
    parameters, i = found.evidence.parameters, found.position
    classes = arrays["classes"].tolist()
    original, x = arrays["original"][i], arrays["x"][i]
    label, chosen = int(arrays["label"][i]), int(arrays["prediction"][i])
    plain = Exhibit(
        row=found.row,
        check=found.evidence.check,
        norm=str(parameters.get("norm")),
        eps=float(str(parameters.get("eps"))),
        unit=str(parameters.get("unit")),
        size=found.size,
        label=str(classes[label]) if 0 <= label < len(classes) else found.label,
        prediction=str(classes[chosen]) if 0 <= chosen < len(classes) else None,
        touched=0,
    )
    if x.dtype.kind == "U":
        return _text(plain, str(original), str(x))
    if len(arrays["columns"]) == 0 and spatial(x.shape):
        return _image(plain, original, x, cast("dict[str, object]", parameters.get("box", {})))
    return _row(plain, original, x, arrays)


def _text(plain: Exhibit, original: str, x: str) -> Exhibit:
    here, there = changed(original, x), changed(x, original)
    return replace(plain, touched=len(here), before=pieces(original, there), after=pieces(x, here))


def _image(
    plain: Exhibit, original: NDArray[np.generic], x: NDArray[np.generic], box: Mapping[str, object]
) -> Exhibit:
    ends = float(str(box.get("lower", 0.0))), float(str(box.get("upper", 1.0)))
    differs = np.asarray(original != x)
    axis = channel_axis(x.shape)
    touched = differs if axis is None else differs.any(axis=axis)
    return replace(plain, touched=int(touched.sum()), picture=picture(original, x, ends))


def _row(
    plain: Exhibit,
    original: NDArray[np.generic],
    x: NDArray[np.generic],
    arrays: Mapping[str, NDArray[np.generic]],
) -> Exhibit:
    before, after = (a.reshape(-1).astype(np.float64) for a in (original, x))
    differs = np.flatnonzero((before != after) & ~(np.isnan(before) & np.isnan(after)))
    names = arrays["columns"].tolist() or [f"feature {i}" for i in range(len(before))]
    texts = [json.loads(one) for one in arrays["categories"].tolist()] or [[]] * len(before)
    scale = arrays["scale"].reshape(-1).astype(np.float64) if "scale" in arrays else np.zeros(len(before))
    cells = []
    for j in differs.tolist():
        known = bool(scale[j] > 0) and not texts[j] and bool(np.isfinite(after[j] - before[j]))
        cells.append(
            Cell(
                column=str(names[j]),
                before=_value(before[j], texts[j]),
                after=_value(after[j], texts[j]),
                units=float((after[j] - before[j]) / scale[j]) if known else None,
            )
        )
    cells.sort(key=lambda cell: -abs(cell.units) if cell.units is not None else -np.inf)
    return replace(plain, touched=len(cells), cells=tuple(cells[:_CELLS]))


def _value(value: float, texts: list[str]) -> str:
    if np.isnan(value):
        return "missing"
    if texts:
        return str(texts[int(value)]) if 0 <= value < len(texts) else f"{value:g}"
    return f"{value:.6g}"
