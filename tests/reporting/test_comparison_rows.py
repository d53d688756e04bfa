"""Cells, signs and hostile words of a comparison of two audits."""

from __future__ import annotations

import json
from html import unescape

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.claim import Bracket
from modelward.core.evidence import Cost, Evidence
from modelward.reporting.comparison import (
    Comparison,
    Detector,
    Row,
    _cells,
    _cut,
    cost_words,
    detector_lines,
    notes,
    to_html,
    to_json_bytes,
    to_text,
)


def defence(*, cut=None, cost=None, **outcome):
    return Evidence(
        check="evasion.training", version=1, parameters={}, n=10, seed=0, outcome=outcome, unit="share",
        cost=cost or Cost(seconds=61.0, forward=10, backward=5), subjects={}, cut=cut,
    )  # fmt: skip


@pytest.fixture
def audit(audits):
    return next(a for a in audits.values() if any(claim.bracket for claim in a.claims))


def compared(before, after, evidence=None, **more):
    return Comparison(
        **{"method": "pgd", "before": before, "after": after, "defence": evidence or defence(), **more}
    )


@pytest.mark.parametrize(
    ("before", "after", "unit", "cells"),
    [
        (0.5, 0.75, "share", ("50.0 %", "75.0 %", "+25.0")),
        (0.75, 0.5, "share", ("75.0 %", "50.0 %", "-25.0")),
        (0.5, 0.5, "share", ("50.0 %", "50.0 %", "+0.0")),
        (None, 0.5, "share", ("?", "50.0 %", "")),
        (0.5, None, "share", ("50.0 %", "?", "")),
        (10.0, 25.0, "seconds", ("10 s", "25 s", "x 2.5")),
        (0.0, 25.0, "seconds", ("0.0 s", "25 s", "")),
        (2000.0, 1000.0, "samples", ("2,000", "1,000", "x 0.5")),
        (None, None, "samples", ("?", "?", "")),
    ],
)
def test_cells_of_a_row(before, after, unit, cells):
    row = Row(name="what", scope="", before=before, after=after, n=1200, unit=unit)
    assert _cells(row) == ("what (n = 1,200)" if unit == "share" else "what", *cells)


def test_scopes_stand_beside_names():
    row = Row(name="certified", scope="L∞ · eps 0.1", before=0.1, after=0.2, n=3)
    assert _cells(row)[0] == "certified, L∞ · eps 0.1 (n = 3)"


@given(st.one_of(st.none(), st.floats(0, 1)), st.one_of(st.none(), st.floats(0, 1)))
def test_a_change_is_told_exactly_where_both_ends_are_known(before, after):
    _, one, other, change = _cells(Row(name="a", before=before, after=after, n=1))
    assert (one == "?") == (before is None)
    assert (other == "?") == (after is None)
    assert (change == "") == (before is None or after is None)
    if change:
        assert float(change) == pytest.approx(100 * (after - before), abs=0.051)


@given(st.text(max_size=40), st.integers(1, 40))
def test_long_names_are_cut_to_width(text, width):
    found = _cut(text, width)
    assert len(found) <= max(width, 1)
    assert found == text or (found.endswith("…") and text.startswith(found[:-1]))


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_columns_of_the_table_stand_in_line(audit, width):
    found = compared(audit, audit)
    lines = to_text(found, width=width).splitlines()
    table = lines[2 : 3 + len(found.rows)]
    ends = [table[0].index("before") + len("before"), table[0].index("after") + len("after")]
    for line, row in zip(table[1:], found.rows, strict=True):
        cells = _cells(row)
        assert line[: ends[0]].endswith(cells[1])
        assert line[: ends[1]].endswith(cells[2])


def test_no_claim_of_accuracy_is_a_question_mark(audits):
    nothing = audits["nothing"]
    found = compared(nothing, nothing)
    (accuracy, *costs) = found.rows
    assert (accuracy.name, accuracy.before, accuracy.after, accuracy.n) == ("clean accuracy", None, None, 0)
    assert [row.name for row in costs] == ["audit, time", "audit, samples"]
    assert "?" in to_text(found)


def test_accuracies_are_each_models_own(audits):
    one = audits["fail"]
    claims = tuple(
        msgspec.structs.replace(claim, value=0.25) if claim.id == "accuracy" else claim
        for claim in one.claims
    )
    two = msgspec.structs.replace(one, claims=claims)
    row = compared(one, two).rows[0]
    assert row.after == 0.25
    assert row.before == next(claim.value for claim in one.claims if claim.id == "accuracy")


def test_a_threat_of_one_audit_alone_is_no_row(audit):
    without = msgspec.structs.replace(audit, claims=tuple(c for c in audit.claims if c.bracket is None))
    for found in (compared(audit, without), compared(without, audit)):
        assert {row.name for row in found.rows} == {"clean accuracy", "audit, time", "audit, samples"}


def test_other_radii_are_not_compared(audit):
    claims = tuple(
        msgspec.structs.replace(c, scope={**c.scope, "eps": 77.0}) if c.bracket else c for c in audit.claims
    )
    found = compared(audit, msgspec.structs.replace(audit, claims=claims))
    assert not any(row.name == "certified" for row in found.rows)


