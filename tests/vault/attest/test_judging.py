from __future__ import annotations

from datetime import UTC, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.finding import SEVERITIES
from modelward.core.policy import Threshold
from modelward.errors import PolicyInvalid, PolicyRefused
from modelward.vault.attest.admission import (
    Admission,
    AttestationsTable,
    AuditTable,
    ReleaseTable,
    ScanTable,
    SignersTable,
)
from modelward.vault.attest.attestation import Attestations, Refused
from modelward.vault.attest.judging import Facts, admit, attested_claims, release_verdict
from modelward.vault.attest.predicates import Release
from modelward.vault.attest.provenance import StatedClaim

ROBUST = Admission(
    require=(Threshold(claim="robust-accuracy", scope={"norm": "linf", "eps": 0.1}, at_least=0.6),)
)
DAY = timedelta(days=1)


def only(verdict):
    """The one reason of a verdict, as status and detail."""
    (reason,) = verdict.reasons
    return reason.status, reason.detail


def worst(verdict):
    return verdict.reasons[0]


# Thresholds


def test_certified_accuracy_above_the_threshold_is_admitted(facts, evidence):
    verdict = admit(ROBUST, facts(evidence()))
    assert verdict.outcome == "pass"
    verdict.enforce()
    assert verdict.reasons[0].requirement == "robust-accuracy (eps 0.1, norm linf) at least 0.6"
    assert [claim.status for claim in verdict.claims] == ["holds", None]


@pytest.mark.parametrize(
    ("lower", "upper", "outcome", "detail"),
    [
        (0.6, 0.6, "pass", "between 0.6 and 0.6"),
        (0.59, 0.7, "unknown", "between 0.59 and 0.7"),
        (None, 0.9, "unknown", "nothing proved, at most 0.9"),
        (0.1, 0.5, "fail", "between 0.1 and 0.5"),
        (None, None, "unknown", "nothing is known"),
    ],
)
def test_what_is_proved_counts_and_not_what_no_attack_broke(
    *, facts, evidence, robust, lower, upper, outcome, detail
):
    verdict = admit(ROBUST, facts(evidence(claims=[robust(lower, upper)])))
    assert verdict.outcome == outcome
    assert detail in verdict.reasons[0].detail
    if outcome != "pass":
        with pytest.raises(PolicyRefused, match="robust-accuracy"):
            verdict.enforce()


def test_a_threshold_on_another_radius_is_not_met_by_this_one(facts, evidence, robust):
    verdict = admit(ROBUST, facts(evidence(claims=[robust(0.9, 1.0, eps=0.05)])))
    assert only(verdict) == ("unknown", "no such claim was made, only eps 0.05, norm linf")


def test_no_evidence_is_unknown_and_not_admitted(facts):
    verdict = admit(ROBUST, facts())
    assert verdict.outcome == "unknown"
    assert only(verdict) == ("unknown", "no such claim was made: no audit evidence is attested")
    with pytest.raises(PolicyRefused, match="no audit evidence is attested"):
        verdict.enforce()


def test_a_stored_status_does_not_admit(facts, decision, predicate, robust):
    """Signed by a known key, in the ledger, and still derived again from the value."""
    from modelward.vault.attest.audited import AuditEvidence

    body = decision(claims=[{**robust(0.1, 0.2), "status": "holds"}])
    made = msgspec.convert(predicate(body), AuditEvidence)
    verdict = admit(ROBUST, facts(made))
    assert verdict.outcome == "fail"
    assert verdict.claims[0].status == "refuted"


@pytest.mark.parametrize(("value", "outcome"), [(2.4, "pass"), (3.0, "pass"), (3.01, "fail")])
def test_epsilon_that_training_accounts_for(facts, provenance, value, outcome):
    policy = Admission(require=(Threshold(claim="accounted-epsilon", at_most=3, scope={"delta": 1e-5}),))
    claim = StatedClaim(id="accounted-epsilon", value=value, n=60_000, scope={"delta": 1e-5})
    verdict = admit(policy, facts(msgspec.structs.replace(provenance, claims=(claim,))))
    assert verdict.outcome == outcome
    assert admit(policy, facts()).outcome == "unknown"


def test_every_provenance_is_held_to_a_threshold(facts, provenance):
    policy = Admission(require=(Threshold(claim="accounted-epsilon", at_most=3),))
    stated = [
        msgspec.structs.replace(provenance, claims=(StatedClaim(id="accounted-epsilon", value=v, n=9),))
        for v in (1.0, 5.0)
    ]
    assert admit(policy, facts(*stated)).outcome == "fail"


