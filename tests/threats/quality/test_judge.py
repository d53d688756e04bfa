"""Judging recorded counts, without any model."""

import numpy as np
import pytest

from modelward.core.claim import Judgement
from modelward.numeric.calibration import calibration_interval, expected_calibration_error, reliability
from modelward.numeric.proportion import clopper_pearson
from modelward.numeric.roc import auc_interval
from modelward.threats.quality.judge import judge_accuracy, judge_auc, judge_calibration


@pytest.fixture
def counts(lab):
    """Evidence from rows and hits per class."""

    def make(truth, hits, *, cut=None, **outcome):
        names = [chr(97 + i) for i in range(len(truth))]
        recorded = {"classes": names, "truth": truth, "decided": truth, "hits": hits, **outcome}
        return lab.evidence("quality", recorded, n=sum(truth), cut=cut)

    return make


def judge_all(evidence):
    parts = [judge(evidence) for judge in (judge_accuracy, judge_auc, judge_calibration)]
    return Judgement(tuple(c for p in parts for c in p.claims), tuple(f for p in parts for f in p.findings))


def metric(judgement, name):
    return next(claim for claim in judgement.claims if claim.id == name)


class TestAccuracy:
    @pytest.mark.parametrize(
        ("truth", "hits"), [([50, 50], [50, 50]), ([1, 0], [0, 0]), ([3, 4, 5], [3, 0, 2])]
    )
    def test_share_and_interval(self, counts, truth, hits):
        item = counts(truth, hits)
        claim = metric(judge_all([item]), "accuracy")
        assert claim.value == sum(hits) / sum(truth)
        assert (claim.interval.lower, claim.interval.upper) == clopper_pearson(sum(hits), sum(truth), 0.95)
        assert claim.evidence == (item.digest,)
        assert claim.cost == item.cost

    def test_several_runs_are_judged_one_by_one(self, counts):
        items = [counts([50, 50], [40, 40]), counts([60, 60], [30, 30])]
        claims = judge_all(items).claims
        assert sorted(claim.value for claim in claims) == [0.5, 0.8]
        assert judge_all(items[::-1]) == judge_all(items)

    @pytest.mark.parametrize("cut", ["seconds", "queries", "interrupted"])
    def test_a_cut_is_said_in_the_note(self, counts, cut):
        claim = metric(judge_all([counts([50, 50], [40, 40], cut=cut)]), "accuracy")
        assert claim.note == f"Cut short by {cut}: a uniform sample of the rows."


class TestMajority:
    def rules(self, *items):
        return [(f.rule, f.severity, f.confidence) for f in judge_all(items).findings]

    def test_better_than_the_majority(self, counts):
        assert self.rules(counts([500, 500], [450, 450])) == []

    def test_equal_to_the_majority(self, counts):
        assert self.rules(counts([700, 300], [700, 0])) == [
            ("quality.no-better-than-majority", "high", "high")
        ]

    def test_too_few_rows_to_tell_is_said_with_less_confidence(self, counts):
        assert self.rules(counts([6, 4], [5, 3])) == [("quality.no-better-than-majority", "high", "medium")]

    def test_worse_than_the_majority_is_certain_even_on_few_rows(self, counts):
        assert self.rules(counts([70, 30], [20, 10])) == [("quality.no-better-than-majority", "high", "high")]

    def test_message_counts_the_rows_that_decide(self, counts):
        message = judge_all([counts([70, 30], [60, 12])]).findings[0].message
        assert "right 12 times and wrong 10 times (n = 100)" in message
        assert "'a'" in message

    def test_three_classes_compare_with_the_commonest(self, counts):
        assert self.rules(counts([300, 400, 300], [290, 390, 290])) == []
        assert len(self.rules(counts([300, 400, 300], [0, 400, 0]))) == 1


class TestAuc:
    @staticmethod
    def ranking(ups, downs, *, exact=True):
        return {"b": {"positives": ups, "negatives": downs, "exact": exact}}

    def test_pairs_by_hand(self, counts):
        # Positives at 1, 2, 2; negatives at 0, 1: pairs above 2 + 1, 2 + 1 ..., ties half: (1.5 + 2 + 2) / 6.
        item = counts([2, 3], [1, 2], ranking=self.ranking([0, 1, 2], [1, 1, 0]))
        claim = metric(judge_all([item]), "auc")
        assert claim.value == pytest.approx(5.5 / 6)
        expected = auc_interval([1, 2, 2], [0, 1], 0.95)
        assert (claim.interval.lower, claim.interval.upper) == pytest.approx(expected)

    def test_hidden_order_widens_the_interval_by_half_the_ties(self, counts):
        ups, downs = [20, 60, 80], [90, 60, 10]
        known = metric(judge_all([counts([160, 160], [150, 140], ranking=self.ranking(ups, downs))]), "auc")
        blurred = judge_all([counts([160, 160], [150, 140], ranking=self.ranking(ups, downs, exact=False))])
        wide = metric(blurred, "auc")
        blur = (20 * 90 + 60 * 60 + 80 * 10) / (2 * 160 * 160)
        assert wide.value == known.value
        assert known.interval.lower - wide.interval.lower == pytest.approx(blur)
        assert wide.interval.upper - known.interval.upper == pytest.approx(
            min(blur, 1 - known.interval.upper)
        )

    def test_without_both_kinds_there_is_no_auc(self, counts):
        item = counts([5, 0], [5, 0], ranking=self.ranking([0], [5]))
        assert [claim.id for claim in judge_all([item]).claims] == ["accuracy"]


class TestCalibration:
    def test_equals_the_direct_computation_on_rows(self, counts):
        rng = np.random.default_rng(0)
        stated = np.sort(rng.choice(np.linspace(0.5, 1, 40), 3000))
        correct = rng.random(3000) < stated - 0.05
        levels, group = np.unique(stated, return_inverse=True)
        recorded = {
            "rows": np.bincount(group).tolist(),
            "right": np.bincount(group, correct).astype(int).tolist(),
            "stated": levels.tolist(),
        }
        claim = metric(
            judge_all([counts([1500, 1500], [1200, 1200], calibration=recorded)]),
            "calibration-error",
        )
        table = reliability(stated, correct)
        assert claim.value == pytest.approx(expected_calibration_error(table))
        direct = calibration_interval(stated, correct, table, 0.95, seed=1)
        assert (claim.interval.lower, claim.interval.upper) == pytest.approx(direct, abs=3e-3)
