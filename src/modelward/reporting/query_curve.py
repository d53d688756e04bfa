"""How many points fall to how many queries, as one picture: a step where each witness was found.

The axis of queries is logarithmic, since an attacker's costs are compared by factors. Each curve ends at the
number of queries that the attack was allowed per point: beyond it nothing is known, and nothing is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, final

from modelward.reporting.text import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelward.core.evidence import Evidence

HEIGHT = 160
"""Pixels of the plot, without its scale."""
_SCALE = 22


@final
@dataclass(frozen=True, slots=True)
class Curve:
    """One attack.

    Attributes:
        name: what tells it from the others.
        counts: queries of each witness, each at least 1, in any order.
        points: points attacked, at least as many.
        most: queries that each point was allowed, at least 1.
    """

    name: str
    counts: tuple[int, ...]
    points: int
    most: int

    def share(self, queries: int) -> float:
        """Of the points, broken within so many queries."""
        return sum(count <= queries for count in self.counts) / self.points


def curve_of(evidence: Evidence) -> Curve | None:
    """What evidence of a search by queries says; null where it says nothing of queries."""
    outcome, most = evidence.outcome, evidence.parameters.get("queries")
    counts, attacked = outcome.get("queries_to_success"), outcome.get("attacked")
    if not (isinstance(counts, list) and isinstance(attacked, list) and type(most) is int):
        return None
    numbers = tuple(count for count in counts if type(count) is int and count >= 1)
    if not attacked or most < 1 or len(numbers) < len(counts) or len(numbers) > len(attacked):
        return None
    name = f"{evidence.parameters.get('norm')}, eps {evidence.parameters.get('eps')}"
    return Curve(name, numbers, len(attacked), max(most, *numbers) if numbers else most)


def query_curve(curves: Sequence[Curve], *, title: str, ident: str) -> str:
    """Draw the share of points broken over the number of queries.

    Args:
        curves: of one picture.
        title: of the picture.
        ident: unique in the page; made of letters, digits and hyphens.

    Returns:
        An ``<svg>`` element; empty where there is no curve.
    """
    if not curves:
        return ""
    end = max(2, *(curve.most for curve in curves))
    shapes = "".join(_drawn(curve, end) for curve in curves)
    words = "; ".join(f"{curve.name}: {_words(curve)}" for curve in curves)
    return (
        f'<svg class="chart sweep" width="100%" height="{HEIGHT + _SCALE}" role="img" '
        f'aria-labelledby="{ident}-t {ident}-d"><title id="{ident}-t">{escape(title[:200])}</title>'
        f'<desc id="{ident}-d">{escape(words[:1500])}</desc>{_grid()}{shapes}{_scale(end)}</svg>'
    )


def pictures(evidence: Iterable[Evidence]) -> tuple[tuple[str, str], ...]:
    """Title and picture per check and norm, of all evidence that tells what its witnesses cost.

    Args:
        evidence: of one run.
    """
    found: dict[str, list[Curve]] = {}
    for item in evidence:
        curve = curve_of(item)
        if curve is not None:
            found.setdefault(f"{item.check}, {item.parameters.get('norm')}", []).append(curve)
    return tuple(
        (title, query_curve(curves, title=f"Points broken over queries, {title}", ident=f"q{index}"))
        for index, (title, curves) in enumerate(found.items())
    )


def _words(curve: Curve) -> str:
    marks = sorted({10**k for k in range(1, 7) if 10**k < curve.most} | {curve.most})
    return ", ".join(f"{percent(curve.share(mark))} within {mark} queries" for mark in marks)


def _drawn(curve: Curve, end: int) -> str:
    """Level lines between witnesses, upright ones at each, the curve's name at its end."""
    at = sorted({1, *curve.counts, curve.most})
    shapes, level = "", 0.0
    for queries in at:
        share = curve.share(queries)
        if share > level:
            x = _x(queries, end)
            shapes += _line((x, x), (level, share))
        level = share
    for left, right in pairwise(at):
        share = curve.share(left)
        shapes += _line((_x(left, end), _x(right, end)), (share, share))
    name = f"{escape(curve.name[:60])}: {percent(level)}"
    y = max(11.0, round((1 - level) * HEIGHT - 4, 2))
    label = f'<text x="{_x(curve.most, end):.3f}%" y="{y}" text-anchor="end">{name}</text>'
    return f"<g><title>{name}</title>{shapes}{label}</g>"


def _line(x: tuple[float, float], shares: tuple[float, float]) -> str:
    low, high = (round((1 - share) * HEIGHT, 2) for share in shares)
    return f'<line class="step" x1="{x[0]:.3f}%" x2="{x[1]:.3f}%" y1="{low}" y2="{high}"/>'


def _x(queries: int, end: int) -> float:
    return 100 * math.log(queries) / math.log(end)


def _grid() -> str:
    ys = (round((1 - share) * HEIGHT, 2) for share in (0.0, 0.5, 1.0))
    return "".join(f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>' for y in ys)


def _scale(end: int) -> str:
    y = HEIGHT + _SCALE - 6
    tens = [10**k for k in range(1, 7) if 10**k < 0.8 * end]
    middle = "".join(
        f'<text x="{_x(ten, end):.3f}%" y="{y}" text-anchor="middle">{ten}</text>' for ten in tens
    )
    return f'<text x="0" y="{y}">1 query</text>{middle}<text x="100%" y="{y}" text-anchor="end">{end}</text>'