def test_a_proof_lost_is_a_question_mark_and_never_nought(audit):
    def with_bracket(lower, upper):
        claims = tuple(
            msgspec.structs.replace(c, bracket=Bracket(lower, upper)) if c.bracket else c
            for c in audit.claims
        )
        return msgspec.structs.replace(audit, claims=claims)

    found = compared(with_bracket(0.3, 0.5), with_bracket(None, 0.5))
    row = next(row for row in found.rows if row.name == "certified")
    assert _cells(row)[1:] == ("30.0 %", "?", "")
    content = json.loads(to_json_bytes(found))
    assert next(r for r in content["rows"] if r["name"] == "certified")["after"] is None


@pytest.mark.parametrize("hostile", ["\x1b[31mred", "a\u202eb", "x\ny: forged line"])
def test_words_from_outside_cannot_steer_a_terminal(audit, hostile):
    """Methods, events, files and detectors may hold what someone else wrote."""
    detector = Detector(name=hostile, n=5, passed=(0.5, 0.4, 0.6), auc=None, tpr=None, fpr=0.0)
    found = compared(
        audit,
        audit,
        defence(history=[{"event": hostile}]),
        method=hostile,
        files={"weights": hostile},
        detectors=(detector,),
    )
    text = to_text(found)
    for char in "\x1b\u202e":
        assert char not in text
    assert not any(line.startswith("y: forged") for line in text.splitlines())


def test_markup_of_outside_words_stays_text(audit):
    hostile = "<script>alert(1)</script>"
    found = compared(audit, audit, defence(history=[{"event": hostile}]), method=hostile)
    page = to_html(found)
    assert "<script" not in page
    assert hostile in unescape(page)


@pytest.mark.parametrize(
    "history", [None, "x", 3, [], ["x", 1, None], [{"clean": 0.5}], {"event": "no list"}]
)
def test_histories_without_events_add_no_note(audit, history):
    plain = set(notes(compared(audit, audit)))
    assert set(notes(compared(audit, audit, defence(history=history)))) == plain


def test_a_chosen_epoch_needs_no_note(audit):
    found = notes(compared(audit, audit, defence(chosen=4)))
    assert not any("no epoch" in note for note in found)


def test_cuts_of_either_audit_are_noted_with_their_side(audit):
    runs = tuple(msgspec.structs.replace(run, cut="queries") for run in audit.checks)
    whole = tuple(msgspec.structs.replace(run, cut=None) for run in audit.checks)
    one, two = (msgspec.structs.replace(audit, checks=checks) for checks in (runs, whole))
    said = [note for note in notes(compared(one, two)) if "cut short" in note]
    assert said == [f"before: {run.check} was cut short (queries)" for run in runs]
    said = [note for note in notes(compared(two, one)) if "cut short" in note]
    assert said == [f"after: {run.check} was cut short (queries)" for run in runs]


@pytest.mark.parametrize(("rule", "noted"), [("evasion.contradiction", True), ("evasion.witness", False)])
def test_only_findings_that_void_the_numbers_are_noted(audits, rule, noted):
    one = audits["fail"]
    sign = msgspec.structs.replace(one.findings[0], rule=rule, message="said by a finding")
    found = notes(compared(one, msgspec.structs.replace(one, findings=(sign,))))
    assert ("after: said by a finding" in found) == noted


def test_costs_in_words():
    assert cost_words(defence()) == "1 min 01 s of CPU time, 10 forward · 5 backward"
    assert cost_words(defence(cost=Cost(seconds=0.25))) == "0.2 s of CPU time, no samples"


def test_files_and_detectors_are_in_every_form(audit):
    detector = Detector(
        name="blur, blind", n=7, passed=(0.1, 0.0, 0.3), auc=(0.9, 0.8, 1.0), tpr=None, fpr=0.05
    )
    found = compared(audit, audit, files={"weights": "m.safetensors"}, detectors=(detector,))
    ((name, said),) = detector_lines(found)
    assert (
        said
        == "10.0 % [0.0 %, 30.0 %] pass undetected (n = 7), AUC 0.900 [0.800, 1.000], 5.0 % of clean inputs refused"
    )
    assert f"Detector {name}: {said}" in to_text(found)
    assert said in unescape(to_html(found))
    assert "Wrote weights: m.safetensors" in to_text(found)
    content = json.loads(to_json_bytes(found))
    assert content["detectors"][0]["tpr"] is None
    assert content["detectors"][0]["auc"] == [0.9, 0.8, 1.0]


def test_the_json_holds_both_audits_and_is_the_same_twice(audit):
    found = compared(audit, msgspec.structs.replace(audit, run="other"))
    assert to_json_bytes(found) == to_json_bytes(found)
    content = json.loads(to_json_bytes(found))
    assert (content["before"]["run"], content["after"]["run"]) == (audit.run, "other")
    assert set(content["before"]) == set(content["after"])
    assert len(content["before"]["claims"]) == len(audit.claims)
