"""Labels as indices into sorted texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from modelward.adapters.characters import are_characters
from modelward.adapters.data.limits import EXACT, MAX_LABELS
from modelward.errors import InputError, ShapeMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from modelward.adapters.data.scan import ColumnScan

_NO_REGRESSION = "Give class labels: whole numbers, booleans or texts."


class Labels(NamedTuple):
    """Labels of some rows.

    Attributes:
        y: (n,) int64 index into `texts`.
        texts: the label values, sorted numerically where all are numbers.
        counts: rows per label, of all rows of the file.
    """

    y: NDArray[np.int64]
    texts: tuple[str, ...]
    counts: dict[str, int]


def labels_of_column(scan: ColumnScan, values: NDArray[np.float64]) -> Labels:
    """Labels from a column of a table.

    Args:
        scan: the label column after all rows.
        values: (n,) float64 of the rows held, as `ColumnScan.add` returned them.

    Raises:
        InputError: a label is missing, is no whole number, or there are more than `MAX_LABELS`.
    """
    name = f"the label column {scan.name!r}"
    _require_present(name, scan.missing, scan.rows)
    if scan.form == "text":
        _require_few(name, crowded=scan.texts.crowded or len(scan.texts.codes) > MAX_LABELS)
        texts, counts = list(scan.texts.codes), scan.texts.counts.tolist()
        return _sorted(texts, counts, values.astype(np.int64))
    tally = scan.numbers
    _require_whole(name, whole=tally.whole and tally.infinite is None)
    _require_few(name, crowded=tally.crowded)
    numbers = sorted(tally.counts)
    texts = [scan.words[int(value)] if scan.words else str(int(value)) for value in numbers]
    return _sorted(texts, [tally.counts[v] for v in numbers], np.searchsorted(numbers, values))


def labels_of_array(y: NDArray[np.generic], rows: NDArray[np.int64], *, name: str = "y") -> Labels:
    """Labels from an array.

    Args:
        y: (n,) or (n, 1) booleans, numbers or texts.
        rows: (m,) int64 positions held.
        name: for the sentences.

    Raises:
        ShapeMismatch: y has another shape.
        InputError: a label is missing, is no whole number, or there are more than `MAX_LABELS`.
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ShapeMismatch(
            f"{name} has shape {y.shape}, where one label per row is expected",
            advice="Give a vector of class labels; turn one-hot rows into indices.",
        )
    if y.dtype.kind not in "biufUS":
        raise InputError(
            f"{name} holds values of type {y.dtype}, which are no class labels", advice=_NO_REGRESSION
        )
    if y.dtype.kind == "f":
        _require_present(name, int(np.isnan(y).sum()), len(y))
        _require_whole(name, whole=bool(np.isfinite(y).all() and (y == np.floor(y)).all()))
    distinct, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    _require_few(name, crowded=len(distinct) > MAX_LABELS)
    if y.dtype.kind in "iuf":
        _require_whole(name, whole=max(-float(distinct[0]), float(distinct[-1])) <= EXACT)
        texts = [str(int(value)) for value in distinct.tolist()]
    else:
        texts = _texts(distinct, name)
        _require_present(name, sum(c for t, c in zip(texts, counts.tolist(), strict=True) if not t), len(y))
    return _sorted(texts, counts.tolist(), codes[rows])


def _texts(distinct: NDArray[np.generic], name: str) -> list[str]:
    """Text of each distinct value; bytes are read as UTF-8."""
    if not are_characters(distinct):
        raise InputError(f"{name} holds a text that is not valid Unicode")
    try:
        values = distinct.tolist()
        texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values]
        for text in texts:
            text.encode()
    except ValueError as error:
        raise InputError(f"{name} holds a text that is not valid Unicode") from error
    return texts


def _sorted(texts: Sequence[str], counts: Sequence[int], codes: NDArray[np.int64]) -> Labels:
    """Sort the labels and send the codes along."""
    try:
        order = sorted(range(len(texts)), key=lambda place: (float(texts[place]), texts[place]))
    except ValueError:
        order = sorted(range(len(texts)), key=lambda place: texts[place])
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return Labels(rank[codes], tuple(texts[i] for i in order), {texts[i]: counts[i] for i in order})


def _require_present(name: str, missing: int, rows: int) -> None:
    if missing:
        raise InputError(
            f"{name} has no value in {missing:,} of {rows:,} rows", advice="Remove the rows without a label."
        )


def _require_whole(name: str, *, whole: bool) -> None:
    if not whole:
        raise InputError(
            f"{name} holds numbers that are not whole; regression is not supported", advice=_NO_REGRESSION
        )


def _require_few(name: str, *, crowded: bool) -> None:
    if crowded:
        raise InputError(
            f"{name} has more than {MAX_LABELS:,} distinct values; regression is not supported",
            advice=_NO_REGRESSION,
        )
