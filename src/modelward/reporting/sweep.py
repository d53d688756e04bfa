"""The bracket over a sweep of radii as one picture.

Robust accuracy never grows with the radius. So between two measured radii the proof of the larger one still
holds, and so does the attack of the smaller one: the picture consists of steps, and every point of it is a
statement, none is interpolated.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

from modelward.reporting.svg import bar
from modelward.reporting.text import bracket_ends, bracket_words, clean, percent, scope_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelward.core.canonical import JSON
    from modelward.core.claim import Bracket, Claim

HEIGHT = 200
"""Pixels of the plot, without its scale of radii."""
_SCALE = 22
_CROWDED = 0.07
"""Radii that are nearer than this share of the axis share one number."""


class Step(NamedTuple):
    """One radius.

    Attributes:
        eps: above 0.
        bracket: of the share that stays right.
        note: what else is known, such as the kinds of proof.
    """

    eps: float
    bracket: Bracket
    note: str = ""


def series(claims: Sequence[Claim]) -> list[tuple[Claim, ...]]:
    """Brackets that differ in their radius only, eps ascending, where there are two radii or more.

    Args:
        claims: of any kinds; those that examined nothing are left out.
    """
    alike: dict[tuple[str, str], dict[float, Claim]] = {}
    for claim in claims:
        eps = claim.scope.get("eps")
        if claim.bracket is not None and isinstance(eps, int | float) and claim.n:
            alike.setdefault((claim.id, scope_text(fixed(claim))), {}).setdefault(float(eps), claim)
    return [tuple(found[eps] for eps in sorted(found)) for found in alike.values() if len(found) > 1]


def fixed(claim: Claim) -> Mapping[str, JSON]:
    """A claim's scope without its radius."""
    return {key: value for key, value in claim.scope.items() if key != "eps"}


def sweep(steps: Sequence[Step], unchanged: float | None, *, title: str, ident: str) -> str:
    """Draw what is proved, undecided and broken at each radius.

    Args:
        steps: eps ascending.
        unchanged: share that is right without any change, in [0, 1]; null where it is not known.
        title: of the picture.
        ident: unique in the page; made of letters, digits and hyphens.

    Returns:
        An ``<svg>`` element; empty for fewer than two radii, which are no sweep.
    """
    if len(steps) < 2:
        return ""
    end = steps[-1].eps
    above = 1.0 if unchanged is None else unchanged
    shapes, left = "", 0.0
    for step in steps:
        lower = bracket_ends(step.bracket)[0]
        right = step.eps / end
        blocks = _column(left, right, (min(lower, above), above))
        cover = bar("cover", left, right, top=0, height=HEIGHT)
        shapes += f"<g><title>{escape(_words(step))}</title>{blocks}{cover}</g>"
        left, above = right, min(above, bracket_ends(step.bracket)[1])
    shapes += "".join(_marks(step.eps / end, step.bracket) for step in steps)
    words = "; ".join(_words(step) for step in steps)
    return (
        f'<svg class="chart sweep" width="100%" height="{HEIGHT + _SCALE}" role="img" '
        f'aria-labelledby="{ident}-t {ident}-d"><title id="{ident}-t">{escape(title[:200])}</title>'
        f'<desc id="{ident}-d">{escape(words[:1500])}</desc>{_grid()}{shapes}'
        f"{_radii([step.eps for step in steps])}</svg>"
    )


def _words(step: Step) -> str:
    """One radius in words; also what a pointer over its part of the picture shows."""
    said = f"eps {step.eps:.3g}: {', '.join(bracket_words(step.bracket))}"
    return f"{said} ({clean(step.note, 240)})" if step.note else said


def _column(left: float, right: float, ends: tuple[float, float]) -> str:
    """Proved below, undecided between, broken above."""
    lower, upper = ends
    spans = (("proved", 0.0, lower), ("gap", lower, upper), ("broken", upper, 1.0))
    shapes = ""
    for css, low, high in spans:
        top, height = round((1 - high) * HEIGHT, 2), round((high - low) * HEIGHT, 2)
        if css == "broken":  # a thin block at its lower edge, told apart without its colour
            top, height = top + max(0.0, height - 5), min(height, 5.0)
        if height > 0:
            shapes += bar(css, left, right, top=top, height=height)
    return shapes


def _marks(at: float, bracket: Bracket) -> str:
    known = (("proof", bracket.lower), ("attack", bracket.upper))
    return "".join(
        f'<circle class="end {name}" cx="{100 * at:.3f}%" cy="{round((1 - share) * HEIGHT, 2)}" r="4"/>'
        for name, share in known
        if share is not None
    )


def _grid() -> str:
    lines = ""
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = round((1 - share) * HEIGHT, 2)
        lines += f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>'
        lines += f'<text x="-8" y="{y + 4}" text-anchor="end">{percent(share).replace(".0", "")}</text>'
    return lines


def _radii(radii: Sequence[float]) -> str:
    """Numbers below the plot; the largest always, the others where there is room."""
    end = radii[-1]
    shown = [radii[-1]]
    for eps in reversed(radii[:-1]):
        if shown[-1] / end - eps / end >= _CROWDED and eps / end >= _CROWDED:
            shown.append(eps)
    y = HEIGHT + _SCALE - 6
    text = f'<text x="0" y="{y}">eps 0</text>'
    text += "".join(
        f'<text x="{100 * eps / end:.3f}%" y="{y}" text-anchor="{"end" if eps == end else "middle"}">'
        f"{eps:.3g}</text>"
        for eps in shown
    )
    return text