# The newest audit


def test_the_newest_audit_counts(facts, evidence, robust, now):
    good, bad = robust(0.9, 1.0), robust(0.1, 0.2)
    old = evidence(created=now - 2 * DAY, claims=[good])
    new = evidence(created=now - DAY, claims=[bad])
    assert admit(ROBUST, facts(old, new)).outcome == "fail"
    assert admit(ROBUST, facts(new, old)).outcome == "fail"
    better = evidence(created=now, claims=[good])
    assert admit(ROBUST, facts(old, new, better)).outcome == "pass"


def test_of_two_audits_of_one_second_the_one_later_in_the_ledger_counts(facts, evidence, robust):
    first = evidence(claims=[robust(0.9, 1.0)], before=2)
    second = evidence(claims=[robust(0.1, 0.2)], before=9)
    assert admit(ROBUST, facts(second, first)).outcome == "fail"


def test_every_model_of_a_seal_is_held_to_the_policy(facts, evidence, robust):
    one = evidence(claims=[robust(0.9, 1.0)])
    two = evidence(claims=[robust(0.1, 0.2)])
    two = msgspec.structs.replace(two, model=msgspec.structs.replace(two.model, path="second.onnx"))
    verdict = admit(ROBUST, facts(one, two))
    assert verdict.outcome == "fail"
    assert len(verdict.reasons) == 2


def of_second(audit):
    """The same audit, of another model in the seal."""
    return msgspec.structs.replace(audit, model=msgspec.structs.replace(audit.model, path="second.onnx"))


def test_one_model_s_claim_does_not_speak_for_another(facts, evidence, robust, claim):
    """A publisher could leave the check out that the second model would not pass."""
    one = evidence(claims=[robust(0.9, 1.0)])
    two = of_second(evidence(claims=[claim("accuracy", value=0.9)]))
    verdict = admit(ROBUST, facts(one, two))
    assert verdict.outcome == "unknown"
    assert worst(verdict).detail == "second.onnx: no such claim was made"
    verdict = admit(ROBUST, facts(one, of_second(evidence(claims=[robust(0.8, 1.0)]))))
    assert verdict.outcome == "pass"
    assert [claim.status for claim in verdict.claims] == ["holds", "holds"]


def test_what_training_states_speaks_for_every_model_and_once(facts, evidence, provenance):
    policy = Admission(require=(Threshold(claim="accounted-epsilon", at_most=3),))
    claim = StatedClaim(id="accounted-epsilon", value=2.0, n=9)
    stated = msgspec.structs.replace(provenance, claims=(claim,))
    verdict = admit(policy, facts(evidence(claims=[]), of_second(evidence(claims=[])), stated))
    assert verdict.outcome == "pass"
    assert [claim.id for claim in verdict.claims] == ["accounted-epsilon"]


def test_claims_that_nobody_judged_are_those_of_the_newest_audits(facts, evidence, provenance, now, robust):
    old = evidence(claims=[robust(0.1, 0.2)], created=now - 9 * DAY)
    new = evidence(claims=[robust(0.8, 1.0)])
    stated = msgspec.structs.replace(
        provenance, claims=(StatedClaim(id="accounted-epsilon", value=2.0, n=9),)
    )
    found = attested_claims(facts(old, new, stated).attestations)
    assert [(claim.id, claim.status) for claim in found] == [
        ("robust-accuracy", None),
        ("accounted-epsilon", None),
    ]
    assert found[0].bracket.lower == 0.8
    assert attested_claims(facts().attestations) == ()


FRESH = Admission(audit=AuditTable(max_age="30d"))


@pytest.mark.parametrize(
    ("age", "status"),
    [
        (timedelta(0), "holds"),
        (30 * DAY, "holds"),
        (30 * DAY + timedelta(seconds=1), "refuted"),
        (400 * DAY, "refuted"),
        (-timedelta(minutes=5), "holds"),
        (-timedelta(minutes=6), "refuted"),
    ],
)
def test_a_replayed_old_audit_is_refused(facts, evidence, now, age, status):
    found, detail = only(admit(FRESH, facts(evidence(created=now - age))))
    assert found == status
    if age > 30 * DAY:
        assert detail == f"{(now - age).isoformat(timespec='minutes')}, {age.days} days ago"


