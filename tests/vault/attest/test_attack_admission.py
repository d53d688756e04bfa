"""Seals that say nothing false of any one file, and whose whole a policy's author would refuse."""

from datetime import timedelta

import msgspec
import pytest

from modelward.core.policy import Threshold
from modelward.errors import PolicyInvalid
from modelward.vault.attest.admission import Admission, AttestationsTable, AuditTable, ReleaseTable, ScanTable
from modelward.vault.attest.judging import admit, release_verdict
from modelward.vault.attest.predicates import Release, ScannedFile

ROBUST = Admission(require=(Threshold(claim="robust-accuracy", at_least=0.6),))
INERT = Admission(scan=ScanTable(verdict="inert"))


def beside(scan, path, kind, verdict="inert"):
    """A scan that found one more file."""
    other = ScannedFile(path=path, digest="sha256:" + "22" * 32, format=kind, verdict=verdict)
    return msgspec.structs.replace(scan, files=(*scan.files, other))


def unmet(verdict):
    return [(reason.requirement, reason.detail) for reason in verdict.reasons if reason.status != "holds"]


# A model that nobody audited, behind one that somebody did


@pytest.mark.parametrize(
    "policy",
    [
        ROBUST,
        Admission(audit=AuditTable(max_age="30d")),
        Admission(audit=AuditTable(max_severity="medium")),
        Admission(audit=AuditTable(required_checks=("quality",))),
        Admission(attestations=AttestationsTable(required=("evidence",))),
    ],
    ids=["claim", "age", "severity", "checks", "evidence"],
)
@pytest.mark.parametrize("kind", ["onnx", "torch-zip", "gguf", "safetensors", "xgboost-json"])
def test_a_model_that_nobody_audited_is_not_admitted_beside_one(facts, evidence, scan, policy, kind):
    both = beside(scan(), "weights/real.bin", kind)
    assert admit(policy, facts(evidence(), scan())).outcome == "pass"
    verdict = admit(policy, facts(evidence(), both))
    assert verdict.outcome == "unknown"
    assert unmet(verdict) == [("every model was audited", "not audited: weights/real.bin")]


@pytest.mark.parametrize(
    ("kind", "verdict"), [("hf-config", "inert"), ("chat-template", "inert"), ("csv", None), ("npz", None)]
)
def test_what_is_no_model_of_its_own_needs_no_audit(facts, evidence, scan, kind, verdict):
    assert admit(ROBUST, facts(evidence(), beside(scan(), "other", kind, verdict))).outcome == "pass"


def test_a_policy_may_name_what_needs_no_audit_by_its_whole_path(facts, evidence, scan):
    both = beside(scan(), "scaler.pkl", "pickle")
    named = msgspec.structs.replace(ROBUST, audit=AuditTable(unsafe_unaudited=("scaler.pkl",)))
    assert admit(named, facts(evidence(), both)).outcome == "pass"
    assert admit(named, facts(evidence(), beside(scan(), "x/scaler.pkl", "pickle"))).outcome == "unknown"


def test_where_no_audit_is_asked_for_none_is_missed(facts, evidence, scan):
    both = beside(scan(), "second.onnx", "onnx")
    assert admit(INERT, facts(both)).outcome == "pass"
    assert admit(INERT, facts(evidence(), both)).outcome == "pass"


def test_many_models_without_an_audit_are_counted(facts, evidence, scan):
    many = scan()
    for number in range(9):
        many = beside(many, f"{number}.onnx", "onnx")
    [(_, detail)] = unmet(admit(ROBUST, facts(evidence(), many)))
    assert detail.endswith("4.onnx and 4 more")


# An audit on data that whoever attests has chosen


def on(evidence, decision, *data):
    """Audit evidence that names data sets: name to digest and kind of identity."""
    usual = decision()["result"]["subjects"]
    sets = [
        {
            "kind": "dataset",
            "name": name,
            "digest": digest,
            "identity": identity,
            "format": "npz",
            "details": {},
        }
        for name, digest, identity in data
    ]
    return evidence(subjects=[*usual, *sets])


OURS, EASY = "sha256:" + "0a" * 32, "sha256:" + "0b" * 32


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ([("test", OURS, "digest")], "holds"),
        ([("test", OURS, "digest"), ("train", OURS, "digest")], "holds"),
        ([("test", EASY, "digest")], "refuted"),
        ([("test", OURS, "digest"), ("train", EASY, "digest")], "refuted"),
        ([("test", OURS, "asserted")], "refuted"),
        ([], "unknown"),
    ],
)
def test_an_audit_on_other_data_is_not_admitted(facts, evidence, decision, data, status):
    policy = Admission(audit=AuditTable(data=(OURS,)))
    verdict = admit(policy, facts(on(evidence, decision, *data)))
    assert [one.status for one in verdict.reasons if "data that is named" in one.requirement] == [status]
    assert (verdict.outcome == "pass") == (status == "holds")


def test_data_that_is_named_where_nothing_was_audited(facts, scan):
    verdict = admit(Admission(audit=AuditTable(data=(OURS,))), facts(scan()))
    assert unmet(verdict) == [("the audit used the data that is named", "no audit evidence is attested")]


