"""One audit, or several, as a self-contained HTML file that loads nothing and runs nothing.

The page states its own content security policy: nothing may be loaded, no script may run, and the only style
is the one whose hash the policy names. Templates are autoescaped and refuse undefined names.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from modelward.core.evidence import Cost
from modelward.reporting.exhibit import units
from modelward.reporting.png import data_uri
from modelward.reporting.result import AuditResult
from modelward.reporting.svg import DEFS, axis, chart
from modelward.reporting.text import claim_text, clean, cost_text, plural, scope_text
from modelward.reporting.view import Limits, by_severity, claim_title, page_view, reason_tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Environment

    from modelward.core.canonical import JSON
    from modelward.core.claim import Claim
    from modelward.reporting.exhibit import Exhibit

MAX_BYTES = 500_000
"""A page is never larger: lists and texts are capped harder until it fits."""


class IndexEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One audit in an index page.

    Attributes:
        name: how the page calls it.
        href: relative path of its report, with forward slashes.
        result: the audit.
        about: one sentence about the example; may be empty.
    """

    name: str
    href: str
    result: AuditResult
    about: str = ""


def to_html(
    result: AuditResult,
    *,
    glossary: Mapping[str, str] | None = None,
    exhibits: Sequence[Exhibit] | None = None,
) -> str:
    """The report of one audit, at most `MAX_BYTES` long in UTF-8.

    Args:
        result: the audit.
        glossary: technique or control id to its short title.
        exhibits: witnesses to show, worst first; null shows no row of data. Only a page with pictures may
            load any, and only those within itself.
    """
    page = ""
    asked = exhibits or ()
    for scale in (1, 2, 4, 8, 16, 32, 64):
        limits = Limits(text=max(40, 600 // scale), rows=max(4, 200 // scale), cards=6)
        view = page_view(result, glossary or {}, limits)
        shown = asked[: -(-len(asked) // scale)]
        pictures = any(exhibit.picture is not None for exhibit in shown)
        page = render(
            "report.html.j2",
            title=f"{view.title} · {view.outcome} · modelward",
            view=view,
            exhibits=None if exhibits is None else [_exhibit(exhibit) for exhibit in shown],
            omitted=len(asked) - len(shown),
            **({"csp": _environment().globals["csp_with_pictures"]} if pictures else {}),
        )
        if len(page.encode()) <= MAX_BYTES:
            break
    return page


def _exhibit(exhibit: Exhibit) -> dict[str, object]:
    """One witness as plain values, cleaned."""
    picture = exhibit.picture
    drawn = (
        []
        if picture is None
        else [
            ("original", data_uri(picture.original)),
            (f"change, {picture.gain:.2g} times as strong", data_uri(picture.change)),
            ("changed", data_uri(picture.changed)),
        ]
    )
    cells = [
        (clean(cell.column, 80), clean(cell.before, 80), clean(cell.after, 80), units(cell))
        for cell in exhibit.cells
    ]
    return {
        "title": exhibit.title,
        "facts": exhibit.facts,
        "pictures": drawn,
        "size": (0, 0) if picture is None else _enlarged(picture.width, picture.height),
        "block": 1 if picture is None else picture.block,
        "cells": cells,
        "more": exhibit.touched - len(cells) if cells else 0,
        "texts": [("original", exhibit.before), ("changed", exhibit.after)] if exhibit.after else [],
    }


def _enlarged(width: int, height: int) -> tuple[int, int]:
    """A whole multiple of a picture's size that is easy to look at."""
    times = max(1, 160 // max(width, height))
    return times * width, times * height


def to_index_html(entries: Sequence[IndexEntry], *, title: str = "Audits") -> str:
    """One page that lists several audits, worst verdict first, and links to each report.

    Args:
        entries: the audits.
        title: heading of the page.
    """
    order = ("fail", "unknown", "pass")
    ranked = sorted(entries, key=lambda entry: order.index(entry.result.verdict.outcome))
    rows = [_row(i, entry) for i, entry in enumerate(ranked)]
    counts = [(o, sum(e.result.verdict.outcome == o for e in entries)) for o in order]
    tally = [(outcome, count) for outcome, count in counts if count]
    heading = clean(title, 120)
    return render("index.html.j2", title=f"{heading} · modelward", heading=heading, rows=rows, tally=tally)


def _row(index: int, entry: IndexEntry) -> dict[str, object]:
    result = entry.result
    worst = by_severity(result.findings)
    total = sum((run.cost for run in result.checks), Cost())
    done = sum(run.state == "finished" for run in result.checks)
    return {
        "name": clean(entry.name, 120),
        "about": clean(entry.about, 300),
        # A colon is escaped too, so that the link can be nothing but a relative path.
        "href": quote(entry.href.replace("\\", "/").lstrip("/"), safe="/", errors="replace"),
        "outcome": result.verdict.outcome,
        "policy": clean(result.verdict.policy, 80),
        "tally": reason_tally(result),
        "findings": plural(len(worst), "finding") + (f", worst {worst[0].severity}" if worst else ""),
        "checks": f"{done} of {len(result.checks) + len(result.skipped)} checks finished",
        "cost": cost_text(total),
        "head": clean(result.ledger_head, 80),
        "claims": [_mini(f"i{index}-{j}", claim) for j, claim in enumerate(key_claims(result.claims))],
    }


def key_claims(claims: Sequence[Claim], limit: int = 4) -> list[Claim]:
    """The claims an overview shows: what the policy refutes, accuracy, brackets, what the policy names."""

    def rank(claim: Claim) -> int:
        if claim.status == "refuted":
            return 0
        return 1 if claim.id == "accuracy" else 2 if claim.bracket is not None else 3 if claim.status else 4

    return sorted(claims, key=rank)[:limit]


def _mini(ident: str, claim: Claim) -> dict[str, str]:
    shown: dict[str, JSON] = {
        key: claim.scope[key] for key in ("norm", "eps", "metric", "columns") if key in claim.scope
    }
    return {
        "title": claim_title(claim.id),
        "where": clean(scope_text(shown), 60),
        "numbers": claim_text(claim),
        "chart": chart(claim, ident),
    }


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("modelward.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = resources.files("modelward.reporting").joinpath("templates/report.css").read_text("utf-8")
    css_hash = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    # The templates mark as safe only these and the charts, which svg.py built and escaped.
    policy = _policy(css_hash)
    environment.globals.update(
        css=css, csp=policy, csp_with_pictures=f"{policy}; img-src data:", defs=DEFS, axis=axis()
    )
    return environment


def _policy(css_hash: str) -> str:
    return f"default-src 'none'; style-src 'sha256-{css_hash}'; base-uri 'none'; form-action 'none'"


def render(name: str, **values: object) -> str:
    """Fill one of the templates."""
    return _environment().get_template(name).render(**values)
