import numpy as np
import pytest

from modelward.core.budget import Budget
from modelward.core.check import Settings
from modelward.core.claim import Judgement
from modelward.errors import ModelNonFinite
from modelward.numeric.proportion import clopper_pearson
from modelward.numeric.roc import auc, auc_interval
from modelward.threats.quality.check import GROUPS, QualityCheck, neighbours
from modelward.threats.quality.judge import judge_accuracy, judge_auc, judge_calibration


def judge_all(evidence):
    parts = [judge(evidence) for judge in (judge_accuracy, judge_auc, judge_calibration)]
    return Judgement(tuple(c for p in parts for c in p.claims), tuple(f for p in parts for f in p.findings))


def metric(judgement, name):
    return next((claim for claim in judgement.claims if claim.id == name), None)


def judged(lab, model, data, **options):
    found = lab.run(QualityCheck, lab.subjects(model, data), **options)
    return found, judge_all(found)


@pytest.fixture
def noisy():
    """Scores with known label noise: the label is drawn from the stated probability."""
    rng = np.random.default_rng(1)
    p = rng.random(4000)
    return p[:, None], (rng.random(4000) < p).astype(int), p


class TestAccuracy:
    def test_counts_and_exact_interval(self, lab):
        x = np.arange(10.0)[:, None]
        model = lab.model(lambda x: lab.two(np.where(x[:, 0] < 7, 0.0, 1.0)))
        y = (np.arange(10) >= 6).astype(int)  # row 6 alone is wrong
        found, judgement = judged(lab, model, lab.data(x, y))
        claim = metric(judgement, "accuracy")
        assert claim.value == 0.9
        assert (claim.interval.lower, claim.interval.upper) == clopper_pearson(9, 10, 0.95)
        assert claim.n == found[0].n == 10
        assert found[0].outcome["truth"] == [6, 4]
        assert found[0].outcome["hits"] == [6, 3]
        assert found[0].outcome["decided"] == [7, 3]
        assert found[0].cost.queries == model.asked == 10

    def test_confidence_of_the_settings_is_used(self, lab):
        x, y = np.arange(10.0)[:, None], np.zeros(10)
        model = lab.model(lambda x: lab.two(np.zeros(len(x))))
        found = lab.run(QualityCheck, lab.subjects(model, lab.data(x, y)), settings=Settings(confidence=0.8))
        assert metric(judge_all(found), "accuracy").interval.confidence == 0.8

    def test_labels_are_matched_by_name_not_by_position(self, lab):
        x = np.array([[0.0], [1.0]] * 50)
        model = lab.model(lambda x: lab.two(x[:, 0]), classes=("yes", "no"))
        data = lab.data(x, [1, 0] * 50, labels=("no", "yes"))  # x = 0 is "yes", the model's first column
        assert metric(judged(lab, model, data)[1], "accuracy").value == 1.0

    def test_ties_are_decided_for_the_first_column(self, lab):
        data = lab.data(np.zeros((20, 1)), [0] * 15 + [1] * 5)
        model = lab.model(lambda x: lab.two(np.full(len(x), 0.5)))
        assert metric(judged(lab, model, data)[1], "accuracy").value == 0.75

    def test_a_single_class_is_noted_and_no_majority_finding_fires(self, lab):
        data = lab.data(np.zeros((20, 1)), [0] * 20)
        judgement = judged(lab, lab.model(lambda x: lab.two(np.zeros(len(x)))), data)[1]
        assert "same label" in metric(judgement, "accuracy").note
        assert metric(judgement, "auc") is None
        assert not judgement.findings


