"""Rows from two audits, and what a reader is told beside them."""

from __future__ import annotations

import json
from html import unescape

import msgspec
import pytest

from modelward.core.claim import Bracket
from modelward.core.evidence import Cost, Evidence
from modelward.reporting.comparison import (
    Comparison,
    Detector,
    detector_lines,
    notes,
    to_html,
    to_json_bytes,
    to_text,
)


def defence(*, cut=None, **outcome):
    return Evidence(
        check="evasion.training", version=1, parameters={}, n=10, seed=0, outcome=outcome, unit="share",
        cost=Cost(seconds=61.0, forward=10, backward=5), subjects={}, cut=cut,
    )  # fmt: skip


@pytest.fixture
def audit(audits):
    """Any audit with a bracket."""
    return next(a for a in audits.values() if any(claim.bracket for claim in a.claims))


def changed(audit, *, lower, upper):
    """The same audit with other brackets."""
    claims = tuple(
        claim if claim.bracket is None else msgspec.structs.replace(claim, bracket=Bracket(lower, upper))
        for claim in audit.claims
    )
    return msgspec.structs.replace(audit, claims=claims)


def compared(before, after, evidence=None, **more):
    return Comparison(method="pgd", before=before, after=after, defence=evidence or defence(), **more)


def test_both_ends_of_every_threat_are_shown(audit):
    found = compared(changed(audit, lower=0.1, upper=0.2), changed(audit, lower=0.5, upper=0.75))
    brackets = [claim for claim in audit.claims if claim.bracket is not None]
    attacked = [row for row in found.rows if row.name == "right under every attack tried"]
    proved = [row for row in found.rows if row.name == "certified"]
    assert len(attacked) == len(proved) == len(brackets)
    assert {(row.before, row.after) for row in attacked} == {(0.2, 0.75)}
    assert {(row.before, row.after) for row in proved} == {(0.1, 0.5)}
    text = to_text(found, width=200)
    assert "20.0 %" in text
    assert "+55.0" in text


def test_other_threats_or_points_are_not_compared(audit):
    other = tuple(
        msgspec.structs.replace(claim, n=claim.n + 1) if claim.bracket else claim for claim in audit.claims
    )
    found = compared(audit, msgspec.structs.replace(audit, claims=other))
    assert not any(row.name == "certified" for row in found.rows)


def test_what_is_not_known_is_a_question_mark(audit):
    found = compared(changed(audit, lower=None, upper=0.5), changed(audit, lower=None, upper=0.5))
    row = next(row for row in found.rows if row.name == "certified")
    assert (row.before, row.after) == (None, None)
    assert any(line.split()[-2:] == ["?", "?"] for line in to_text(found, width=200).splitlines())


def test_costs_are_of_all_checks(audit):
    total = sum((run.cost for run in audit.checks), Cost())
    rows = {row.name: row for row in compared(audit, audit).rows}
    assert rows["audit, time"].before == pytest.approx(total.seconds)
    assert rows["audit, samples"].after == total.forward + total.backward + total.queries


def test_the_json_is_versioned_and_whole(audit):
    found = compared(audit, audit, files={"weights": "model.safetensors"})
    content = json.loads(to_json_bytes(found))
    assert content["schema"] == 1
    assert len(content["rows"]) == len(found.rows)
    assert content["files"] == {"weights": "model.safetensors"}
    assert content["before"]["run"] == audit.run
    assert content["defence"]["cost"]["forward"] == 10


def test_detectors_have_their_intervals(audit):
    detector = Detector(
        name="squeezing, adaptive attack",
        n=50,
        passed=(0.5, 0.4, 0.6),
        auc=(0.7, 0.6, 0.8),
        tpr=(0.2, 0.1, 0.3),
        fpr=0.04,
    )
    bare = msgspec.structs.replace(detector, auc=None, tpr=None)
    lines = [line for _, line in detector_lines(compared(audit, audit, detectors=(detector, bare)))]
    assert lines[0] == (
        "50.0 % [40.0 %, 60.0 %] pass undetected (n = 50), AUC 0.700 [0.600, 0.800], "
        "20.0 % [10.0 %, 30.0 %] detected, 4.0 % of clean inputs refused"
    )
    assert "AUC" not in lines[1]


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        (defence(cut="seconds"), "the defence was cut short (seconds)"),
        (defence(chosen=None), "no epoch at the full radius was measured, so the last weights were kept"),
        (defence(history=[{"event": "catastrophic overfitting"}, {"clean": 1}]), "catastrophic overfitting"),
    ],
)
def test_what_a_reader_must_know_is_noted(audit, evidence, said):
    found = compared(audit, audit, evidence)
    assert said in notes(found)
    assert f"Note: {said}" in to_text(found)
    assert said.partition(" (")[0] in to_html(found)


def test_signs_that_the_numbers_are_worthless_are_noted(audit):
    finding = audit.findings[0] if audit.findings else None
    if finding is None:
        pytest.skip("this audit has no finding to start from")
    sign = msgspec.structs.replace(
        finding, rule="evasion.masked-gradients", message="black box beats white box"
    )
    found = compared(audit, msgspec.structs.replace(audit, findings=(sign,)))
    assert "after: black box beats white box" in notes(found)


def test_a_page_loads_and_runs_nothing(audit):
    page = unescape(to_html(compared(audit, audit)))
    assert "default-src 'none'" in page
    assert "<script" not in page
