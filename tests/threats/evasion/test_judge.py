from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from modelward.core.canonical import canonical
from modelward.core.claim import Bracket
from modelward.core.evidence import to_json
from modelward.threats.evasion.findings import sign_test
from modelward.threats.evasion.judge import judge_robust_accuracy

GOVERN = Path(__file__).resolve().parents[4] / "shared" / "govern"


def rules(judged):
    return [finding.rule for finding in judged.findings]


def attack(room, check="gradient", broken=(), **options):
    options.setdefault("attacked", range(10))
    return room.evidence(check, broken=broken, **options)


def proof(room, certified=(), **options):
    return room.evidence("certified", bounded=range(10), certified=certified, **options)


def test_the_bracket_is_proof_below_and_attacks_above_point_by_point(room):
    evidence = [attack(room, broken=[0, 1]), attack(room, "query", broken=[1, 2]), proof(room, [5, 6, 7])]
    judged = judge_robust_accuracy(evidence)
    (claim,) = judged.claims
    assert claim.id == "robust-accuracy"
    assert claim.bracket == Bracket(0.3, 0.7)
    assert claim.value is None
    assert claim.interval is None
    assert claim.basis == "measured"
    assert claim.n == 10
    assert claim.scope == {name: evidence[0].parameters[name] for name in ("norm", "eps", "unit", "box")}
    assert claim.evidence == tuple(item.digest for item in evidence)
    assert (claim.cost.forward, claim.cost.backward, claim.cost.queries) == (9, 6, 15)
    assert "Linf change of at most 0.1 box width" in claim.statement
    assert "30.0%" in claim.statement
    assert "70.0%" in claim.statement
    assert claim.note == ""


def test_clean_mistakes_count_against_both_ends(room):
    evidence = [attack(room, broken=[2], correct=range(2, 10)), proof(room, [5], correct=range(2, 10))]
    assert judge_robust_accuracy(evidence).claims[0].bracket == Bracket(0.1, 0.7)


def test_ends_that_nobody_measured_are_null(room):
    attacked = judge_robust_accuracy([attack(room, broken=[0])]).claims[0]
    assert attacked.bracket == Bracket(None, 0.9)
    assert "no proof was attempted" in attacked.note
    proved = judge_robust_accuracy([proof(room, [1, 2])]).claims[0]
    assert proved.bracket == Bracket(0.2, None)
    assert proved.basis == "proved"
    assert "no attack ran" in proved.note


def test_a_proof_that_secured_nothing_is_zero_and_not_null(room):
    assert judge_robust_accuracy([attack(room), proof(room)]).claims[0].bracket == Bracket(0.0, 1.0)


def test_only_equal_scope_points_and_subjects_are_combined(room):
    evidence = [
        attack(room, broken=[0]),
        attack(room, "query", broken=[1], eps=0.2),
        attack(room, "query", broken=[2], norm="l2"),
        attack(room, "query", broken=[3], rows=range(11)),
        attack(room, "query", broken=[4], digests={"model": "sha256:other", "data": "sha256:d"}),
        attack(room, "query", broken=[5], parameters={"box": {"lower": -1.0, "upper": 1.0}}),
        proof(room, [7]),
    ]
    judged = judge_robust_accuracy(evidence)
    assert len(judged.claims) == 6
    assert judged.claims[0].bracket == Bracket(0.1, 0.9)
    assert all(len(claim.evidence) == 1 for claim in judged.claims[1:])


def test_a_contradiction_is_critical_and_withdraws_the_proofs(room):
    judged = judge_robust_accuracy([attack(room, broken=[3]), proof(room, [3, 4])])
    (claim,) = judged.claims
    assert claim.bracket == Bracket(None, 0.9)
    assert "1 points are both proved and broken" in claim.note
    assert "20.0% was withdrawn" in claim.note
    assert "no proof stands" in claim.statement
    finding = judged.findings[0]
    assert (finding.rule, finding.severity) == ("evasion.contradiction", "critical")
    assert "rows 3" in finding.message


@pytest.mark.parametrize(
    ("fallen", "severity"), [(0, None), (1, None), (2, "medium"), (5, "medium"), (6, "high")]
)
def test_fragility_is_graded_by_what_survives(room, fallen, severity):
    judged = judge_robust_accuracy([attack(room, broken=range(fallen))])
    found = [finding.severity for finding in judged.findings if finding.rule == "evasion.fragile"]
    assert found == ([severity] if severity else [])


def test_fragility_is_measured_on_the_points_that_were_right(room):
    judged = judge_robust_accuracy([attack(room, broken=[0, 1], correct=range(3))])
    (finding,) = judged.findings
    assert finding.severity == "high"
    assert "Of 3 points" in finding.message
    assert "n = 10" in finding.message
    assert finding.techniques == ("AML.T0015", "AML.T0043.000")