class TestAuc:
    def test_equals_the_direct_computation(self, lab, noisy):
        x, y, p = noisy
        claim = metric(judged(lab, lab.model(lambda x: lab.two(x[:, 0])), lab.data(x, y))[1], "auc")
        direct = auc(p[y == 1], p[y == 0])
        lower, upper = auc_interval(p[y == 1], p[y == 0], 0.95)
        assert claim.value == pytest.approx(direct, abs=5e-4)
        assert claim.interval.lower <= lower + 1e-4  # widened by what grouping may hide
        assert claim.interval.upper >= upper - 1e-4
        assert claim.interval.upper - claim.interval.lower < upper - lower + 3e-3
        assert claim.scope == {"positive": "1"}

    def test_few_distinct_scores_are_exact(self, lab):
        rng = np.random.default_rng(0)
        p, y = rng.integers(0, 20, 500) / 20, rng.integers(0, 2, 500)
        claim = metric(judged(lab, lab.model(lambda x: lab.two(x[:, 0])), lab.data(p[:, None], y))[1], "auc")
        assert claim.value == pytest.approx(auc(p[y == 1], p[y == 0]), abs=1e-12)
        expected = auc_interval(p[y == 1], p[y == 0], 0.95)
        assert (claim.interval.lower, claim.interval.upper) == pytest.approx(expected)

    def test_large_logits_keep_their_order(self, lab):
        # The softmax of all of these is exactly 1.0, the logits still tell them apart.
        x = np.arange(100.0, 200.0)[:, None]
        y = (x[:, 0] >= 150).astype(int)
        model = lab.model(lambda x: np.column_stack([0 * x[:, 0], x[:, 0]]), kind="logits")
        assert metric(judged(lab, model, lab.data(x, y))[1], "auc").value == 1.0

    def test_macro_average_of_three_classes(self, lab):
        rng = np.random.default_rng(2)
        scores = rng.random((600, 3))
        y = rng.integers(0, 3, 600)
        scores[np.arange(600), y] += 0.3
        scores /= scores.sum(1, keepdims=True)
        model = lab.model(lambda x: x, classes=("a", "b", "c"))
        claim = metric(judged(lab, model, lab.data(scores, y, labels=("a", "b", "c")))[1], "auc")
        direct = np.mean([auc(scores[y == c, c], scores[y != c, c]) for c in range(3)])
        assert claim.value == pytest.approx(direct, abs=1e-3)
        assert claim.interval.lower < direct < claim.interval.upper
        assert claim.scope["average"] == "macro one-vs-rest"

    def test_absent_class_is_left_out_and_said(self, lab):
        scores = np.eye(3)[[0, 1] * 10] * 0.8 + 0.1
        data = lab.data(scores, [0, 1] * 10, labels=("a", "b"))
        claim = metric(
            judged(lab, lab.model(lambda x: x / x.sum(1, keepdims=True), classes=("a", "b", "c")), data)[1],
            "auc",
        )
        assert claim.value == 1.0
        assert "Classes without rows, left out: 1." in claim.note


class TestCalibration:
    def test_a_calibrated_model_is_not_accused(self, lab, noisy):
        x, y, _ = noisy
        judgement = judged(lab, lab.model(lambda x: lab.two(x[:, 0])), lab.data(x, y))[1]
        claim = metric(judgement, "calibration-error")
        assert claim.better == "lower"
        assert claim.value < 0.05
        assert claim.interval.lower < 0.01
        assert [f.rule for f in judgement.findings] == []

    def test_known_error_by_construction(self, lab):
        # Always says 0.9 and is right in 60 %: the error is 0.3 exactly.
        y = np.array([1] * 600 + [0] * 400)
        data = lab.data(np.arange(1000.0)[:, None], y)
        judgement = judged(lab, lab.model(lambda x: lab.two(np.full(len(x), 0.9))), data)[1]
        claim = metric(judgement, "calibration-error")
        assert claim.value == pytest.approx(0.3)
        assert claim.interval.lower < 0.3 < claim.interval.upper
        finding = next(f for f in judgement.findings if f.rule == "quality.miscalibrated")
        assert finding.severity == "medium"
        assert "0.3" in finding.message

    @pytest.mark.parametrize(("stated", "severity"), [(0.70, "low"), (0.62, None)])
    def test_severity_follows_the_lower_end(self, lab, stated, severity):
        y = np.array([1] * 6000 + [0] * 4000)
        data = lab.data(np.arange(10_000.0)[:, None], y)
        findings = judged(lab, lab.model(lambda x: lab.two(np.full(len(x), stated))), data)[1].findings
        found = [f.severity for f in findings if f.rule == "quality.miscalibrated"]
        assert found == ([severity] if severity else [])

    def test_labels_alone_state_no_confidence(self, lab):
        model = lab.model(lambda x: np.eye(2)[(x[:, 0] > 0).astype(int)], kind="labels")
        judgement = judged(lab, model, lab.data(np.array([[-1.0], [1.0]] * 20), [0, 1] * 20))[1]
        assert [claim.id for claim in judgement.claims] == ["accuracy"]


