import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.claim import Bracket, Claim, Interval
from modelward.core.evidence import Cost
from modelward.core.finding import SEVERITIES, Finding
from modelward.core.policy import BASELINE, Policy, Threshold, conclude, hold, judge_policy, validate
from modelward.errors import PolicyInvalid, PolicyRefused

IDS = ("accuracy", "robust-accuracy")


def claim(kind="robust-accuracy", scope=None, **content):
    return Claim(id=kind, statement="s", scope=scope or {}, n=10, cost=Cost(), evidence=("e",), **content)


def finding(severity):
    return Finding(
        rule=f"r.{severity}", severity=severity, confidence="high", title="t", message="m", remedy="r"
    )


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy(max_severity="critical"),
        Policy(require=(Threshold(claim="accuracy"),)),
        Policy(require=(Threshold(claim="unheard-of", at_least=1),)),
        Policy(require=(Threshold(claim="accuracy", at_least=0.5, at_most=0.4),)),
        Policy(require=(Threshold(claim="accuracy", at_least=-math.inf),)),
        Policy(require=(Threshold(claim="accuracy", at_most=math.inf),)),
        Policy(require=(Threshold(claim="accuracy", at_least=math.nan),)),
    ],
)
def test_a_policy_that_cannot_refuse_is_invalid(policy):
    with pytest.raises(PolicyInvalid):
        validate(policy, IDS)


def test_the_baseline_is_valid_and_not_satisfied_by_nothing():
    validate(BASELINE, IDS)
    verdict = judge_policy(BASELINE, [], [], [])
    assert verdict.outcome == "unknown"
    with pytest.raises(PolicyRefused, match="no check finished"):
        verdict.enforce()


def test_the_baseline_passes_when_everything_ran_and_nothing_bad_was_found():
    verdict = judge_policy(BASELINE, [examined(200)], [finding("medium")], BASIC)
    assert verdict.outcome == "pass"
    assert "n = 200" in " ".join(reason.detail for reason in verdict.reasons)
    verdict.enforce()


BASIC = ["quality", "evasion.query", "robustness.inputs"]


def examined(n):
    found = claim(scope={"norm": "linf", "eps": 0.1}, bracket=Bracket(0.0, 0.9))
    return msgspec.structs.replace(found, n=n)


@pytest.mark.parametrize(
    ("missed", "words"),
    [
        ({"evasion.gradient": "was left out by --checks"}, "evasion.gradient was left out"),
        ({"evasion.gradient": "was cut short (passes)"}, "cut short"),
    ],
)
def test_a_proof_alone_or_a_part_of_the_attacks_does_not_satisfy_the_baseline(missed, words):
    verdict = judge_policy(BASELINE, [examined(200)], [], BASIC, missed=missed)
    assert verdict.outcome == "unknown"
    assert words in verdict.reasons[0].detail


def test_one_point_is_no_evidence():
    verdict = judge_policy(BASELINE, [examined(1)], [], BASIC)
    assert verdict.outcome == "unknown"
    assert "n = 1" in verdict.reasons[0].detail
    assert "eps 0.1" in verdict.reasons[0].detail


def test_too_few_samples_do_not_soften_a_refutation():
    policy = Policy(require=(Threshold(claim="robust-accuracy", at_least=0.5, min_n=50),))
    broken = msgspec.structs.replace(examined(10), bracket=Bracket(0.0, 0.2))
    assert judge_policy(policy, [broken], [], []).outcome == "fail"


@pytest.mark.parametrize(
    "limits", [{"at_least": 90}, {"at_most": 10}, {"at_least": 0}, {"at_most": 1}, {"min_n": 0}]
)
def test_a_slip_of_percent_is_refused(limits):
    with pytest.raises(PolicyInvalid):
        validate(Policy(require=(Threshold(claim="accuracy", **limits),)), IDS)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_findings_above_the_limit_refute(severity):
    verdict = judge_policy(Policy(max_severity="medium"), [], [finding(severity)], ["quality"])
    assert verdict.outcome == ("fail" if severity in {"high", "critical"} else "pass")


def test_no_finding_is_no_answer_when_nobody_looked():
    policy = Policy(max_severity="medium")
    assert judge_policy(policy, [], [], []).outcome == "unknown"
    assert judge_policy(policy, [], [finding("high")], []).outcome == "fail"


