"""Judging recorded counts, without any model."""

import numpy as np
import pytest

from modelward.threats.opacity.judge import importance, judge_shortcut


@pytest.fixture
def counted(lab):
    """Evidence of two features with five permutations; 100 rows, 50 of them of the majority."""

    def make(majority, minority, *, kept=None, sensitive=False, cut=None):
        repeats = len(majority[0]) - 1
        table = kept or [[10, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 90]]
        features = [
            {
                "name": name,
                "sensitive": sensitive,
                "repeats": 5,
                "kept": table,
                "alone": 1,
                "alone repeats": 1,
            }
            for name in ("a", "b")
        ]
        right = sum(majority[1]) + sum(minority[1])
        outcome = {
            "features": features,
            "of": 2,
            "right": right,
            "majority": int(np.sum(majority)),
            "strongest": {
                "name": "a",
                "sensitive": sensitive,
                "repeats": repeats,
                "majority": majority,
                "minority": minority,
            },
        }
        n = int(np.sum(majority) + np.sum(minority))
        return lab.evidence("opacity.importance", outcome, n=n, parameters={"repeats": 5}, cut=cut)

    return make


class TestShortcut:
    @pytest.mark.parametrize(("lost", "severity"), [(0, "high"), (50, "high"), (150, "medium"), (400, None)])
    def test_severity_follows_the_lower_end(self, counted, lost, severity):
        # 1000 rows of each class, all right as a whole; alone, `lost` of the minority are wrong.
        item = counted([[0, 0], [0, 1000]], [[0, 0], [lost, 1000 - lost]])
        judgement = judge_shortcut([item])
        assert judgement.claims[0].value == pytest.approx(1 - lost / 1000)
        assert [f.severity for f in judgement.findings] == ([severity] if severity else [])

    def test_below_the_majority_is_zero_and_not_negative(self, counted):
        claim = judge_shortcut([counted([[0, 0], [40, 10]], [[0, 0], [50, 0]])]).claims[0]
        assert (claim.value, claim.interval.lower, claim.interval.upper) == (0.0, 0.0, 0.0)
        assert (
            claim.statement
            == "Nothing survives on a alone: the model then does worse than the majority class."
        )

    def test_better_alone_than_as_a_whole_is_one(self, counted):
        claim = judge_shortcut([counted([[0, 0], [0, 500]], [[0, 100], [0, 400]])]).claims[0]
        assert claim.value == 1.0
        assert claim.interval.upper == 1.0

    def test_accuracy_near_the_majority_is_unknown(self, counted):
        claim = judge_shortcut([counted([[2, 0], [0, 48]], [[46, 0], [0, 4]])]).claims[0]
        assert claim.value is None
        assert claim.statement == "What survives on a alone is unknown."
        assert claim.scope == {"features": 2, "feature": "a"}

    def test_finding_states_both_accuracies(self, counted):
        message = (
            judge_shortcut([counted([[0, 0], [0, 50]], [[0, 0], [0, 50]], sensitive=True)])
            .findings[0]
            .message
        )
        assert "accuracy of 1 " in message
        assert "majority's 0.5" in message
        assert message.endswith("It is a sensitive column.")

    def test_a_cut_is_said(self, counted):
        note = judge_shortcut([counted([[0, 0], [0, 50]], [[0, 0], [0, 50]], cut="seconds")]).claims[0].note
        assert "Cut short by seconds: fewer permutations." in note

    def test_largest_losses_are_listed_first(self, counted):
        item = counted([[0, 0], [0, 50]], [[0, 0], [0, 50]], kept=[[10, 0, 0, 0, 0, 0], [45, 0, 0, 0, 0, 45]])
        item.outcome["features"][0]["kept"] = [[10, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 90]]
        note = judge_shortcut([item]).claims[0].note
        assert note.startswith("Accuracy lost when permuted: b 0.45 (")
        assert "; a 0 (0 to 0)." in note


class TestImportance:
    def test_by_hand(self):
        # 40 rows were right: 10 of them after 0 of 2 permutations, 20 after 1, 10 after 2; 10 wrong rows, of which
        # 5 were right after 2. Loss: (40 - (20 * 1 + 10 * 2 + 5 * 2) / 2) / 50.
        loss, lower, upper = importance([[5, 0, 5], [10, 20, 10]], 2, 0.95, seed=1)
        assert loss == pytest.approx((40 - 25) / 50)
        assert lower < loss < upper

    def test_permutation_can_help(self):
        loss, lower, upper = importance([[0, 60], [0, 40]], 1, 0.95, seed=1)
        assert loss == pytest.approx(-0.6)
        assert lower < -0.6 < upper < 0

    def test_interval_is_that_of_a_mean_of_rows(self):
        # 1000 rows, loss 0 or 1 with probability 0.3: standard error sqrt(0.3 * 0.7 / 1000).
        loss, lower, upper = importance([[0, 0], [300, 700]], 1, 0.95, seed=1)
        half = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
        assert loss == pytest.approx(0.3)
        assert (lower, upper) == pytest.approx((0.3 - half, 0.3 + half), abs=3e-3)

    def test_same_seed_same_interval(self):
        table = [[5, 0, 5], [10, 20, 10]]
        assert importance(table, 2, 0.9, seed=4) == importance(table, 2, 0.9, seed=4)