class TestMajority:
    def test_constant_answer_is_found_out(self, lab):
        data = lab.data(np.zeros((1000, 1)), [0] * 900 + [1] * 100)
        judgement = judged(lab, lab.model(lambda x: lab.two(np.full(len(x), 0.1))), data)[1]
        finding = next(f for f in judgement.findings if f.rule == "quality.no-better-than-majority")
        assert finding.severity == "high"
        assert "0.9" in finding.message
        assert finding.evidence == judgement.claims[0].evidence

    def test_small_but_paired_gain_on_rare_class_is_no_finding(self, lab):
        # Accuracy 0.9925 against 0.99: inside the accuracy interval, yet 25 wins without a loss.
        y = np.array([0] * 9900 + [1] * 100)
        x = np.arange(10_000.0)[:, None]
        model = lab.model(lambda x: lab.two(np.where(x[:, 0] >= 9975, 0.99, 0.01)))
        judgement = judged(lab, model, lab.data(x, y))[1]
        assert metric(judgement, "accuracy").interval.lower <= 0.9911
        assert not [f for f in judgement.findings if f.rule == "quality.no-better-than-majority"]

    def test_bad_threshold_with_good_ranking_is_medium(self, lab):
        y = np.array([0] * 950 + [1] * 50)
        x = (y * 0.2 + 0.1)[:, None]  # ranks perfectly, never says 1
        judgement = judged(lab, lab.model(lambda x: lab.two(x[:, 0])), lab.data(x, y))[1]
        finding = next(f for f in judgement.findings if f.rule == "quality.no-better-than-majority")
        assert finding.severity == "medium"
        assert "threshold" in finding.message


class TestLimits:
    def test_budget_cuts_to_a_uniform_sample(self, lab):
        x = np.arange(10_000.0)[:, None]
        y = (x[:, 0] >= 5000).astype(int)  # sorted by label: a prefix would hold one class
        model = lab.model(lambda x: lab.two((x[:, 0] >= 5000) * 1.0))
        found, judgement = judged(lab, model, lab.data(x, y), budget=Budget(queries=1000))
        assert model.asked == found[0].n == found[0].cost.queries == 1000
        assert found[0].cut == "queries"
        assert abs(found[0].outcome["truth"][0] - 500) < 100
        assert "Cut short" in judgement.claims[0].note

    def test_nan_on_unmodified_rows_is_refused(self, lab):
        model = lab.model(lambda x: lab.two(np.where(x[:, 0] == 3, np.nan, 0.5)))
        with pytest.raises(ModelNonFinite, match="1 of 10 unmodified rows"):
            lab.run(QualityCheck, lab.subjects(model, lab.data(np.arange(10.0)[:, None], [0] * 10)))

    def test_unknown_label_is_declined_by_name(self, lab):
        data = lab.data(np.zeros((3, 1)), [0, 1, 2], labels=("0", "1", "maybe"))
        subjects = lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), data)
        assert "'maybe'" in QualityCheck(Settings()).declines(subjects)

    def test_evidence_stays_small(self, lab):
        rng = np.random.default_rng(0)
        x = rng.random((50_000, 1))
        found = lab.run(
            QualityCheck,
            lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), lab.data(x, rng.integers(0, 2, 50_000))),
        )
        ranking = found[0].outcome["ranking"]["1"]
        assert len(ranking["positives"]) <= GROUPS
        assert sum(ranking["positives"]) + sum(ranking["negatives"]) == 50_000


class TestNeighbours:
    @pytest.mark.parametrize("limit", [1, 2, 7, 100])
    def test_groups_ascend_share_ties_and_respect_the_limit(self, limit):
        rng = np.random.default_rng(3)
        values = np.concatenate([rng.normal(size=300), np.zeros(200)])
        group = neighbours(values, limit)
        order = np.argsort(values, kind="stable")
        assert np.all(np.diff(group[order]) >= 0)
        assert len(set(group[values == 0])) == 1
        assert len(np.unique(group)) <= limit
        assert group.min() >= 0
