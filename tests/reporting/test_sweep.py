from __future__ import annotations

from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.claim import Bracket, Claim, Part
from modelward.core.evidence import Cost
from modelward.reporting.sweep import HEIGHT, Step, series, sweep
from modelward.reporting.view import sweeps

STEPS = [Step(0.1, Bracket(0.5, 0.8), "proved by CROWN: 10"), Step(0.2, Bracket(0.25, 0.6))]


def draw(steps, clean=0.9):
    return ET.fromstring(sweep(steps, clean, title="<t>", ident="s1"))  # noqa: S314 - our own output


def spans(root, css):
    """(left, right, bottom share, top share) of every block of a kind."""
    found = []
    for node in root.iter():
        if node.get("class") == css and node.tag.endswith("rect"):
            left, width = (float(node.get(name)[:-1]) for name in ("x", "width"))
            top, height = float(node.get("y")), float(node.get("height"))
            found.append(
                (left, left + width, round(1 - (top + height) / HEIGHT, 3), round(1 - top / HEIGHT, 3))
            )
    return found


def test_between_two_radii_the_proof_of_the_larger_and_the_attack_of_the_smaller_hold():
    root = draw(STEPS)
    assert spans(root, "proved") == [(0, 50, 0, 0.5), (50, 100, 0, 0.25)]
    assert spans(root, "gap") == [(0, 50, 0.5, 0.9), (50, 100, 0.25, 0.8)]
    assert [span[:3] for span in spans(root, "broken")] == [(0, 50, 0.9), (50, 100, 0.8)]


def test_an_end_that_nobody_measured_has_no_mark_and_claims_nothing():
    root = draw([Step(0.1, Bracket(None, 0.8)), Step(0.2, Bracket(0.25, None))], clean=None)
    marks = [(n.get("class"), n.get("cx"), n.get("cy")) for n in root.iter() if n.tag.endswith("circle")]
    assert marks == [("end attack", "50.000%", "40.0"), ("end proof", "100.000%", "150.0")]
    assert spans(root, "proved") == [(50, 100, 0, 0.25)]
    assert spans(root, "gap") == [(0, 50, 0, 1), (50, 100, 0.25, 0.8)]


def test_one_radius_is_no_sweep():
    assert sweep(STEPS[:1], 0.9, title="t", ident="s") == ""


def test_everything_drawn_is_also_said():
    root = draw(STEPS)
    told = next(node.text for node in root.iter() if node.tag.endswith("desc"))
    said = "eps 0.1: 50.0 % proved, 30.0 % undecided, 20.0 % broken (proved by CROWN: 10)"
    assert said in told
    titles = [node.text for node in root.iter() if node.tag.endswith("title")]
    assert titles == ["<t>", said, "eps 0.2: 25.0 % proved, 35.0 % undecided, 40.0 % broken"]


def test_crowded_radii_share_a_number_and_the_largest_keeps_its_own():
    root = draw([Step(eps, Bracket(0.1, 0.2)) for eps in (0.001, 0.97, 0.98, 1.0)])
    texts = [n.text for n in root.iter() if n.tag.endswith("text")]
    assert texts == ["0 %", "25 %", "50 %", "75 %", "100 %", "eps 0", "1"]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=6),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_blocks_never_leave_the_plot(ends, clean):
    steps = [Step(0.1 * (i + 1), Bracket(min(pair), max(pair))) for i, pair in enumerate(ends)]
    root = draw(steps, clean)
    for css in ("proved", "gap", "broken"):
        for left, right, low, high in spans(root, css):
            assert -0.01 <= left <= right <= 100.01
            assert -0.001 <= low <= high <= 1.001


def claim(eps, bracket, norm="linf", evidence=()):
    scope = {"norm": norm, "eps": eps, "unit": "box width"}
    return Claim(
        id="robust-accuracy",
        statement="s",
        scope=scope,
        bracket=bracket,
        n=20,
        cost=Cost(),
        evidence=evidence,
    )


def test_claims_that_differ_in_eps_only_become_one_picture():
    claims = [claim(0.2, Bracket(0.1, 0.5)), claim(0.1, Bracket(0.2, 0.6)), claim(0.1, Bracket(0, 1), "l2")]
    (view,) = sweeps(claims, {})
    assert "L∞" in view.title
    assert view.picture.count("<circle") == 4


def test_a_series_holds_each_radius_once_in_order():
    claims = [claim(eps, Bracket(0.1, 0.5)) for eps in (0.2, 0.1, 0.2)]
    claims += [claim(0.1, Bracket(0, 1), "l2"), msgspec.structs.replace(claim(0.3, Bracket(0, 1)), n=0)]
    ((small, large),) = series(claims)
    assert (small, large) == (claims[1], claims[0])


def test_the_share_right_unchanged_is_taken_from_the_evidence():
    claims = [claim(0.1, Bracket(0.2, 0.6), evidence=("a",)), claim(0.2, Bracket(0.1, 0.5), evidence=("b",))]
    (view,) = sweeps(claims, {"a": 0.95, "b": 0.9})
    root = ET.fromstring(view.picture)  # noqa: S314 - our own output
    assert spans(root, "gap")[0] == (0, 50, 0.2, 0.9)


@pytest.mark.parametrize("form", ["html", "json"])
def test_parts_are_shown(form, audits):
    from modelward.reporting.html import to_html
    from modelward.reporting.json_report import to_json

    part = Part(name="<cat>", n=7, bracket=Bracket(0.25, 0.5))
    claims = tuple(
        msgspec.structs.replace(c, parts=(part, part)) if c.bracket else c for c in audits["fail"].claims
    )
    result = msgspec.structs.replace(audits["fail"], claims=claims)
    text = to_html(result) if form == "html" else to_json(result).decode()
    assert ("&lt;cat&gt;" if form == "html" else '"<cat>"') in text
    assert "2 labels apart" in text or form == "json"


def test_kinds_of_proof_are_a_fact_and_no_warning(audits):
    from modelward.reporting.html import to_html

    note = "the query attack was cut short; proved by interval: 3, CROWN: 4"
    claims = tuple(msgspec.structs.replace(c, note=note) if c.bracket else c for c in audits["fail"].claims)
    page = to_html(msgspec.structs.replace(audits["fail"], claims=claims))
    assert '<p class="note">the query attack was cut short</p>' in page
    assert "proved by interval: 3, CROWN: 4 · " in page