def test_an_audit_that_is_not_there_has_no_age(facts):
    assert only(admit(FRESH, facts())) == ("unknown", "no audit evidence is attested")


def test_an_audit_of_the_future_is_refused_whatever_is_asked(facts, evidence, now):
    verdict = admit(ROBUST, facts(evidence(created=now + DAY)))
    assert verdict.outcome == "fail"
    assert "in the future" in worst(verdict).detail


def test_time_zones_are_one_time(facts, evidence, now):
    there = now.astimezone(timezone(timedelta(hours=14)))
    assert admit(FRESH, facts(evidence(created=there))).outcome == "pass"
    assert admit(FRESH, facts(evidence(created=now), moment=there)).outcome == "pass"
    assert there.tzinfo is not UTC


# Findings


@pytest.mark.parametrize("limit", SEVERITIES[:-1])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_no_finding_worse_than(facts, evidence, finding, limit, severity):
    policy = Admission(audit=AuditTable(max_severity=limit))
    verdict = admit(policy, facts(evidence(findings=[finding(severity)])))
    worse = SEVERITIES.index(severity) > SEVERITIES.index(limit)
    assert verdict.outcome == ("fail" if worse else "pass")


GRACE = Admission(audit=AuditTable(max_severity="medium", grace="30d"))


@pytest.mark.parametrize(
    ("days", "outcome", "detail"),
    [
        (0, "pass", "1 younger: quality.high (high, 0 hours)"),
        (30, "pass", "1 younger: quality.high (high, 30 days)"),
        (31, "fail", "1 older: quality.high (high, 31 days)"),
    ],
)
def test_no_finding_above_medium_older_than_thirty_days(
    *, facts, evidence, finding, now, days, outcome, detail
):
    """The audit is of today; the finding was first seen earlier."""
    made = evidence(findings=[finding("high"), finding("low")], seen=[now - days * DAY, now - 400 * DAY])
    verdict = admit(GRACE, facts(made))
    assert verdict.outcome == outcome
    assert only(verdict)[1] == detail
    assert verdict.reasons[0].requirement == "no finding worse than medium for longer than 30 days"


def test_a_finding_grows_older_than_the_audit_that_found_it(facts, evidence, finding, now):
    made = evidence(created=now - 31 * DAY, findings=[finding("critical")])
    assert admit(GRACE, facts(made)).outcome == "fail"
    assert admit(GRACE, facts(made, moment=now - 2 * DAY)).outcome == "pass"


@pytest.mark.parametrize("policy", [GRACE, Admission(audit=AuditTable(max_severity="medium"))])
def test_no_finding_is_only_an_answer_when_somebody_looked(policy, facts, evidence):
    assert admit(policy, facts()).outcome == "unknown"
    assert admit(policy, facts(evidence(checks={}))).outcome == "unknown"
    assert admit(policy, facts(evidence(checks={"quality": "cut"}))).outcome == "unknown"
    assert admit(policy, facts(evidence())).outcome == "pass"


def test_many_findings_are_counted(facts, evidence, finding, now):
    found = [finding("high", rule=f"rule.{n}") for n in range(9)]
    made = evidence(findings=found, seen=[now - 60 * DAY] * 9)
    assert "9 older" in only(admit(GRACE, facts(made)))[1]
    assert "and 4 more" in only(admit(GRACE, facts(made)))[1]


CHECKED = Admission(audit=AuditTable(required_checks=("quality", "evasion")))


@pytest.mark.parametrize(
    ("checks", "skipped", "outcome"),
    [
        ({"quality": "finished", "evasion.query": "finished"}, (), "pass"),
        ({"quality": "finished"}, (), "unknown"),
        ({"quality": "finished", "evasion.query": "cut"}, (), "unknown"),
        ({"quality": "finished", "evasion.query": "finished"}, [("evasion.gradient", "left out by --checks")],
         "unknown"),
        ({"quality": "finished", "evasion.query": "finished"}, [("evasion.gradient", "has no gradients")],
         "pass"),
        ({"quality": "finished", "evasion.query": "finished"}, [("bias.groups", "left out by --checks")], "pass"),
    ],
)  # fmt: skip
def test_required_checks(*, facts, evidence, checks, skipped, outcome):
    assert admit(CHECKED, facts(evidence(checks=checks, skipped=skipped))).outcome == outcome


