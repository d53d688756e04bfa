from __future__ import annotations

import copy
from contextlib import suppress
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.canonical import canonical, parse
from modelward.errors import ProofInvalid, SealDamaged, SealRefused
from modelward.vault.attest.audited import AuditEvidence, read_audit


def altered(value, path, new):
    """A deep copy with one entry replaced."""
    made = copy.deepcopy(value)
    inner = made
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = new
    return made


def test_what_the_ledger_holds_is_read(decision, predicate, model_digest, now):
    audit = read_audit(predicate(decision()))
    assert audit.moment == now
    assert [claim.id for claim in audit.result.claims] == ["robust-accuracy", "accuracy"]
    assert audit.result.claims[0].bracket.lower == 0.7
    assert audit.evidence.model.digest == model_digest
    assert audit.evidence.ledger.size == 6
    assert audit.finished == ("quality", "evasion.certified")
    assert audit.missed == {}


@pytest.mark.parametrize("before", [0, 1, 2, 7])
@pytest.mark.parametrize("after", [0, 1, 5])
def test_the_decision_may_stand_anywhere_in_the_ledger(decision, predicate, before, after):
    made = predicate(decision(), before=before, after=after)
    assert read_audit(made).evidence.record.index == before


def test_the_predicate_is_read_as_it_was_written(decision, predicate):
    """Through canonical JSON and back, a float like 1e16 included, whose text looks like a whole number."""
    made = predicate(decision())
    again = parse(canonical(made))
    assert b"10000000000000000" in canonical(made)
    assert read_audit(again) == read_audit(made)
    written = msgspec.to_builtins(msgspec.convert(made, AuditEvidence))
    assert written["record"]["body"] == made["record"]["body"]


def test_checks_that_did_not_finish_are_missed(decision, predicate):
    body = decision(
        checks={"quality": "finished", "evasion.query": "cut", "leakage.membership": "failed"},
        skipped=[
            ("evasion.gradient", "left out by --checks"),
            ("evasion.certified", "needs the extra 'torch': pip install 'modelward[torch]'"),
            ("bias.groups", "no sensitive column was named (--sensitive)"),
        ],
    )
    body["result"]["checks"][1]["cut"] = "passes"
    audit = read_audit(predicate(body))
    assert audit.finished == ("quality",)
    assert audit.missed == {
        "evasion.query": "was cut short (passes)",
        "leakage.membership": "was cut short (failed)",
        "evasion.gradient": "left out by --checks",
        "evasion.certified": "needs the extra 'torch': pip install 'modelward[torch]'",
    }


ALTERED = {
    "head": (("ledger", "head"), "00" * 32),
    "size": (("ledger", "size"), 9),
    "size of one": (("ledger", "size"), 1),
    "size of nothing": (("ledger", "size"), 0),
    "index": (("record", "index"), 2),
    "index beyond": (("record", "index"), 6),
    "no path": (("record", "path"), []),
    "a longer path": (("record", "path"), ["00" * 32] * 9),
    "a node": (("record", "path", 0), "00" * 32),
    "a number": (("record", "body", "result", "claims", 0, "bracket", "lower"), 0.71),
    "a claim less": (("record", "body", "result", "claims"), []),
    "a finding less": (("record", "body", "result", "seed"), 1),
    "the time": (("record", "body", "result", "created"), "2026-11-21T12:00:00+00:00"),
    "a check": (("record", "body", "result", "checks", 0, "state"), "cut"),
    "the attempt": (("record", "body", "attempt"), 2),
    "what is not read": (("record", "body", "result", "command"), "rm"),
    "an entry more": (("record", "body", "more"), None),
}


@pytest.mark.parametrize("name", ALTERED)
def test_what_the_head_does_not_cover_is_refused(name, decision, predicate):
    with pytest.raises(ProofInvalid):
        read_audit(altered(predicate(decision()), *ALTERED[name]))


