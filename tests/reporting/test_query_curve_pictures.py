"""Pictures of evidence: which curves share one, what is drawn where, and what hostile evidence cannot do."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.evidence import Cost, Evidence
from modelward.reporting.query_curve import HEIGHT, Curve, curve_of, pictures, query_curve


def item(counts, attacked, *, norm="linf", eps=0.1, queries=100, check="evasion.query"):
    return Evidence(
        check=check,
        version=2,
        parameters={"norm": norm, "eps": eps, "queries": queries},
        n=len(attacked),
        seed=1,
        outcome={"queries_to_success": counts, "attacked": attacked, "broken": attacked[: len(counts)]},
        unit="row number",
        cost=Cost(),
        subjects={},
    )


def parsed(picture):
    return ET.fromstring(picture)  # noqa: S314 - our own output


def texts(root):
    return [node.text for node in root.iter() if node.tag.endswith("text")]


def curve_ends(root):
    """The rightmost x of each curve's level lines, one per group."""
    return [
        max(float(node.get("x2")[:-1]) for node in group if node.get("class") == "step")
        for group in root
        if group.tag.endswith("g")
    ]


def test_radii_of_one_norm_share_a_picture_and_norms_do_not():
    found = pictures([item([3], [1, 2], eps=0.1), item([4, 5], [1, 2], eps=0.2), item([9], [1], norm="l2")])
    assert [title for title, _ in found] == ["evasion.query, linf", "evasion.query, l2"]
    names = [[text for text in texts(parsed(svg)) if "eps" in text] for _, svg in found]
    assert names == [["linf, eps 0.1: 50.0 %", "linf, eps 0.2: 100.0 %"], ["l2, eps 0.1: 100.0 %"]]


def test_checks_are_told_apart_and_every_picture_has_its_own_name():
    found = pictures([item([3], [1]), item([3], [1], check="evasion.text"), item([3], [1], norm="l1")])
    idents = [parsed(svg).get("aria-labelledby") for _, svg in found]
    assert len(set(idents)) == len(found) == 3
    for (title, svg), ident in zip(found, idents, strict=True):
        root = parsed(svg)
        named = {node.get("id"): node.text for node in root if node.get("id")}
        assert set(ident.split()) == set(named)
        assert named[ident.split()[0]] == f"Points broken over queries, {title}"


def test_evidence_without_queries_leaves_no_picture():
    plain = msgspec.structs.replace(item([], [1]), outcome={"attacked": [1], "broken": []})
    assert pictures([plain]) == ()
    assert pictures([]) == ()
    assert len(pictures([plain, item([2], [1])])) == 1


@pytest.mark.parametrize(
    "counts", [[True], [2, True], [2, 0], [2, -1], [2, "3"], [2, 3.0], [2, None], [float("nan")], [[2]]]
)
def test_a_count_that_is_no_whole_number_of_queries_spoils_the_whole_curve(counts):
    """Leaving it out would draw fewer points broken than the evidence says: nothing is drawn instead."""
    assert curve_of(item(counts, [1, 2, 3])) is None


@pytest.mark.parametrize("queries", [True, 0, -5, 2.5, "100", None, [100]])
def test_a_limit_that_is_no_number_of_queries_gives_no_curve(queries):
    assert curve_of(item([1], [1], queries=queries)) is None


def test_more_witnesses_than_points_are_no_curve():
    assert curve_of(item([1, 2], [1])) is None
    assert curve_of(item([1, 2], [1, 2])).share(2) == 1.0


def test_one_query_is_the_left_edge_and_the_limit_the_right_one():
    root = parsed(query_curve([Curve("a", (1, 64), 2, 64)], title="t", ident="q"))
    lines = [node for node in root.iter() if node.get("class") == "step"]
    upright = [float(node.get("x1")[:-1]) for node in lines if node.get("x1") == node.get("x2")]
    assert upright == [0.0, 100.0]
    assert curve_ends(root) == [100.0]


def test_the_scale_is_logarithmic():
    root = parsed(query_curve([Curve("a", (8,), 1, 64)], title="t", ident="q"))
    at = [
        float(n.get("x1")[:-1])
        for n in root.iter()
        if n.get("class") == "step" and n.get("x1") == n.get("x2")
    ]
    assert at == [pytest.approx(100 * math.log(8) / math.log(64), abs=1e-3)]


def test_a_curve_of_one_query_can_be_drawn():
    """The logarithm of 1 is 0: the scale must not divide by it."""
    root = parsed(query_curve([Curve("a", (1,), 1, 1)], title="t", ident="q"))
    assert "2" in texts(root)[-1]
    assert any("100.0 %" in text for text in texts(root))


def test_marks_of_the_scale_stand_apart_from_its_end():
    marks = {
        end: [
            t
            for t in texts(parsed(query_curve([Curve("a", (), 1, end)], title="t", ident="q")))
            if t.isdigit()
        ]
        for end in (5, 12, 13, 100, 120, 126, 10_000)
    }
    assert marks[5] == ["5"]
    assert marks[12] == ["12"]
    assert marks[13] == ["10", "13"]
    assert marks[100] == ["10", "100"]
    assert marks[120] == ["10", "120"]
    assert marks[126] == ["10", "100", "126"]
    assert marks[10_000] == ["10", "100", "1000", "10000"]


def test_long_names_are_cut_and_never_markup():
    name = "<b>" + "x" * 500
    svg = query_curve([Curve(name, (2,), 2, 10)], title="t" * 900, ident="q")
    root = parsed(svg)
    assert not [node for node in root.iter() if node.tag.endswith("}b") or node.tag == "b"]
    assert max(len(text) for text in texts(root)) < 100
    titles = [node.text for node in root.iter() if node.tag.endswith("title")]
    assert max(map(len, titles)) == 200
    described = next(node.text for node in root.iter() if node.tag.endswith("desc"))
    assert len(described) <= 1500


def test_labels_stay_within_the_picture():
    for broken in (0, 1, 7, 10):
        root = parsed(query_curve([Curve("a", (3,) * broken, 10, 50)], title="t", ident="q"))
        (label,) = [n for n in root.iter() if n.tag.endswith("text") and "a: " in (n.text or "")]
        assert 0 < float(label.get("y")) <= HEIGHT


@given(
    st.lists(
        st.one_of(
            st.integers(-3, 400), st.booleans(), st.none(), st.floats(allow_nan=True), st.text(max_size=3)
        ),
        max_size=6,
    ),
    st.integers(0, 6),
    st.one_of(st.integers(-2, 300), st.booleans(), st.none(), st.text(max_size=2)),
)
def test_any_outcome_gives_a_true_curve_or_none(counts, attacked, queries):
    evidence = item(counts, list(range(attacked)), queries=queries)
    found = curve_of(evidence)
    if found is not None:
        assert list(found.counts) == counts
        assert all(type(count) is int and count >= 1 for count in counts)
        assert found.share(found.most) == len(counts) / attacked
        assert found.most >= max(counts, default=1)
    for _, svg in pictures([evidence]):
        assert parsed(svg).tag.endswith("svg")