def test_required_checks_without_an_audit(facts):
    verdict = admit(CHECKED, facts())
    assert verdict.outcome == "unknown"
    assert all("no audit evidence" in reason.detail for reason in verdict.reasons)


def test_an_audit_that_was_stopped_is_not_whole(facts, evidence):
    made = evidence(checks={"quality": "finished", "evasion.query": "interrupted"})
    verdict = admit(ROBUST, facts(made))
    assert verdict.outcome == "unknown"
    assert worst(verdict).requirement == "the audit was not stopped"


# The scan


INERT = Admission(scan=ScanTable(verdict="inert"))


@pytest.mark.parametrize(
    ("verdict", "status", "detail"),
    [
        ("inert", "holds", "1 of 2 files are loaded as models"),
        (None, "holds", "0 of 2 files are loaded as models"),
        ("unproven", "unknown", "unproven: model.onnx"),
        ("error", "unknown", "error: model.onnx"),
        ("dangerous", "refuted", "dangerous: model.onnx"),
    ],
)
def test_verdict_inert(facts, scan, verdict, status, detail):
    assert only(admit(INERT, facts(scan(verdict)))) == (status, detail)


def test_no_scan_is_no_verdict(facts, evidence):
    assert only(admit(INERT, facts(evidence()))) == ("unknown", "no scan verdict is attested")
    policy = Admission(scan=ScanTable(max_severity="low", max_age="1d"))
    assert admit(policy, facts()).outcome == "unknown"
    assert len(admit(policy, facts()).reasons) == 2


def test_a_finding_of_the_scan_belies_its_verdict(facts, scan):
    lying = scan("inert", findings=[("critical", "dangerous")])
    assert only(admit(INERT, facts(lying))) == ("refuted", "dangerous: by its findings")


@pytest.mark.parametrize("limit", SEVERITIES[:-1])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_findings_of_the_scan(facts, scan, limit, severity):
    policy = Admission(scan=ScanTable(max_severity=limit))
    verdict = admit(policy, facts(scan(findings=[(severity, "note")])))
    worse = SEVERITIES.index(severity) > SEVERITIES.index(limit)
    assert only(verdict) == (
        ("refuted", f"1 worse: scan.{severity}") if worse else ("holds", "none is worse")
    )


def test_the_newest_scan_counts_and_has_an_age(facts, scan, now):
    old, new = scan("inert", moment=now - 10 * DAY), scan("dangerous", moment=now - DAY)
    assert admit(INERT, facts(old, new)).outcome == "fail"
    fresh = Admission(scan=ScanTable(max_age="5d"))
    assert admit(fresh, facts(new)).outcome == "pass"
    assert only(admit(fresh, facts(old))) == ("refuted", "2026-11-10T12:00+00:00, 10 days ago")


def test_a_scan_of_the_future_is_refused(facts, scan, now):
    verdict = admit(INERT, facts(scan(moment=now + DAY)))
    assert verdict.outcome == "fail"


# Who signed, what is attested


def test_signed_by_two_of_three_keys(facts, signers):
    ids = [signer.public.key_id for signer in signers]
    policy = Admission(signers=SignersTable(keys=tuple(ids), threshold=2))
    assert only(admit(policy, facts(signed=ids[:2])))[0] == "holds"
    assert only(admit(policy, facts(signed=ids)))[0] == "holds"
    status, detail = only(admit(policy, facts(signed=ids[:1])))
    assert status == "refuted"
    assert detail == f"signed by {ids[0][:16]}; missing 1 of {ids[1][:16]}, {ids[2][:16]}"
    status, detail = only(admit(policy, facts(signed=["00" * 32, "11" * 32])))
    assert status == "refuted"
    assert detail.startswith("signed by none of them; missing 2 of")


def test_one_key_that_signed_twice_is_one(facts, signers):
    ids = [signer.public.key_id for signer in signers]
    policy = Admission(signers=SignersTable(keys=tuple(ids), threshold=2))
    assert admit(policy, facts(signed=[ids[0], ids[0]])).outcome == "fail"


def test_only_the_roots_that_are_named(facts, root):
    assert admit(Admission(roots=(root,)), facts()).outcome == "pass"
    verdict = admit(Admission(roots=("sha256:" + "00" * 32,)), facts())
    assert only(verdict) == ("refuted", root)


