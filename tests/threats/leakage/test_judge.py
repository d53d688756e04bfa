"""Judging recorded rankings, without any model."""

import pytest

from modelward.numeric.roc import auc_interval
from modelward.threats.leakage.judge import judge_auc, judge_tpr


@pytest.fixture
def ranked(lab):
    """Evidence from runs of [members, others], lowest score first."""

    def make(runs, *, shared=0, rows=1000, signal="true-label log-odds", cut=None):
        members, others = sum(run[0] for run in runs), sum(run[1] for run in runs)
        outcome = {
            "members": members,
            "others": others,
            "shared": {"train": shared, "train rows": rows, "data": shared, "data rows": rows},
            "runs": runs,
        }
        parameters = {"limit": 10_000, "signal": signal}
        return lab.evidence("leakage.membership", outcome, n=members + others, parameters=parameters, cut=cut)

    return make


def rules(judgement):
    return [(f.rule, f.severity) for f in judgement.findings]


class TestAuc:
    def test_pairs_by_hand(self, ranked):
        # Members at 1 and 2, others at 0, 1, 3: pairs (1, 0.5, 0) and (1, 1, 0): 3.5 of 6.
        claim = judge_auc([ranked([[0, 1], [1, 1], [1, 0], [0, 1]])]).claims[0]
        assert claim.value == pytest.approx(3.5 / 6)
        assert (claim.interval.lower, claim.interval.upper) == auc_interval([1, 2], [0, 1, 3], 0.95)

    @pytest.mark.parametrize(
        ("top", "expected"),
        [(0, []), (200, []), (320, ["medium"]), (480, ["medium"]), (600, ["high"]), (1000, ["high"])],
    )
    def test_severity_follows_the_lower_end(self, ranked, top, expected):
        # `top` of 1000 members above all others, the rest level with them: AUC = 1/2 + top / 2000.
        judgement = judge_auc([ranked([[1000 - top, 1000], [top, 0]])])
        assert judgement.claims[0].value == pytest.approx(0.5 + top / 2000)
        assert [severity for _, severity in rules(judgement)] == expected

    def test_worse_than_chance_is_no_finding(self, ranked):
        judgement = judge_auc([ranked([[1000, 0], [0, 1000]])])
        assert judgement.claims[0].value == 0.0
        assert not judgement.findings

    @pytest.mark.parametrize(
        ("shared", "severity"), [(1, "low"), (50, "low"), (51, "medium"), (900, "medium")]
    )
    def test_overlap(self, ranked, shared, severity):
        judgement = judge_auc([ranked([[100, 100]], shared=shared)])
        assert rules(judgement) == [("leakage.overlap", severity)]
        assert f"{shared} of 1000" in judgement.findings[0].message
        assert f"{shared} rows that occur in both sets are left out" in judgement.claims[0].note

    def test_notes(self, ranked):
        note = judge_auc([ranked([[100, 50]], signal="correctness", cut="seconds")]).claims[0].note
        assert "100 training rows and 50 others were compared." in note
        assert "only labels" in note
        assert "Cut short by seconds" in note


class TestTpr:
    def test_counts_members_above_the_threshold(self, ranked):
        # 1 % of 2000 others may lie above: 20. Of the members 300 lie above the 20th highest other.
        runs = [[1700, 1980], [100, 0], [0, 20], [200, 0]]
        one, tenth = judge_tpr([ranked(runs)]).claims
        assert one.value == pytest.approx(300 / 2000)
        assert one.interval.lower < one.value < one.interval.upper
        # 0.1 %: 2 of the others. The 20 share one score, so none of them may pass.
        assert tenth.value == pytest.approx(200 / 2000)

    @pytest.mark.parametrize(
        ("others", "known"), [(99, (0, 0)), (100, (1, 0)), (999, (1, 0)), (1000, (1, 1))]
    )
    def test_unknown_where_the_rate_cannot_be_shown(self, ranked, others, known):
        claims = judge_tpr([ranked([[500, others]])]).claims
        assert tuple(int(claim.value is not None) for claim in claims) == known
        assert all((claim.interval is None) == (claim.value is None) for claim in claims)

    @pytest.mark.parametrize(("top", "expected"), [(50, []), (900, ["medium"]), (2000, ["high"])])
    def test_severity(self, ranked, top, expected):
        # `top` of 5000 members stand above all of 10000 others: 1 %, 18 % and 40 %.
        judgement = judge_tpr([ranked([[5000 - top, 10_000], [top, 0]])])
        assert [severity for _, severity in rules(judgement)] == expected
        if expected:
            assert "while 0.001 of the others" in judgement.findings[0].message