@pytest.mark.parametrize(
    ("check", "technique"),
    [("gradient", "AML.T0043.000"), ("trees", "AML.T0043.000"), ("query", "AML.T0043.001")],
)
def test_a_check_that_reads_the_model_is_a_white_box(room, check, technique):
    (finding,) = judge_robust_accuracy([attack(room, check, broken=range(5))]).findings
    assert finding.techniques == ("AML.T0015", technique)


def test_cut_evidence_keeps_both_ends_valid_and_says_so(room):
    evidence = [
        attack(room, broken=[0], attacked=range(4), cut="passes"),
        proof(room, [9], cut="seconds"),
    ]
    (claim,) = judge_robust_accuracy(evidence).claims
    assert claim.bracket == Bracket(0.1, 0.9)
    assert (
        "evasion.gradient was cut short (passes): n_attacked = 4 of 10 points, the others count as not broken by it"
        in claim.note
    )
    assert (
        "evasion.certified was cut short (seconds): n_bounded = 9 of 9 points that stand, the others count as "
        "not proved by it" in claim.note
    )


def test_an_attack_that_proves_in_passing_is_cut_as_an_attack(room):
    """Its cheap proofs end where they gain nothing, so what they left out says nothing of the budget."""
    both = {"bounded": [5, 6], "certified": [5], "proofs": {"interval": [5]}}
    (claim,) = judge_robust_accuracy(
        [attack(room, broken=[0], attacked=range(4), cut="passes", **both)]
    ).claims
    assert claim.bracket == Bracket(0.1, 0.9)
    assert "n_attacked = 4 of 10 points, the others count as not broken by it" in claim.note
    assert "n_bounded" not in claim.note
    assert "proved by interval: 1" in claim.note


def test_a_check_that_searches_both_ways_says_how_far_it_came_in_both(room):
    """What fell needs no proof, by whatever check it fell: it is not among the points left to bound."""
    tree = attack(
        room, "trees", broken=[0], attacked=range(6), cut="seconds",
        bounded=[1, 2, 3], certified=[2, 3], undecided=[1, 4, 5, 6, 7, 8, 9],
    )  # fmt: skip
    (claim,) = judge_robust_accuracy([tree, attack(room, "query", broken=[1, 9])]).claims
    assert claim.bracket == Bracket(0.2, 0.7)
    assert (
        "evasion.trees was cut short (seconds): n_attacked = 6 of 10 points and n_bounded = 2 of 7 points that "
        "stand, the others count as not broken and not proved by it" in claim.note
    )


def test_points_that_were_wrong_anyway_are_no_points_to_come_to(room):
    (claim,) = judge_robust_accuracy(
        [attack(room, broken=[2], attacked=range(2, 5), correct=range(2, 10), cut="queries")]
    ).claims
    assert "n_attacked = 3 of 8 points" in claim.note


def test_a_whole_check_says_nothing_of_how_far_it_came(room):
    both = {"bounded": [5], "certified": [5], "undecided": [6]}
    (claim,) = judge_robust_accuracy([attack(room, broken=[0], **both), proof(room, [7])]).claims
    assert "cut short" not in claim.note
    assert "n_" not in claim.note


def test_evidence_that_examined_nothing_is_shown_and_not_counted(room):
    nothing = room.evidence("query", rows=[], cut="queries")
    (alone,) = judge_robust_accuracy([nothing]).claims
    assert alone.bracket == Bracket(None, None)
    assert alone.n == 0
    assert "No point was examined" in alone.statement
    (joined,) = judge_robust_accuracy([nothing, attack(room, broken=[0])]).claims
    assert joined.bracket == Bracket(None, 0.9)
    assert "evasion.query was cut short (queries) before it examined a point" in joined.note
    assert len(joined.evidence) == 2


def test_a_model_that_answers_differently_when_asked_again_is_noted(room):
    evidence = [attack(room, correct=range(10)), proof(room, [0, 1], correct=range(1, 10))]
    (claim,) = judge_robust_accuracy(evidence).claims
    assert claim.bracket == Bracket(0.1, 0.9)
    assert "1 points were answered differently" in claim.note


def test_unguided_search_is_noted(room):
    item = attack(room, "query", parameters={"guidance": "none: the model tells its decision only"})
    assert "weak attack" in judge_robust_accuracy([item]).claims[0].note


def masked(room, white, black, **options):
    evidence = [
        attack(room, broken=white, rows=range(30), attacked=range(30), **options),
        attack(room, "query", broken=black, rows=range(30), attacked=options.pop("by_query", range(30))),
    ]
    return "evasion.masked-gradients" in rules(judge_robust_accuracy(evidence))


def test_masked_gradients_by_the_sign_test(room):
    assert not masked(room, [], [])
    assert not masked(room, [], range(4))  # 1/16
    assert masked(room, [], range(5))  # 1/32
    assert masked(room, range(10), range(15))
    assert not masked(room, [20], range(6))  # 8/128
    assert masked(room, [20], range(7))  # 9/256
    assert not masked(room, range(20), range(5))


def test_masked_gradients_need_a_search_over_the_same_changes(room):
    assert not masked(room, [], range(9), parameters={"space": "mixed"})