def test_an_interrupted_run_never_passes():
    policy = Policy(max_severity="medium")
    assert judge_policy(policy, [], [], ["quality"]).outcome == "pass"
    verdict = judge_policy(policy, [], [], ["quality"], interrupted=True)
    assert verdict.outcome == "unknown"
    with pytest.raises(PolicyRefused, match="interrupted"):
        verdict.enforce()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"bracket": Bracket(0.6, 0.9)}, "holds"),
        ({"bracket": Bracket(0.5, 0.9)}, "holds"),
        ({"bracket": Bracket(0.2, 0.9)}, "unknown"),
        ({"bracket": Bracket(0.2, 0.4)}, "refuted"),
        ({"bracket": Bracket(None, 0.9)}, "unknown"),
        ({"bracket": Bracket(None, 0.4)}, "refuted"),
        ({"bracket": Bracket(None, None)}, "unknown"),
        ({"value": 0.7, "interval": Interval(0.6, 0.8, 0.95)}, "holds"),
        ({"value": 0.7, "interval": Interval(0.4, 0.8, 0.95)}, "unknown"),
        ({"value": 0.3, "interval": Interval(0.2, 0.4, 0.95)}, "refuted"),
        ({"value": 0.5}, "holds"),
        ({"value": 0.4}, "refuted"),
        ({"value": None}, "unknown"),
    ],
)
def test_at_least_one_half(content, status):
    policy = Policy(require=(Threshold(claim="robust-accuracy", at_least=0.5),))
    verdict = judge_policy(policy, [claim(**content)], [], [])
    assert verdict.claims[0].status == status
    assert verdict.outcome == {"holds": "pass", "refuted": "fail", "unknown": "unknown"}[status]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_at_most_is_the_mirror_of_at_least(a, b, limit):
    low, high = sorted((a, b))
    least = judge_policy(
        Policy(require=(Threshold(claim="x", at_least=limit),)),
        [claim("x", bracket=Bracket(low, high))],
        [],
        [],
    )
    mirrored = claim("x", bracket=Bracket(-high, -low))
    most = judge_policy(Policy(require=(Threshold(claim="x", at_most=-limit),)), [mirrored], [], [])
    assert least.outcome == most.outcome


def test_a_threshold_names_claims_by_scope():
    claims = [
        claim(scope={"norm": "linf"}, bracket=Bracket(0.9, 1.0)),
        claim(scope={"norm": "l2"}, bracket=Bracket(0, 0)),
    ]
    policy = Policy(require=(Threshold(claim="robust-accuracy", at_least=0.5, scope={"norm": "linf"}),))
    verdict = judge_policy(policy, claims, [], [])
    assert [c.status for c in verdict.claims] == ["holds", None]
    assert verdict.outcome == "pass"


def test_a_threshold_on_a_claim_that_was_not_made_is_unknown():
    verdict = judge_policy(Policy(require=(Threshold(claim="accuracy", at_least=0.5),)), [], [], [])
    assert verdict.outcome == "unknown"


def test_two_thresholds_on_one_claim_keep_the_worse_status():
    policy = Policy(require=(Threshold(claim="x", at_least=0.9), Threshold(claim="x", at_least=0.1)))
    verdict = judge_policy(policy, [claim("x", value=0.5)], [], [])
    assert verdict.claims[0].status == "refuted"
    assert [r.status for r in verdict.reasons] == ["refuted", "holds"]


def test_a_prefix_is_not_a_substring():
    policy = Policy(required_checks=("evasion",))
    assert judge_policy(policy, [], [], ["evasions.other"]).outcome == "unknown"
    assert judge_policy(policy, [], [], ["evasion.query"]).outcome == "pass"


def test_reasons_say_which_of_several_claims_they_mean():
    claims = [claim("group-gap", {"metric": "m", "columns": [name]}, value=0.5) for name in ("age", "sex")]
    policy = Policy(require=(Threshold(claim="group-gap", at_most=0.1, scope={"metric": "m"}),))
    verdict = judge_policy(policy, claims, [], [])
    assert [r.detail.split(":")[0] for r in verdict.reasons] == ["columns age", "columns sex"]
    assert {r.requirement for r in verdict.reasons} == {"group-gap (metric m) at most 0.1"}


shares = st.floats(0, 1)
claims_of_any_kind = st.builds(
    lambda low, high, value, kind: {
        "bracket": claim("x", bracket=Bracket(low, high)),
        "interval": claim("x", value=value, interval=Interval(low or 0.0, high or 1.0, 0.95)),
        "value": claim("x", value=value),
    }[kind],
    st.none() | shares,
    st.none() | shares,
    st.none() | shares,
    st.sampled_from(["bracket", "interval", "value"]),
)
ORDER = ["fail", "unknown", "pass"]


