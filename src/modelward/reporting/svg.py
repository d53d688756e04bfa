"""Charts as static inline SVG: no script, no style attribute, shapes in percent so that any width is sharp.

Every chart carries a title and a description in words, and never tells anything by colour alone: what is
proved is solid, what is undecided is hatched, what is broken is a lower block.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from modelward.reporting.text import bracket_ends, bracket_words, claim_text, is_share

if TYPE_CHECKING:
    from modelward.core.claim import Bracket, Claim

HEIGHT = 36
"""Pixels of one row."""
_TOP, _BAR = 10, 16

DEFS = (
    '<svg class="defs" width="0" height="0" aria-hidden="true" focusable="false"><defs>'
    '<pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="hatch-ground" width="7" height="7"/><rect class="hatch-line" width="2" height="7"/>'
    "</pattern></defs></svg>"
)
"""Patterns; once per page, before the first chart."""


def chart(claim: Claim, ident: str) -> str:
    """One claim on an axis from 0 to 1: a bar for a bracket, a whisker for a value.

    Args:
        claim: what to draw.
        ident: unique in the page; made of letters, digits and hyphens.

    Returns:
        An ``<svg>`` element; empty when the claim has no number in [0, 1].
    """
    if not is_share(claim):
        return ""
    if claim.bracket is not None:
        return bracket_chart(claim.bracket, claim.n, title=claim.id, ident=ident)
    return _drawn("whisker", _whisker(claim), (f"{claim.id}: {claim_text(claim)}", claim.n), ident)


def bracket_chart(bracket: Bracket, n: int, *, title: str, ident: str) -> str:
    """One bracket on an axis from 0 to 1.

    Args:
        bracket: what to draw.
        n: samples it speaks of.
        title: what it is about.
        ident: unique in the page; made of letters, digits and hyphens.
    """
    return _drawn("bracket", _bracket(bracket), (f"{title}: {', '.join(bracket_words(bracket))}", n), ident)


def _drawn(kind: str, shapes: str, told: tuple[str, int], ident: str) -> str:
    title, n = told
    return (
        f'<svg class="chart {kind}" width="100%" height="{HEIGHT}" role="img" '
        f'aria-labelledby="{ident}-t {ident}-d"><title id="{ident}-t">{escape(title[:200])}</title>'
        f'<desc id="{ident}-d">Axis from 0 to 100 percent; {n} samples.</desc>{_grid()}{shapes}</svg>'
    )


def axis() -> str:
    """The scale below a group of charts."""
    anchors = {0: "start", 100: "end"}
    marks = "".join(
        f'<text x="{at}%" y="12" text-anchor="{anchors.get(at, "middle")}">{at} %</text>'
        for at in (0, 25, 50, 75, 100)
    )
    return f'<svg class="axis" width="100%" height="16" aria-hidden="true" focusable="false">{marks}</svg>'


def _grid() -> str:
    return "".join(
        f'<line class="grid" x1="{at}%" x2="{at}%" y1="2" y2="{HEIGHT - 2}"/>' for at in (0, 25, 50, 75, 100)
    )


def bar(css: str, left: float, right: float, *, top: float, height: float) -> str:
    """A rectangle from share ``left`` to share ``right``; nothing when it has no width."""
    if right <= left:
        return ""
    fill = ' fill="url(#hatch)"' if css == "gap" else ""
    return (
        f'<rect class="{css}"{fill} x="{_at(left)}" y="{top}" width="{_at(right - left)}" height="{height}"/>'
    )


def _at(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.3f}%"


def _tick(css: str, share: float, *, top: int, bottom: int) -> str:
    return f'<line class="{css}" x1="{_at(share)}" x2="{_at(share)}" y1="{top}" y2="{bottom}"/>'


def _bracket(bracket: Bracket) -> str:
    lower, upper = bracket_ends(bracket)
    shapes = bar("proved", 0.0, min(lower, upper), top=_TOP, height=_BAR)
    shapes += bar("gap", lower, upper, top=_TOP, height=_BAR)
    shapes += bar("broken", upper, 1.0, top=_TOP + _BAR // 2 - 1, height=_BAR // 2 + 1)
    if bracket.lower is not None:
        shapes += _tick("end proof", lower, top=_TOP - 5, bottom=_TOP + _BAR + 5)
    if bracket.upper is not None:
        shapes += _tick("end attack", upper, top=_TOP - 5, bottom=_TOP + _BAR + 5)
    return shapes


def _whisker(claim: Claim) -> str:
    middle = HEIGHT // 2
    shapes = f'<line class="rail" x1="0" x2="100%" y1="{middle}" y2="{middle}"/>'
    if claim.interval is not None:
        low, high = claim.interval.lower, claim.interval.upper
        shapes += bar("band", low, high, top=middle - 5, height=10)
        shapes += f'<line class="span" x1="{_at(low)}" x2="{_at(high)}" y1="{middle}" y2="{middle}"/>'
        shapes += _tick("cap", low, top=middle - 6, bottom=middle + 6)
        shapes += _tick("cap", high, top=middle - 6, bottom=middle + 6)
    if claim.value is not None:
        shapes += f'<circle class="point" cx="{_at(claim.value)}" cy="{middle}" r="5"/>'
    return shapes