@pytest.mark.parametrize("kind", ["evidence", "scan", "bom", "provenance", "release"])
def test_required_attestations(kind, facts, all_kinds, signer):
    policy = Admission(attestations=AttestationsTable(required=(kind,)))
    assert only(admit(policy, facts())) == ("unknown", "there is none")
    others = {name: content for name, content in all_kinds.items() if name not in {kind, "release"}}
    assert worst(admit(policy, facts(**others))).detail == "there is none"
    held = [r for r in admit(policy, facts(**all_kinds)).reasons if r.requirement == f"{kind} is attested"]
    assert [r.status for r in held] == ["holds"]
    assert held[0].detail == f"{kind}.json by {signer.public.key_id[:16]}"


def test_a_refused_attestation_is_named_where_one_is_missing(facts):
    policy = Admission(attestations=AttestationsTable(required=("bom",)))
    given = facts()
    stranger = Refused(file="bom.json", reason="no key that is known signed it", error="SignerMissing")
    given = msgspec.structs.replace(given, attestations=Attestations(refused=(stranger,)))
    status, detail = only(admit(policy, given))
    assert status == "unknown"
    assert detail == "there is none; bom.json was refused: no key that is known signed it"


@pytest.mark.parametrize("error", ["SealDamaged", "SignatureInvalid", "ContentChanged", "ProofInvalid"])
def test_a_forged_attestation_refuses_the_seal_that_bears_it(facts, evidence, error):
    given = facts(evidence())
    forged = tuple(Refused(file=f"{n}.json", reason="it is altered", error=error) for n in range(7))
    given = msgspec.structs.replace(
        given, attestations=msgspec.structs.replace(given.attestations, refused=forged)
    )
    verdict = admit(ROBUST, given)
    assert verdict.outcome == "fail"
    assert worst(verdict).requirement == "every attestation is sound"
    assert "0.json: it is altered" in worst(verdict).detail
    assert "(and 2 more)" in worst(verdict).detail


def test_an_attestation_by_a_stranger_does_no_harm(facts, evidence):
    given = facts(evidence())
    stranger = Refused(file="x.json", reason="no key that is known", error="SignerMissing")
    given = msgspec.structs.replace(
        given, attestations=msgspec.structs.replace(given.attestations, refused=(stranger,))
    )
    assert admit(ROBUST, given).outcome == "pass"


def test_only_attestations_by_the_named_keys_count(*, store, signers, root, now, evidence, bom):
    auditor, other = signers[0], signers[1]
    policy = Admission(
        attestations=AttestationsTable(required=("bom",), keys=(auditor.public.key_id,)),
        require=ROBUST.require,
    )
    found = store(evidence=evidence(), bom=bom, by=[other])
    given = Facts(root=root, signers=(), moment=now, attestations=found)
    verdict = admit(policy, given)
    assert verdict.outcome == "unknown"
    assert {reason.status for reason in verdict.reasons} == {"unknown"}
    assert "which does not count" in next(r.detail for r in verdict.reasons if "bom" in r.requirement)
    found = store(evidence=evidence(), bom=bom, by=[other, auditor])
    assert admit(policy, msgspec.structs.replace(given, attestations=found)).outcome == "pass"


def test_a_provenance_that_pins_nothing_is_not_enough(facts, provenance):
    from modelward.vault.attest.judging import _required_attestation

    policy = Admission(attestations=AttestationsTable(required=("provenance",)))
    given = facts(provenance)
    assert admit(policy, given).outcome == "pass"
    (held,) = given.attestations.held
    loose = msgspec.structs.replace(provenance, code=None, data=())
    bent = Attestations(held=(msgspec.structs.replace(held, content=loose),))
    reason = _required_attestation("provenance", bent, bent)
    assert (reason.status, reason.detail) == ("unknown", "it names neither code nor data by digest")


# The release policy


HERE = Admission(release=ReleaseTable(environment="production"))


def test_a_release_policy_is_respected_until_its_end(facts, release, now):
    assert admit(HERE, facts(release)).outcome == "pass"
    assert admit(HERE, facts(release, moment=now + 90 * DAY)).outcome == "pass"
    verdict = admit(HERE, facts(release, moment=now + 91 * DAY))
    assert verdict.outcome == "fail"
    assert worst(verdict).requirement.startswith("released until 2027-02-18")


def test_a_release_policy_binds_whoever_does_not_ask_for_it(facts, release, evidence, now):
    given = facts(release, evidence(created=now + 100 * DAY), moment=now + 100 * DAY)
    verdict = admit(ROBUST, given)
    assert verdict.outcome == "fail"
    assert any(reason.status == "unknown" and "nobody says" in reason.detail for reason in verdict.reasons)


