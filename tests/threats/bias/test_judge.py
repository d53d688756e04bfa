"""Judging recorded contingency tables, without any model."""

import numpy as np
import pytest

from modelward.threats.bias.judge import judge_gap
from modelward.threats.bias.metrics import GroupOptions, group_gaps


@pytest.fixture
def counted(lab):
    """Evidence from columns {name: levels} and cells {levels: [no-no, no-yes, yes-no, yes-yes]}."""

    def make(columns, cells, *, positive="1", cut=None):
        outcome = {
            "columns": [{"name": name, "levels": levels} for name, levels in columns.items()],
            "cells": {"levels": [list(key) for key in cells], "counts": list(cells.values())},
        }
        parameters = {"depth": 3, "minimum": 30, "positive": positive}
        n = int(np.sum(list(cells.values())))
        return lab.evidence("bias.groups", outcome, n=n, parameters=parameters, cut=cut)

    return make


@pytest.fixture
def two_columns(counted):
    cells = {
        (0, 0): [300, 100, 50, 250],
        (0, 1): [300, 100, 100, 200],
        (1, 0): [200, 200, 100, 200],
        (1, 1): [350, 50, 150, 150],
    }
    return counted({"sex": ["f", "m"], "age": ["young", "old"]}, cells)


def of(judgement, metric, extent):
    return [c for c in judgement.claims if c.scope["metric"] == metric and c.scope["extent"] == extent]


class TestClaims:
    def test_single_columns_by_hand(self, two_columns):
        judgement = judge_gap([two_columns])
        sex, age = of(judgement, "demographic-parity", "column")
        # sex: 650 of 1400 against 600 of 1400; age: 750 of 1400 against 500 of 1400.
        assert sex.value == pytest.approx(50 / 1400)
        assert (sex.scope["highest"], sex.scope["lowest"]) == ("sex=f", "sex=m")
        assert age.value == pytest.approx(250 / 1400)
        assert (age.scope["highest"], age.scope["lowest"]) == ("age=young", "age=old")

    def test_largest_over_all_intersections(self, two_columns):
        largest = of(judge_gap([two_columns]), "demographic-parity", "all intersections")
        assert len(largest) == 1
        # f, young: 350 of 700; m, young: 400 of 700; m, old: 200 of 700.
        assert largest[0].value == pytest.approx(200 / 700)
        assert largest[0].scope["columns"] == ["sex", "age"]
        assert largest[0].scope["highest"] == "sex=m, age=young"
        assert largest[0].scope["lowest"] == "sex=m, age=old"

    def test_equals_the_metrics_on_the_rows_themselves(self, two_columns):
        cells = two_columns.outcome["cells"]
        rows = [
            (*levels, kind // 2, kind % 2)
            for levels, counts in zip(cells["levels"], cells["counts"], strict=True)
            for kind, count in enumerate(counts)
            for _ in range(count)
        ]
        rows = np.random.default_rng(0).permutation(np.array(rows))
        report = group_gaps([rows[:, 0], rows[:, 1]], [2, 2], rows[:, 2], rows[:, 3], GroupOptions(seed=1))
        direct = {
            (gap.metric, part.columns): gap for part in report for gap in part.gaps if len(part.columns) == 1
        }
        names = {"sex": 0, "age": 1}
        for claim in judge_gap([two_columns]).claims:
            if claim.scope["extent"] == "column":
                gap = direct[claim.scope["metric"], (names[claim.scope["columns"][0]],)]
                assert claim.value == pytest.approx(gap.value)
                assert claim.interval.lower == pytest.approx(gap.lower, abs=0.02)  # other seed
                assert claim.interval.upper == pytest.approx(gap.upper, abs=0.02)

    def test_interval_of_the_largest_covers_those_of_all(self, two_columns):
        judgement = judge_gap([two_columns])
        for metric in ("demographic-parity", "equal-opportunity", "accuracy"):
            largest = of(judgement, metric, "all intersections")[0]
            assert all(c.interval.lower <= largest.interval.lower for c in of(judgement, metric, "column"))
            assert all(c.interval.upper <= largest.interval.upper for c in of(judgement, metric, "column"))

    def test_one_column_needs_no_second_claim_of_the_same(self, counted):
        judgement = judge_gap(
            [counted({"sex": ["f", "m"]}, {(0,): [50, 50, 50, 50], (1,): [60, 40, 40, 60]})]
        )
        assert len(judgement.claims) == 5
        assert {claim.scope["extent"] for claim in judgement.claims} == {"column"}

    def test_three_classes_are_accuracy_alone(self, counted):
        item = counted({"sex": ["f", "m"]}, {(0,): [0, 0, 100, 100], (1,): [0, 0, 50, 150]}, positive=None)
        judgement = judge_gap([item])
        assert [c.scope["metric"] for c in judgement.claims] == ["accuracy"]
        assert judgement.claims[0].value == pytest.approx(0.25)

    def test_a_cut_is_said(self, counted):
        item = counted({"sex": ["f", "m"]}, {(0,): [50, 50, 50, 50], (1,): [60, 40, 40, 60]}, cut="queries")
        assert all("Cut short by queries" in claim.note for claim in judge_gap([item]).claims)


class TestFindings:
    @pytest.mark.parametrize(
        ("share", "severity"),
        [(0.50, None), (0.55, None), (0.65, "medium"), (0.68, "medium"), (0.80, "high")],
    )
    def test_severity_follows_the_lower_end(self, counted, share, severity):
        yes = int(10_000 * share)
        cells = {(0,): [0, 0, 5000, 5000], (1,): [0, 0, 10_000 - yes, yes]}
        found = [
            f for f in judge_gap([counted({"sex": ["f", "m"]}, cells)]).findings if "opportunity" in f.title
        ]
        assert [f.severity for f in found] == ([severity] if severity else [])

    def test_equalised_odds_is_not_reported_twice(self, counted):
        cells = {(0,): [900, 100, 100, 900], (1,): [100, 900, 900, 100]}
        titles = {f.title for f in judge_gap([counted({"sex": ["f", "m"]}, cells)]).findings}
        assert titles == {
            f"Groups differ in {m}" for m in ("equal-opportunity", "predictive-equality", "accuracy")
        }

    def test_names_the_columns_and_the_groups(self, counted):
        cells = {(0,): [900, 100, 100, 900], (1,): [1000, 0, 900, 100]}
        finding = judge_gap([counted({"sex": ["f", "m"]}, cells)]).findings[0]
        assert finding.location == "sex"
        assert "sex=f (highest)" in finding.message
        assert "sex=m (lowest)" in finding.message
        assert "n = 4000" in finding.message
