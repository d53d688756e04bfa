"""One witness, ready to show: the plain input, the changed one, and where they differ.

This is raw data, so nothing shows it unless the user asks.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from modelward.reporting.text import clean, number, plural, scope_text, spelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.canonical import JSON

_AROUND: Final = 40
"""Characters of unchanged text that are shown on each side of a change."""
_SPANS: Final = 24
_LONGEST: Final = 120


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Three pictures of equal size, as PNG files.

    Attributes:
        width: of each, in pixels.
        height: likewise.
        original: the plain input.
        change: grey where nothing changed; the difference of the two, `gain` times as strong.
        changed: the input that the model gets wrong.
        gain: at least 1.
        block: side of the square of pixels that one stands for; the most changed one of them is shown.
    """

    width: int
    height: int
    original: bytes
    change: bytes
    changed: bytes
    gain: float
    block: int = 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One changed cell of a row.

    Attributes:
        column: its name.
        before: the value in the data.
        after: the value that the model gets wrong.
        units: the change in units of the column's range; null for categories, and where it is not known.
    """

    column: str
    before: str
    after: str
    units: float | None = None


@final
@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text, safe to print.

    Attributes:
        text: characters that cannot be seen stand as escapes.
        changed: whether the two texts differ here; empty then where something is missing.
        names: of characters beyond ASCII that are part of the change.
    """

    text: str
    changed: bool = False
    names: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """One witness.

    Attributes:
        row: number in the data file.
        check: which check found it.
        norm: of the threat.
        eps: its radius.
        unit: of eps and size.
        size: of the change.
        label: the true class.
        prediction: the class that the model chose; null when it gave no answer that names one.
        touched: how many features, pixels or places of the text differ.
        picture: for images.
        cells: for rows; the largest changes first.
        before: the plain text in pieces.
        after: the changed text in pieces.
    """

    row: int
    check: str
    norm: str
    eps: float
    unit: str
    size: float
    label: str
    prediction: str | None
    touched: int
    picture: Picture | None = None
    cells: tuple[Cell, ...] = ()
    before: tuple[Piece, ...] = ()
    after: tuple[Piece, ...] = ()

    @property
    def title(self) -> str:
        """What happened, in one phrase."""
        seen = "no answer" if self.prediction is None else clean(self.prediction, 60)
        return f"row {self.row:,}: {clean(self.label, 60)} → {seen}"

    @property
    def facts(self) -> str:
        """How large the change is, and what found it."""
        what = "pixel" if self.picture else "place" if self.after else "cell"
        kind = scope_text({"norm": self.norm})
        size = f"{kind} {number(self.size)} of at most {number(self.eps)} {clean(self.unit, 40)}"
        return f"{size} · {plural(self.touched, what)} changed · {clean(self.check, 60)}"

    def to_json(self) -> dict[str, JSON]:
        """Everything but the pictures, which are in the file that ``--save-witnesses`` writes."""
        cells: list[JSON] = [
            {"column": c.column, "before": c.before, "after": c.after, "units": c.units} for c in self.cells
        ]
        return {
            "row": self.row,
            "check": self.check,
            "norm": self.norm,
            "eps": self.eps,
            "unit": self.unit,
            "size": self.size,
            "label": self.label,
            "prediction": self.prediction,
            "touched": self.touched,
            "cells": cells,
            "before": [{"text": piece.text, "changed": piece.changed} for piece in self.before],
            "after": [{"text": piece.text, "changed": piece.changed} for piece in self.after],
        }


def units(cell: Cell) -> str:
    """The change of a cell in units of its column's range, signed; empty where it has none."""
    return "" if cell.units is None else f"{cell.units:+.3g}"


def pieces(text: str, spans: Sequence[tuple[int, int]]) -> tuple[Piece, ...]:
    """Cut a text where it differs from another; of long stretches between only the ends are kept.

    Args:
        text: any.
        spans: [start, end) ascending, none overlapping; an empty one marks a place where something is gone.
    """
    found: list[Piece] = []
    at = 0
    for start, end in spans[:_SPANS]:
        if start > at:
            found.append(Piece(_between(text[at:start], first=not found, last=False)))
        part = text[start:end][:_LONGEST]
        more = "…" if end - start > _LONGEST else ""
        found.append(Piece(spelled(part) + more, changed=True, names=_names(part)))
        at = end
    rest = text[at : spans[_SPANS][0]] if len(spans) > _SPANS else text[at:]
    if rest:
        found.append(Piece(_between(rest, first=not found, last=True)))
    if len(spans) > _SPANS:
        found.append(Piece(f"… {plural(len(spans) - _SPANS, 'more change')}"))
    return tuple(found)


def _between(text: str, *, first: bool, last: bool) -> str:
    """An unchanged stretch: its end before the first change, its start after the last one."""
    if first and last:
        return spelled(text[: 2 * _AROUND]) + ("…" if len(text) > 2 * _AROUND else "")
    head = "" if first else text[:_AROUND]
    tail = "" if last else text[-_AROUND:]
    if len(head) + len(tail) >= len(text):
        return spelled(text)
    return f"{spelled(head)}…{spelled(tail)}"


def _names(text: str) -> str:
    """Code points beyond printable ASCII, by name."""
    odd = [char for char in dict.fromkeys(text) if not " " <= char <= "~"]
    return ", ".join(f"U+{ord(char):04X} {unicodedata.name(char, 'without a name')}" for char in odd[:4])
