import numpy as np
import pytest

from modelward.core.budget import Budget
from modelward.core.check import Settings
from modelward.threats.bias import groups as groups_module
from modelward.threats.bias.groups import GroupsCheck
from modelward.threats.bias.judge import METRICS, judge_gap


def group(name, codes, *levels):
    return {"name": name, "codes": np.asarray(codes, np.int64), "levels": levels}


def planted(lab, counts, *, kind="probabilities"):
    """Rows with the given numbers of (group, label, answer); the input states the answer."""
    rows = np.array([key for key, count in counts.items() for _ in range(count)])
    data = lab.data(rows[:, [2]].astype(float), rows[:, 1], groups=[group("sex", rows[:, 0], "f", "m")])
    return lab.model(lambda x: lab.two(x[:, 0]), kind=kind), data


def claim_of(judgement, metric, extent="column"):
    return next(c for c in judgement.claims if c.scope["metric"] == metric and c.scope["extent"] == extent)


@pytest.fixture
def gap(lab):
    """Selection 0.3 for f and 0.7 for m; true-positive rate 0.5 and 1; false-positive rate 0.1 and 0.4."""
    return planted(
        lab,
        {
            (0, 1, 1): 250, (0, 1, 0): 250, (0, 0, 1): 50, (0, 0, 0): 450,
            (1, 1, 1): 500, (1, 1, 0): 0, (1, 0, 1): 200, (1, 0, 0): 300,
        },
    )  # fmt: skip


class TestKnownAnswers:
    def test_planted_gaps_are_measured_exactly(self, lab, gap):
        evidence = lab.run(GroupsCheck, lab.subjects(*gap))
        judgement = judge_gap(evidence)
        expected = {
            "demographic-parity": 0.4,
            "equal-opportunity": 0.5,
            "predictive-equality": 0.3,
            "equalised-odds": 0.5,
            "accuracy": 0.1,
        }
        assert {c.scope["metric"]: c.value for c in judgement.claims} == pytest.approx(expected)
        for claim in judgement.claims:
            assert claim.interval.lower < claim.value < claim.interval.upper
            assert claim.n == 2000
            assert claim.better == "lower"
        scope = claim_of(judgement, "equal-opportunity").scope
        assert scope["highest"] == "sex=m"
        assert scope["lowest"] == "sex=f"
        assert scope["columns"] == ["sex"]
        assert scope["positive"] == "1"

    def test_findings_follow_the_lower_end(self, lab, gap):
        judgement = judge_gap(lab.run(GroupsCheck, lab.subjects(*gap)))
        found = {f.title.removeprefix("Groups differ in "): f.severity for f in judgement.findings}
        assert found == {
            "demographic-parity": "high",
            "equal-opportunity": "high",
            "predictive-equality": "high",
        }
        finding = judgement.findings[0]
        assert finding.rule == "bias.gap"
        assert finding.location == "sex"
        assert "0.4" in finding.message

    def test_a_smaller_gap_is_medium(self, lab):
        model, data = planted(lab, {(0, 1, 1): 2500, (0, 1, 0): 2500, (1, 1, 1): 3250, (1, 1, 0): 1750})
        findings = judge_gap(lab.run(GroupsCheck, lab.subjects(model, data))).findings
        assert {f.severity for f in findings} == {"medium"}

    def test_equal_groups_give_no_finding(self, lab):
        rng = np.random.default_rng(0)
        n = 4000
        data = lab.data(
            rng.random((n, 1)), rng.integers(0, 2, n), groups=[group("sex", rng.integers(0, 2, n), "f", "m")]
        )
        judgement = judge_gap(lab.run(GroupsCheck, lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), data)))
        assert not judgement.findings
        assert all(claim.interval.lower < 0.03 for claim in judgement.claims)

    def test_a_gap_that_only_the_intersection_shows(self, lab):
        # Selection is 1/2 in every level of either column, 1 or 0 in their intersections.
        rng = np.random.default_rng(1)
        a, b = rng.integers(0, 2, 2000), rng.integers(0, 2, 2000)
        data = lab.data(
            (a ^ b)[:, None].astype(float),
            rng.integers(0, 2, 2000),
            groups=[group("a", a, "0", "1"), group("b", b, "0", "1")],
        )
        judgement = judge_gap(lab.run(GroupsCheck, lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), data)))
        largest = claim_of(judgement, "demographic-parity", "all intersections")
        assert largest.value == 1.0
        assert largest.scope["columns"] == ["a", "b"]
        assert set(largest.scope["highest"].split(", ")) in ({"a=0", "b=1"}, {"a=1", "b=0"})
        assert claim_of(judgement, "demographic-parity").value < 0.1


