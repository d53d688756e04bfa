"""What the walk means for a policy: the claim and the finding."""

import pickle

import pytest

from modelward.artifact.check import PickleCheck
from modelward.artifact.judge import judge_load
from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.core.subject import Subject

EVIL = b"cos\nsystem\n(Vid\ntR."
UNKNOWN = b"\x80\x04cmypkg.model\nNet\n)\x81."


class Nowhere:
    def put(self, arrays):
        raise AssertionError


def judged(folder, content):
    path = folder / "model.pkl"
    path.write_bytes(content)
    subject = Subject(kind="artifact", name="model.pkl", digest="sha256:" + "1" * 64)
    subjects = Subjects(artifact=(path, subject), attachments=Nowhere())
    check = PickleCheck(Settings())
    assert check.declines(subjects) is None
    return list(check.run(subjects, budget=Meter(), seed=3))


@pytest.mark.parametrize(
    ("content", "bracket", "basis", "rule"),
    [
        (pickle.dumps({"a": [1, 2.5, "x"]}), (1.0, 1.0), "proved", None),
        (EVIL, (0.0, 0.0), "measured", "artifact.pickle.dangerous"),
        (UNKNOWN, (0.0, 1.0), "measured", "artifact.pickle.unproven"),
    ],
)
def test_verdicts_become_brackets(tmp_path, content, bracket, basis, rule):
    (evidence,) = judged(tmp_path, content)
    judgement = judge_load([evidence])
    (claim,) = judgement.claims
    assert (claim.bracket.lower, claim.bracket.upper) == bracket
    assert claim.basis == basis
    assert claim.evidence == (evidence.digest,)
    assert [finding.rule for finding in judgement.findings] == ([rule] if rule else [])


def test_the_finding_shows_the_call_and_where_it_is(tmp_path):
    (finding,) = judge_load(judged(tmp_path, EVIL)).findings
    assert "os.system('id')" in finding.message
    assert finding.location.startswith("byte ")
    assert finding.severity == "critical"


def test_many_problems_are_one_finding(tmp_path):
    many = b"".join(b"cmypkg.m%d\nC\n0" % i for i in range(9)) + b"N."
    (finding,) = judge_load(judged(tmp_path, many)).findings
    assert finding.severity == "high"
    assert "more)" in finding.message


def test_what_holds_no_pickle_is_declined(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    subject = Subject(kind="artifact", name="t.csv", digest="sha256:" + "1" * 64)
    reason = PickleCheck(Settings()).declines(Subjects(artifact=(path, subject), attachments=Nowhere()))
    assert "csv" in reason
    assert "live object" in PickleCheck(Settings()).declines(Subjects(attachments=Nowhere()))


def test_no_time_no_walk(tmp_path):
    path = tmp_path / "m.pkl"
    path.write_bytes(EVIL)
    subject = Subject(kind="artifact", name="m", digest="sha256:" + "1" * 64)
    times = iter([0.0, 5.0, 5.0, 5.0])
    meter = Meter(Budget(seconds=1), clock=lambda: next(times))
    assert (
        list(
            PickleCheck(Settings()).run(
                Subjects(artifact=(path, subject), attachments=Nowhere()), budget=meter, seed=0
            )
        )
        == []
    )
    assert meter.cut == "seconds"


def test_evidence_of_other_checks_is_left_alone():
    assert judge_load([]).claims == ()