def test_a_release_policy_begins(facts, now):
    early = Release(since=now + DAY)
    assert admit(HERE, facts(early)).outcome == "fail"
    assert admit(HERE, facts(early, moment=now + DAY)).outcome == "pass"


@pytest.mark.parametrize(
    ("environments", "here", "status"),
    [
        (("production",), "production", "holds"),
        (("staging", "production"), "production", "holds"),
        (("staging",), "production", "refuted"),
        (("production ",), "production", "refuted"),
        ((), "production", "holds"),
    ],
)
def test_a_release_policy_says_where(facts, now, environments, here, status):
    policy = Admission(release=ReleaseTable(environment=here))
    verdict = admit(policy, facts(Release(environments=environments, until=now + DAY)))
    assert next(r.status for r in verdict.reasons if "production" in r.detail + r.requirement) == status


def test_a_release_policy_that_is_asked_for_and_absent(facts):
    assert only(admit(HERE, facts())) == ("unknown", "no release policy is attested")


def test_all_release_policies_must_hold(facts, release, now):
    ended = Release(until=now - DAY)
    assert admit(HERE, facts(release, ended)).outcome == "fail"


@pytest.mark.parametrize(
    ("recipients", "outcome"),
    [(None, "pass"), ((), "fail"), (("licensee-1",), "pass"), (("licensee-2",), "fail")],
)
def test_a_release_policy_says_who_may_open(facts, release, recipients, outcome):
    assert admit(HERE, facts(release, recipients=recipients)).outcome == outcome


def test_whoever_opens_is_held_to_the_release_policy_alone(facts, now):
    limited = Release(recipients=("licensee-1",), until=now + DAY)
    assert release_verdict(facts()) is None
    assert release_verdict(facts(limited, recipients=["licensee-1"])).outcome == "pass"
    assert release_verdict(facts(limited, recipients=["licensee-2"])).outcome == "fail"
    late = release_verdict(facts(limited, recipients=["licensee-1"], moment=now + 2 * DAY))
    with pytest.raises(PolicyRefused, match="released until"):
        late.enforce()


# The whole


def test_an_empty_policy_admits_nothing(facts, all_kinds):
    with pytest.raises(PolicyInvalid, match="states no requirement"):
        admit(Admission(), facts(**all_kinds))
    with pytest.raises(PolicyInvalid, match="at-least above at-most"):
        admit(Admission(require=(Threshold(claim="auc", at_least=0.9, at_most=0.1),)), facts(**all_kinds))


@given(
    asked=st.fixed_dictionaries(
        {},
        optional={
            "roots": st.just(("sha256:" + "5e" * 32,)),
            "attestations": st.lists(
                st.sampled_from(["evidence", "scan", "bom", "provenance", "release"]), min_size=1
            ).map(lambda kinds: AttestationsTable(required=tuple(kinds))),
            "audit": st.builds(
                AuditTable, max_age=st.just("30d"), max_severity=st.sampled_from([None, "low", "medium"])
            ),
            "scan": st.just(ScanTable(verdict="inert")),
            "require": st.lists(
                st.builds(
                    Threshold, claim=st.sampled_from(["auc", "robust-accuracy"]), at_least=st.floats(0.1, 1)
                ),
                min_size=1,
                max_size=3,
            ).map(tuple),
        },
    ).filter(bool)
)
def test_without_attestations_no_policy_beyond_the_root_admits(asked, root, now):
    verdict = admit(Admission(**asked), Facts(root=root, signers=(), moment=now))
    assert (verdict.outcome == "pass") == (set(asked) == {"roots"})
    assert all(reason.detail for reason in verdict.reasons)
    assert str(verdict).startswith(verdict.outcome)


@given(keys=st.sets(st.integers(0, 5), min_size=1), signed=st.sets(st.integers(0, 5)), data=st.data())
def test_a_threshold_of_signers_counts_as_sets_do(*, keys, signed, data, root, now):
    threshold = data.draw(st.integers(1, len(keys)))
    names = [f"{n:064x}" for n in range(6)]
    table = SignersTable(keys=tuple(names[n] for n in sorted(keys)), threshold=threshold)
    given = Facts(root=root, signers=tuple(names[n] for n in signed), moment=now)
    admitted = admit(Admission(signers=table), given).outcome == "pass"
    assert admitted == (len(keys & signed) >= threshold)