@pytest.mark.parametrize("digest", ["", "0a" * 32, "sha256:0a", "blake3:" + "0a" * 32, OURS.upper()])
def test_what_is_no_digest_of_data_is_a_slip(facts, digest):
    with pytest.raises(PolicyInvalid, match="is no digest of data"):
        admit(Admission(audit=AuditTable(data=(digest,))), facts())


# Attestations that contradict each other, of what nobody can read without a key


def test_an_audit_of_other_bytes_than_were_scanned_is_refused(facts, evidence, scan):
    files = tuple(msgspec.structs.replace(file, digest="sha256:" + "77" * 32) for file in scan().files)
    verdict = admit(ROBUST, facts(evidence(), msgspec.structs.replace(scan(), files=files)))
    assert verdict.outcome == "fail"
    assert unmet(verdict) == [("what was scanned was audited", "model.onnx: not the same bytes")]


def test_an_audit_of_a_file_that_was_not_scanned_contradicts_nothing(facts, evidence, scan):
    files = tuple(file for file in scan().files if file.path != "model.onnx")
    assert admit(ROBUST, facts(evidence(), msgspec.structs.replace(scan(), files=files))).outcome == "pass"


# A share of very few samples, which a bracket knows exactly


@pytest.mark.parametrize(
    ("n", "min_n", "outcome"),
    [(1, None, "unknown"), (49, None, "unknown"), (50, None, "pass"), (1, 1, "pass"), (50, 51, "unknown")],
)
def test_a_bracket_of_few_samples_is_not_known(*, facts, evidence, claim, n, min_n, outcome):
    few = claim("robust-accuracy", {"norm": "linf", "eps": 0.1}, bracket={"lower": 1.0, "upper": 1.0}, n=n)
    policy = Admission(require=(Threshold(claim="robust-accuracy", at_least=0.6, min_n=min_n),))
    verdict = admit(policy, facts(evidence(claims=[few])))
    assert verdict.outcome == outcome
    assert ("fewer than" in verdict.reasons[0].detail) == (outcome != "pass")


def test_few_samples_refute_as_many_do(facts, evidence, claim):
    few = claim("robust-accuracy", {"norm": "linf", "eps": 0.1}, bracket={"lower": 0.0, "upper": 0.0}, n=1)
    assert admit(ROBUST, facts(evidence(claims=[few]))).outcome == "fail"


def test_an_interval_knows_how_few_its_samples_are(facts, evidence, claim):
    found = claim("accuracy", value=0.9, interval={"lower": 0.6, "upper": 0.99, "confidence": 0.95}, n=9)
    policy = Admission(require=(Threshold(claim="accuracy", at_least=0.5),))
    assert admit(policy, facts(evidence(claims=[found]))).outcome == "pass"


# Attestations of one moment that contradict each other


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")], ids=["worse first", "better first"])
def test_of_two_scans_at_once_the_better_does_not_win(facts, scan, names):
    stored = facts(**{names[0]: scan("dangerous"), names[1]: scan("inert")})
    assert admit(INERT, stored).outcome == "fail"


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")], ids=["worse first", "better first"])
def test_of_two_audits_at_once_the_better_does_not_win(facts, evidence, robust, names):
    worse, better = evidence(claims=[robust(0.1, 0.2)]), evidence(claims=[robust(0.8, 0.9)])
    assert admit(ROBUST, facts(**{names[0]: worse, names[1]: better})).outcome == "fail"


def test_a_newer_scan_and_a_newer_audit_still_count_alone(facts, evidence, robust, scan, now):
    later = now + timedelta(minutes=1)
    stored = facts(
        evidence(claims=[robust(0.1, 0.2)]),
        evidence(claims=[robust(0.8, 0.9)], created=later),
        scan("dangerous"),
        scan("inert", moment=later),
    )
    both = msgspec.structs.replace(ROBUST, scan=ScanTable(verdict="inert"))
    assert admit(both, stored).outcome == "pass"


def test_one_audit_that_is_attested_twice_is_one(facts, evidence):
    verdict = admit(ROBUST, facts(evidence(), evidence()))
    assert len([reason for reason in verdict.reasons if "robust-accuracy" in reason.requirement]) == 1


# A release to somebody, of what everybody can read


def test_what_is_not_encrypted_is_released_to_nobody_alone(facts, now):
    named = Release(recipients=("licensee-1",), until=now + timedelta(days=1))
    verdict = release_verdict(facts(named, recipients=()))
    assert unmet(verdict) == [("released to 1 recipients", "opened by everybody")]
    here = Admission(release=ReleaseTable(environment="production"))
    assert admit(here, facts(named, recipients=())).outcome == "fail"
    assert release_verdict(facts(named, recipients=["licensee-1"])).outcome == "pass"


def test_a_release_that_names_nobody_may_be_of_what_is_in_clear(facts, now):
    ending = Release(until=now + timedelta(days=1))
    assert release_verdict(facts(ending, recipients=())).outcome == "pass"