@given(st.lists(claims_of_any_kind, max_size=4), shares, shares)
def test_a_stricter_threshold_never_helps(claims, a, b):
    mild, strict = (
        judge_policy(Policy(require=(Threshold(claim="x", at_least=limit),)), claims, [], ["c"]).outcome
        for limit in sorted((a, b))
    )
    assert ORDER.index(strict) <= ORDER.index(mild)


@given(
    st.lists(st.sampled_from(SEVERITIES), max_size=4),
    st.sampled_from(SEVERITIES),
    st.sampled_from(SEVERITIES),
)
def test_one_more_finding_never_helps(found, more, limit):
    policy = Policy(max_severity=limit)
    before = judge_policy(policy, [], [finding(s) for s in found], ["c"]).outcome
    after = judge_policy(policy, [], [finding(s) for s in [*found, more]], ["c"]).outcome
    assert ORDER.index(after) <= ORDER.index(before)


@given(st.lists(claims_of_any_kind, max_size=4), shares, shares)
def test_the_verdict_is_the_worst_of_its_reasons_and_says_all(claims, least, most):
    policy = Policy(require=(Threshold(claim="x", at_least=least), Threshold(claim="x", at_most=most)))
    verdict = judge_policy(policy, claims, [], ["c"])
    words = {"refuted": "fail", "unknown": "unknown", "holds": "pass"}
    assert verdict.outcome == min((words[r.status] for r in verdict.reasons), key=ORDER.index)
    assert len(verdict.reasons) == 2 * max(1, len(claims))
    assert [msgspec.structs.replace(c, status=None) for c in verdict.claims] == claims


@given(
    shares,
    st.dictionaries(st.sampled_from(["norm", "eps", "unit"]), st.text(max_size=5) | shares, max_size=3),
)
def test_a_policy_survives_being_written_and_read(limit, scope):
    policy = Policy(
        name="p", max_severity="low", require=(Threshold(claim="x", at_least=limit, scope=scope),)
    )
    plain = msgspec.to_builtins(policy)
    assert set(plain) == {"name", "max-severity", "required-checks", "require"}
    assert msgspec.convert(plain, Policy) == policy
    with pytest.raises(msgspec.ValidationError, match="max_severity"):
        msgspec.convert({**plain, "max_severity": "low"}, Policy)


def test_a_claim_in_another_scope_is_named():
    made = claim(scope={"eps": 0.03137}, bracket=Bracket(0, 1))
    policy = Policy(require=(Threshold(claim="robust-accuracy", at_least=0.5, scope={"eps": 0.0314}),))
    verdict = judge_policy(policy, [made], [], [])
    assert verdict.reasons[0].detail == "no such claim was made, only eps 0.03137"
    assert str(verdict) == "unknown (policy stated): robust-accuracy (eps 0.0314) at least 0.5"


def test_a_claim_that_is_misspelt_is_guessed():
    with pytest.raises(PolicyInvalid, match="did you mean 'accuracy'"):
        validate(Policy(require=(Threshold(claim="acuracy", at_least=0.5),)), IDS)


def test_a_verdict_that_passes_says_so_in_one_word():
    assert str(judge_policy(Policy(max_severity="low"), [], [], ["quality"])) == "pass (policy stated)"


@pytest.mark.parametrize("kind", ["cost-inflation", "accounted-epsilon", "audited-epsilon"])
def test_a_claim_that_is_no_share_may_be_held_to_any_number(kind):
    policy = Policy(require=(Threshold(claim=kind, at_most=3),))
    validate(policy, [kind])
    for value, outcome in ((2.9, "pass"), (3.1, "fail")):
        assert judge_policy(policy, [claim(kind, value=value)], [], []).outcome == outcome
    with pytest.raises(PolicyInvalid, match="below 0"):
        validate(Policy(require=(Threshold(claim=kind, at_most=-1),)), [kind])
    with pytest.raises(PolicyInvalid, match="above at-most"):
        validate(Policy(require=(Threshold(claim=kind, at_least=3, at_most=2),)), [kind])


def test_thresholds_alone_give_reasons_and_the_claims_with_their_status():
    reasons, judged = hold(
        [Threshold(claim="accuracy", at_least=0.5)], [claim("accuracy", value=0.7), claim("auc", value=0.1)]
    )
    assert [reason.status for reason in reasons] == ["holds"]
    assert [one.status for one in judged] == ["holds", None]
    assert conclude("mine", reasons, judged).outcome == "pass"
    assert hold([], [claim("auc", value=0.1)]) == ([], (claim("auc", value=0.1),))
