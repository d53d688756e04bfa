from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.claim import Bracket, Claim, Interval
from modelward.core.evidence import Cost
from modelward.reporting.svg import DEFS, axis, chart

BASE = Claim(id="robust-accuracy", statement="s", scope={}, n=200, cost=Cost(), evidence=())
shares = st.one_of(st.none(), st.floats(0, 1))


def parse(svg):
    return ET.fromstring(svg)  # noqa: S314 - our own output


def draw(**changes):
    return parse(chart(msgspec.structs.replace(BASE, **changes), "m1"))


def parts(root, css):
    return [node for node in root.iter() if node.get("class") == css]


def percent(text):
    assert text.endswith("%")
    return float(text[:-1])


def test_a_bracket_is_proved_then_undecided_then_broken():
    root = draw(bracket=Bracket(0.25, 0.75))
    spans = [
        (percent(n.get("x")), percent(n.get("width")))
        for css in ("proved", "gap", "broken")
        for n in parts(root, css)
    ]
    assert spans == [(0, 25), (25, 50), (75, 25)]
    assert parts(root, "gap")[0].get("fill") == "url(#hatch)"
    heights = [int(parts(root, css)[0].get("height")) for css in ("proved", "broken")]
    assert heights[1] < heights[0], "broken is told apart by its height too"


@pytest.mark.parametrize(
    ("bracket", "ends"),
    [
        (Bracket(0.2, 0.8), {"proof": 20, "attack": 80}),
        (Bracket(None, 0.8), {"attack": 80}),
        (Bracket(0.2, None), {"proof": 20}),
        (Bracket(None, None), {}),
    ],
)
def test_only_an_end_that_is_known_is_marked(bracket, ends):
    root = draw(bracket=bracket)
    seen = {
        node.get("class").removeprefix("end "): percent(node.get("x1"))
        for node in root.iter()
        if (node.get("class") or "").startswith("end ")
    }
    assert seen == ends


@given(shares, shares)
def test_the_parts_of_any_bracket_fill_the_axis_exactly(lower, upper):
    if lower is not None and upper is not None and lower > upper:
        lower, upper = upper, lower
    root = draw(bracket=Bracket(lower, upper))
    widths = [percent(node.get("width")) for css in ("proved", "gap", "broken") for node in parts(root, css)]
    assert sum(widths) == pytest.approx(100, abs=0.01)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_value_lies_where_it_says(value, one, two):
    low, high = sorted((one, two))
    root = draw(value=value, interval=Interval(low, high, 0.95))
    assert percent(parts(root, "point")[0].get("cx")) == pytest.approx(100 * value, abs=0.001)
    caps = [percent(node.get("x1")) for node in parts(root, "cap")]
    assert caps == pytest.approx([100 * low, 100 * high], abs=0.001)


@pytest.mark.parametrize("changes", [{}, {"value": 3.0}, {"value": 0.9, "interval": Interval(0.8, 1.4, 0.9)}])
def test_nothing_is_drawn_that_does_not_fit_the_axis(changes):
    assert chart(msgspec.structs.replace(BASE, **changes), "m1") == ""


def test_it_says_in_words_what_it_shows():
    root = draw(bracket=Bracket(0.25, 0.75))
    assert root.get("role") == "img"
    named = root.get("aria-labelledby").split()
    texts = {node.get("id"): node.text for node in root.iter() if node.get("id")}
    assert [bool(texts[ident]) for ident in named] == [True, True]
    assert "25.0 % proved, 50.0 % undecided, 25.0 % broken" in texts[named[0]]
    assert "200 samples" in texts[named[1]]


def test_it_needs_neither_style_nor_script():
    whole = DEFS + axis() + chart(msgspec.structs.replace(BASE, bracket=Bracket(0.1, 0.9)), "m1")
    assert not re.search(r"style=|<script|\son\w+=|href=", whole)


def test_a_claims_id_is_escaped():
    hostile = msgspec.structs.replace(BASE, id="<b>&\"'", value=0.5)
    root = parse(chart(hostile, "m1"))
    assert [child.tag for child in root][:2] == ["title", "desc"]
    assert next(iter(root)).text.startswith("<b>&\"'")


def test_the_axis_reads_from_0_to_100():
    root = parse(axis())
    assert [node.text for node in root] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
