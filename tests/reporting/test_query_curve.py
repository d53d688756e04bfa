from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.evidence import Cost, Evidence
from modelward.reporting.query_curve import HEIGHT, Curve, curve_of, query_curve


def draw(*curves):
    return ET.fromstring(query_curve(curves, title="<t>", ident="q1"))  # noqa: S314 - our own output


def steps(root):
    """((x1, x2), (share1, share2)) of every line of a curve."""
    found = []
    for node in root.iter():
        if node.get("class") == "step":
            x = tuple(float(node.get(name)[:-1]) for name in ("x1", "x2"))
            found.append((x, tuple(round(1 - float(node.get(name)) / HEIGHT, 3) for name in ("y1", "y2"))))
    return found


def evidence(outcome, **parameters):
    return Evidence(
        check="evasion.query",
        version=2,
        parameters={"norm": "linf", "eps": 0.1, **parameters},
        n=4,
        seed=1,
        outcome=outcome,
        unit="row number",
        cost=Cost(),
        subjects={},
    )


def test_a_step_stands_where_each_witness_was_found():
    found = steps(draw(Curve("a", (1, 10, 10), 4, 100)))
    assert ((0.0, 0.0), (0.0, 0.25)) in found
    assert ((50.0, 50.0), (0.25, 0.75)) in found
    assert ((0.0, 50.0), (0.25, 0.25)) in found
    assert ((50.0, 100.0), (0.75, 0.75)) in found
    assert len(found) == 4


def test_everything_drawn_is_also_said():
    root = draw(Curve("linf, eps 0.1", (1, 10, 10), 4, 200))
    told = next(node.text for node in root.iter() if node.tag.endswith("desc"))
    assert (
        told
        == "linf, eps 0.1: 75.0 % within 10 queries, 75.0 % within 100 queries, 75.0 % within 200 queries"
    )
    assert next(node.text for node in root.iter() if node.tag.endswith("title")) == "<t>"


def test_a_curve_ends_where_its_queries_end():
    found = steps(draw(Curve("long", (), 3, 10_000), Curve("short", (5,), 3, 100)))
    ends = sorted({x[1] for x, shares in found if shares[0] == shares[1]})
    assert ends[-1] == 100.0
    assert 50.0 in ends


def test_nothing_broken_is_a_line_at_the_bottom_and_no_curve_no_picture():
    assert steps(draw(Curve("a", (), 3, 100))) == [((0.0, 100.0), (0.0, 0.0))]
    assert query_curve([], title="t", ident="q") == ""


def test_evidence_of_queries_gives_a_curve_and_other_evidence_none():
    whole = evidence({"queries_to_success": [3, 7], "attacked": [1, 2, 3], "broken": [1, 2]}, queries=100)
    assert curve_of(whole) == Curve("linf, eps 0.1", (3, 7), 3, 100)
    assert curve_of(evidence({"attacked": [1], "broken": []}, queries=100)) is None
    assert curve_of(evidence({"queries_to_success": [], "attacked": [], "broken": []}, queries=100)) is None
    assert curve_of(evidence({"queries_to_success": [2], "attacked": [1]})) is None
    longer = evidence({"queries_to_success": [120], "attacked": [1]}, queries=100)
    assert curve_of(longer).most == 120


def test_hostile_names_stay_text():
    root = draw(Curve('<script>"&', (2,), 3, 100))
    assert not [node for node in root.iter() if node.tag.endswith("script")]


@pytest.mark.parametrize("poison", ["x", None, 1.5, {"a": 1}, [[]], ["3", -1, 0]])
def test_poisoned_outcomes_give_no_false_step(poison):
    found = curve_of(evidence({"queries_to_success": poison, "attacked": [1, 2]}, queries=10))
    assert found is None or found.counts == ()


@given(
    st.lists(st.integers(1, 5000), max_size=30),
    st.integers(0, 20),
    st.integers(1, 5000),
)
def test_shares_only_grow_and_stay_within_the_plot(counts, standing, most):
    curve = Curve("c", tuple(counts), max(1, len(counts) + standing), max([most, *counts]))
    found = steps(draw(curve))
    assert all(-1e-3 <= a <= 100.001 and -1e-3 <= b <= 100.001 for (a, b), _ in found)
    upright = [shares for x, shares in found if x[0] == x[1]]
    assert all(low <= high for low, high in upright if low != high)
    if counts:
        assert curve.share(curve.most) == pytest.approx(len(counts) / curve.points)