class TestEvidence:
    def test_is_the_contingency_table(self, lab, gap):
        item = lab.run(GroupsCheck, lab.subjects(*gap))[0]
        assert item.outcome["columns"] == [{"name": "sex", "levels": ["f", "m"]}]
        assert item.outcome["cells"] == {
            "levels": [[0], [1]],
            "counts": [[450, 50, 250, 250], [300, 200, 0, 500]],
        }

    def test_positive_class_is_the_second_label_whatever_the_models_order(self, lab):
        counts = {(0, 1, 1): 100, (1, 1, 0): 100, (0, 0, 0): 50, (1, 0, 0): 50}
        _, data = planted(lab, counts)
        flipped = lab.model(lambda x: lab.two(1 - x[:, 0]), classes=("1", "0"))
        item = lab.run(GroupsCheck, lab.subjects(flipped, data))[0]
        assert item.parameters["positive"] == "1"
        assert item.outcome["cells"]["counts"] == [[50, 0, 0, 100], [50, 0, 100, 0]]

    def test_more_than_two_classes_compare_accuracy_alone(self, lab):
        x = np.eye(3)[np.arange(300) % 3]
        data = lab.data(
            x, np.arange(300) % 3, labels=("a", "b", "c"), groups=[group("sex", np.arange(300) % 2, "f", "m")]
        )
        evidence = lab.run(GroupsCheck, lab.subjects(lab.model(lambda x: x, classes=("a", "b", "c")), data))
        judgement = judge_gap(evidence)
        assert evidence[0].parameters["positive"] is None
        assert [c.scope["metric"] for c in judgement.claims] == ["accuracy"]
        assert judgement.claims[0].value == 0.0
        assert "positive" not in judgement.claims[0].scope
        assert "only accuracy" in judgement.claims[0].note

    def test_a_million_rows_stay_small(self, lab):
        rng = np.random.default_rng(0)
        n = 200_000
        codes = [group(name, rng.integers(0, 4, n), *"wxyz") for name in "abc"]
        data = lab.data(rng.random((n, 1)), rng.integers(0, 2, n), groups=codes)
        item = lab.run(GroupsCheck, lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), data))[0]
        assert len(item.outcome["cells"]["counts"]) == 64
        assert np.sum(item.outcome["cells"]["counts"]) == n


class TestSmallGroups:
    def test_are_left_out_and_counted(self, lab):
        codes = [0] * 500 + [1] * 500 + [2] * 5
        answers = np.array([0.0, 1.0] * 500 + [1.0] * 5)  # the tiny group would have the largest gap
        data = lab.data(answers[:, None], answers.astype(int), groups=[group("race", codes, "a", "b", "c")])
        claim = claim_of(
            judge_gap(lab.run(GroupsCheck, lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), data))),
            "demographic-parity",
        )
        assert claim.value == 0.0
        assert claim.statement.endswith("Left out, with fewer than 30 rows for this metric: race=c.")

    def test_a_column_without_two_groups_to_compare_is_said_to_be_unknown(self, lab):
        answers = np.array([0.0, 1.0] * 300)
        lonely = group("origin", [0] * 590 + [1] * 10, "here", "there")
        data = lab.data(
            answers[:, None], answers.astype(int), groups=[group("sex", [0, 1] * 300, "f", "m"), lonely]
        )
        found = judge_gap(
            lab.run(GroupsCheck, lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), data))
        ).claims
        of_origin = [claim for claim in found if claim.scope["columns"] == ["origin"]]
        assert len(of_origin) == 5
        assert all(claim.value is None and "unknown" in claim.statement for claim in of_origin)

    def test_nothing_to_compare_is_unknown(self, lab):
        data = lab.data(np.zeros((40, 1)), [0, 1] * 20, groups=[group("sex", [0] * 35 + [1] * 5, "f", "m")])
        judgement = judge_gap(lab.run(GroupsCheck, lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), data)))
        assert [c.value for c in judgement.claims] == [None] * len(METRICS)
        assert all("unknown" in c.statement for c in judgement.claims)


class TestLimits:
    def test_cut_is_a_uniform_sample(self, lab, gap):
        found = lab.run(GroupsCheck, lab.subjects(*gap), budget=Budget(queries=500))
        assert found[0].cut == "queries"
        assert found[0].n == gap[0].asked == 500
        by_group = np.sum(found[0].outcome["cells"]["counts"], axis=1)
        assert abs(by_group[0] - 250) < 60

    def test_too_many_groups_are_declined(self, lab, monkeypatch):
        monkeypatch.setattr(groups_module, "GROUP_LIMIT", 10)
        codes = [group(name, np.arange(100) // step % 5, *"abcde") for name, step in (("one", 1), ("two", 5))]
        data = lab.data(np.zeros((100, 1)), [0, 1] * 50, groups=codes)
        reason = GroupsCheck(Settings()).declines(lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), data))
        assert "more than 10 groups" in reason

    def test_levels_beyond_counting_are_declined(self, lab):
        codes = [group(f"c{i}", np.arange(100), *map(str, range(1000))) for i in range(7)]
        data = lab.data(np.zeros((100, 1)), [0, 1] * 50, groups=codes)
        reason = GroupsCheck(Settings()).declines(lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), data))
        assert "name fewer columns" in reason

    def test_no_sensitive_column_is_declined(self, lab):
        data = lab.data(np.zeros((4, 1)), [0, 1, 0, 1])
        subjects = lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), data)
        assert GroupsCheck(Settings()).declines(subjects) == "no column is marked as sensitive"