def test_a_gradient_attack_that_was_cut_short_accuses_nobody(room):
    evidence = [
        attack(room, attacked=range(30), rows=range(30), cut="passes"),
        attack(room, "query", broken=range(9), attacked=range(30), rows=range(30)),
    ]
    assert "evasion.masked-gradients" not in rules(judge_robust_accuracy(evidence))


def test_masked_gradients_are_counted_where_both_attacked(room):
    evidence = [
        attack(room, rows=range(30), attacked=range(4), cut="passes"),
        attack(room, "query", broken=range(9), rows=range(30), attacked=range(30)),
    ]
    assert "evasion.masked-gradients" not in rules(judge_robust_accuracy(evidence))


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_sign_test_agrees_with_scipy(more, less):
    if more + less == 0:
        assert sign_test(0, 0) == 1
        return
    expected = stats.binomtest(more, more + less, alternative="greater").pvalue
    assert sign_test(more, less) == pytest.approx(expected, rel=1e-9)
    assert sign_test(0, less) == pytest.approx(1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the fixture only builds values
@given(st.lists(st.sampled_from(range(10)), unique=True), st.lists(st.sampled_from(range(10)), unique=True))
def test_the_bracket_is_ordered_unless_contradicted(room, broken, certified):
    judged = judge_robust_accuracy([attack(room, broken=broken), proof(room, certified)])
    (claim,) = judged.claims
    clash = set(broken) & set(certified)
    assert (claim.bracket.lower is None) == bool(clash)
    assert ("evasion.contradiction" in rules(judged)) == bool(clash)
    assert claim.bracket.lower is None or claim.bracket.lower <= claim.bracket.upper
    canonical(to_json(claim))


def test_no_evidence_gives_no_claim():
    assert judge_robust_accuracy([]).claims == ()


def every_finding(room):
    evidence = [
        attack(room, rows=range(30), attacked=range(30), broken=[0]),
        attack(room, "query", broken=range(20), rows=range(30), attacked=range(30)),
        room.evidence("certified", rows=range(30), bounded=range(30), certified=[1]),
    ]
    return judge_robust_accuracy(evidence).findings


def test_every_rule_can_fire_and_carries_remedy_and_evidence(room):
    found = every_finding(room)
    assert sorted(f.rule for f in found) == [
        "evasion.contradiction",
        "evasion.fragile",
        "evasion.masked-gradients",
    ]
    assert all(finding.remedy and len(finding.evidence) == 3 for finding in found)


@pytest.mark.skipif(not GOVERN.is_dir(), reason="the official catalogues are not at hand")
def test_every_technique_and_control_is_in_the_official_catalogues(room):
    atlas = (GOVERN / "mitre-atlas" / "ATLAS.yaml").read_text()
    csf = (GOVERN / "nist-csf-2.0" / "csf-2.0.compact.json").read_text()
    cosai = "".join(
        (GOVERN / "cosai-risk-map" / "yaml" / f).read_text() for f in ("risks.yaml", "controls.yaml")
    )
    json.loads(csf)
    for finding in every_finding(room):
        assert all(f"id: {technique}\n" in atlas for technique in finding.techniques)
        for control in finding.controls:
            assert f'"{control}"' in csf or f"id: {control}\n" in cosai


def test_each_label_has_its_own_bracket_worst_first(room):
    labels = ["cat"] * 4 + ["dog"] * 6
    evidence = [attack(room, broken=[0, 1, 2, 4], labels=labels), proof(room, [3, 7, 8, 9], labels=labels)]
    (claim,) = judge_robust_accuracy(evidence).claims
    assert [(part.name, part.n, part.bracket) for part in claim.parts] == [
        ("cat", 4, Bracket(0.25, 0.25)),
        ("dog", 6, Bracket(0.5, 5 / 6)),
    ]


def test_one_label_alone_is_no_part(room):
    assert judge_robust_accuracy([attack(room, labels=["cat"] * 10)]).claims[0].parts == ()
    assert judge_robust_accuracy([attack(room)]).claims[0].parts == ()


def test_the_kinds_of_proof_are_told_and_no_point_counts_twice(room):
    first = proof(room, [1, 2, 3], proofs={"interval": [1, 2, 3]})
    second = proof(room, [3, 4], proofs={"branch and bound": [3, 4]})
    (claim,) = judge_robust_accuracy([first, second]).claims
    assert claim.bracket == Bracket(0.4, None)
    assert "proved by interval: 3, branch and bound: 1" in claim.note


def test_a_sweep_of_radii_is_one_finding_that_names_each(room):
    evidence = [attack(room, eps=eps, broken=range(count)) for eps, count in ((0.1, 1), (0.3, 8), (0.2, 3))]
    (finding,) = judge_robust_accuracy(evidence).findings
    assert finding.severity == "high"
    assert "3 (30.0%) have a witness: a Linf change of at most 0.2 box width" in finding.message
    assert "8 (80.0%) at 0.3" in finding.message
    assert "0.1 box" not in finding.message
    assert set(finding.evidence) == {item.digest for item in evidence[1:]}