DAMAGED = {
    "no ledger": (("ledger",), None),
    "a head that is short": (("ledger", "head"), "00"),
    "a head with an end of line": (("ledger", "head"), "ab" * 32 + "\n"),
    "a node with an end of line": (("record", "path", 0), "ab" * 32 + "\n"),
    "a head in capitals": (("ledger", "head"), "AB" * 32),
    "a negative size": (("ledger", "size"), -1),
    "a size beyond numbers": (("ledger", "size"), 1 << 53),
    "a text as index": (("record", "index"), "3"),
    "a path of texts": (("record", "path"), ["x"]),
    "a path without end": (("record", "path"), ["00" * 32] * 65),
    "a body that is none": (("record", "body"), []),
    "another kind": (("record", "body", "kind"), "evidence"),
    "another run": (("record", "body", "run"), "cd" * 32),
    "no result": (("record", "body", "result"), None),
    "a time without zone": (("record", "body", "result", "created"), "2026-11-20T12:00:00"),
    "a time that is none": (("record", "body", "result", "created"), "yesterday"),
    "a claim that is none": (("record", "body", "result", "claims", 0), 3),
    "a claim without n": (("record", "body", "result", "claims", 0), {"id": "accuracy"}),
    "a basis that is none": (("record", "body", "result", "claims", 0, "basis"), "believed"),
    "a bracket in words": (("record", "body", "result", "claims", 0, "bracket"), "wide"),
    "a severity that is none": (("record", "body", "result", "findings"), [{"severity": "fatal"}]),
    "a state that is none": (("record", "body", "result", "checks", 0, "state"), "skipped"),
    "a model without digest": (("model", "digest"), ""),
    "another model": (("model", "digest"), "sha256:" + "00" * 32),
    "other parts": (("model", "whole"), "sha256:" + "00" * 32),
    "an entry that is not known": (("status",), "holds"),
    "a finding that was never seen": (("seen",), ["2026-11-20T12:00:00+00:00"]),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_not_as_the_format_has_it_is_refused(name, decision, predicate):
    path, new = DAMAGED[name]
    made = altered(predicate(decision()), path, new)
    if path[0] == "record" and path[1] == "body" and isinstance(made["record"]["body"], dict):
        body = made["record"]["body"]
        if body.get("result") and isinstance(body["result"].get("findings"), list):
            made = predicate(body, seen=[])  # the ledger holds it like that
    with pytest.raises(SealDamaged):
        read_audit(made)


def test_an_audit_of_another_model_is_refused(decision, predicate):
    """The ledger is sound and its decision real; it is about other bytes than the evidence says."""
    body = decision()
    for subject in body["result"]["subjects"]:
        subject["digest"] = "sha256:" + "77" * 32
    with pytest.raises(SealDamaged, match="another model"):
        read_audit(predicate(body))


@pytest.mark.parametrize("kind", ["artifact", "model"])
def test_what_only_bears_a_name_is_no_model(kind, decision, predicate):
    body = decision()
    for subject in body["result"]["subjects"]:
        if subject["kind"] == kind:
            subject["identity"] = "asserted"
    with pytest.raises(SealDamaged, match="another model"):
        read_audit(predicate(body))


@pytest.mark.parametrize("kind", ["dataset", "service"])
def test_the_digest_of_data_is_not_taken_for_the_model(kind, decision, predicate):
    body = decision()
    body["result"]["subjects"][0]["kind"] = kind
    with pytest.raises(SealDamaged, match="another model"):
        read_audit(predicate(body))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n": -1}, "no claim has"),
        ({"value": "high"}, "not as its format"),
        ({"interval": {"lower": 0.1}}, "not as its format"),
        ({"scope": "linf"}, "not as its format"),
    ],
)
def test_claims_hold_numbers(change, words, claim, decision, predicate):
    with pytest.raises(SealDamaged, match=words):
        read_audit(predicate(decision(claims=[claim("accuracy", **change)])))


@pytest.mark.parametrize("field", ["value", "bracket", "interval"])
def test_an_infinite_number_is_no_value(field, claim):
    """JSON cannot write one; a decoder that would read one is not trusted to be the only one."""
    from modelward.vault.attest import audited

    contents = {
        "value": float("inf"),
        "bracket": {"lower": float("-inf"), "upper": 1.0},
        "interval": {"lower": 0.0, "upper": float("nan"), "confidence": 0.95},
    }
    broken = msgspec.convert(claim("accuracy", **{field: contents[field]}), audited.Claim)
    with pytest.raises(SealDamaged, match="no claim has"):
        audited._check_claim(broken)


def test_findings_know_when_they_were_first_seen(decision, predicate, finding, now):
    body = decision(findings=[finding("high"), finding("low")])
    seen = [now - timedelta(days=40), now]
    audit = read_audit(predicate(body, seen=[moment.isoformat() for moment in seen]))
    assert list(audit.evidence.seen) == seen
    for wrong in ([], [now.isoformat()], [now.isoformat()] * 3):
        with pytest.raises(SealDamaged, match="every finding"):
            read_audit(predicate(body, seen=wrong))


def test_a_finding_is_not_first_seen_after_its_audit(decision, predicate, finding, now):
    body = decision(findings=[finding("high")])
    later = (now + timedelta(seconds=1)).isoformat()
    with pytest.raises(SealDamaged, match="after the audit"):
        read_audit(predicate(body, seen=[later]))


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00Z"]
)
def test_times_at_the_ends_of_the_calendar_are_no_crash(moment, decision, predicate):
    body = decision()
    body["result"]["created"] = moment
    with suppress(SealRefused):
        assert read_audit(predicate(body)).moment.tzinfo is not None


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
NESTED = st.recursive(
    VALUES, lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text(max_size=5), v, max_size=2)
)


@given(data=st.data(), new=NESTED)
def test_any_entry_may_be_anything(data, new, decision, predicate):
    """One entry anywhere in the predicate, in the record too, is replaced: read the same, or refused."""
    made = predicate(decision())
    path, inner = [], made
    while isinstance(inner, dict | list) and inner:
        keys = sorted(inner) if isinstance(inner, dict) else range(len(inner))
        path.append(data.draw(st.sampled_from(list(keys))))
        inner = inner[path[-1]]
        if data.draw(st.booleans()):
            break
    changed = altered(made, path, new)
    try:
        read = read_audit(changed)
    except SealRefused:
        return
    assert canonical(msgspec.to_builtins(read.evidence.record)) == canonical(made["record"])


@given(size=st.integers(1, 40), data=st.data())
def test_a_proof_of_one_place_serves_no_other(size, data, decision, predicate):
    before = data.draw(st.integers(0, size - 1))
    made = predicate(decision(), before=before, after=size - 1 - before)
    assert read_audit(made)
    other = data.draw(st.integers(0, size - 1).filter(lambda n: n != before) if size > 1 else st.just(size))
    with pytest.raises(ProofInvalid):
        read_audit(altered(made, ("record", "index"), other))
