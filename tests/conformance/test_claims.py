"""What every judge of the catalogue must do: a pure function from evidence to claims and findings."""

from __future__ import annotations

import copy
import re

import msgspec
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.canonical import canonical
from modelward.core.catalogue import CHECKS, CLAIMS, check_entry, load_check, load_judge
from modelward.core.check import Settings
from modelward.core.evidence import to_json
from modelward.core.finding import SEVERITIES

every = pytest.mark.parametrize("entry", CLAIMS, ids=[entry.id for entry in CLAIMS])

TECHNIQUE = re.compile(r"AML\.T\d{4}(\.\d{3})?")
CONTROL = re.compile(r"(GV|ID|PR|DE|RS|RC)\.[A-Z]{2}-\d{2}|(risk|control)[A-Z][A-Za-z]+")


@pytest.fixture(scope="session")
def motion(picture_subjects):
    """Evidence of turned and shifted images, which the ordinary subjects, tables, cannot give."""
    check = load_check(check_entry("evasion.corruption"))(Settings(limit=20, preset="quick"))
    return list(check.run(picture_subjects("evasion.corruption"), budget=Meter(), seed=1))


@pytest.fixture(scope="session")
def evidence_for(whole, motion):
    """Evidence of all checks that feed a claim."""

    def collect(entry):
        fed = [check.id for check in CHECKS if entry.id in check.feeds]
        assert fed
        more = motion if entry.id == "motion-accuracy" else []
        return [*(item for check_id in fed for item in whole(check_id).evidence), *more]

    return collect


def content(judgement):
    """What a judgement says, without the order in which it says it."""
    said = []
    for thing in (*judgement.claims, *judgement.findings):
        plain = to_json(thing)
        plain["evidence"] = sorted(plain["evidence"])
        if "cost" in plain:
            plain["cost"]["seconds"] = round(
                plain["cost"]["seconds"], 6
            )  # a sum of floats depends on its order
        said.append(canonical(plain))
    return sorted(said)


@every
def test_no_evidence_no_claim(entry):
    judgement = load_judge(entry)([])
    assert judgement.claims == ()
    assert judgement.findings == ()


@every
def test_same_evidence_same_judgement_in_any_order(entry, evidence_for):
    evidence = evidence_for(entry)
    before = copy.deepcopy(evidence)
    judge = load_judge(entry)
    first = judge(evidence)
    assert judge(evidence) == first
    assert content(judge(tuple(reversed(evidence)))) == content(first)
    assert evidence == before


@every
def test_evidence_read_back_from_the_ledger_gives_the_same(entry, evidence_for):
    evidence = evidence_for(entry)
    stored = [msgspec.json.decode(canonical(to_json(item)), type=type(item)) for item in evidence]
    read, fresh = load_judge(entry)(stored), load_judge(entry)(evidence)
    assert canonical(to_json(read)) == canonical(to_json(fresh))


@every
def test_claims_are_well_formed(entry, evidence_for):
    evidence = {item.digest: item for item in evidence_for(entry)}
    claims = load_judge(entry)(list(evidence.values())).claims
    assert claims
    # The checks of one claim are run on several models; of one model, a scope has one claim.
    scopes = [(evidence[claim.evidence[0]].subjects.get("model"), canonical(claim.scope)) for claim in claims]
    assert len(set(scopes)) == len(scopes)
    for claim in claims:
        canonical(to_json(claim))
        assert claim.id == entry.id
        assert not claim.statement[0].islower()
        assert claim.statement.endswith(".")
        assert claim.n >= 1
        assert claim.evidence
        assert set(claim.evidence) <= set(evidence)
        assert claim.status is None
        assert claim.cost.queries == sum(evidence[name].cost.queries for name in claim.evidence)
        assert (claim.value is None) or (claim.bracket is None)
        if claim.interval is not None:
            assert 0 < claim.interval.confidence < 1
            assert claim.interval.lower <= claim.value <= claim.interval.upper
        if claim.bracket is not None and None not in {claim.bracket.lower, claim.bracket.upper}:
            assert 0 <= claim.bracket.lower <= claim.bracket.upper <= 1


@every
def test_findings_are_well_formed(entry, evidence_for):
    evidence = evidence_for(entry)
    checks = {check.id for check in CHECKS}
    for finding in load_judge(entry)(evidence).findings:
        canonical(to_json(finding))
        assert any(finding.rule.split(".")[0] == check.split(".")[0] for check in checks)
        assert finding.severity in SEVERITIES
        assert finding.message
        assert finding.remedy
        assert finding.evidence
        assert set(finding.evidence) <= {item.digest for item in evidence}
        assert all(TECHNIQUE.fullmatch(name) for name in finding.techniques)
        assert all(CONTROL.fullmatch(name) for name in finding.controls)


@every
@pytest.mark.parametrize("limit", [1, 10, 100])
def test_evidence_of_nothing_supports_no_number(entry, measure, limit):
    fed = [check.id for check in CHECKS if entry.id in check.feeds]
    cut = [item for check_id in fed for item in measure(check_id, budget=Budget(queries=limit)).evidence]
    judgement = load_judge(entry)(cut)
    examined = {item.digest for item in cut if item.n > 0}
    for claim in judgement.claims:
        if not examined.intersection(claim.evidence):
            assert claim.value is None
            assert claim.bracket is None or (claim.bracket.lower, claim.bracket.upper) == (None, None)
    for finding in judgement.findings:
        assert examined.intersection(finding.evidence)
