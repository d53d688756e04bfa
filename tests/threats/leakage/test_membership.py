import numpy as np
import pytest

from modelward.core.budget import Budget
from modelward.core.check import Settings
from modelward.numeric.roc import auc, auc_interval, tpr_at_fpr
from modelward.threats.leakage.judge import judge_auc, judge_tpr
from modelward.threats.leakage.membership import MembershipCheck, runs, shared_rows, true_margin


def attack(lab, model, train, data, **options):
    return lab.run(MembershipCheck, lab.subjects(model, data, train), **options)


@pytest.fixture
def sets(lab):
    """Two disjoint halves of one population with labels independent of the input."""

    def make(n, *, features=4, seed=0):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(2 * n, features)), rng.integers(0, 2, 2 * n)
        return lab.data(x[:n], y[:n], name="train"), lab.data(x[n:], y[n:], name="data")

    return make


@pytest.fixture
def memoriser(lab):
    """Answers training rows with their label for sure, everything else with one half."""

    def make(train, sure=0.99):
        known = {row.tobytes(): label for row, label in zip(train.x, train.y, strict=True)}

        def answer(x):
            labels = [known.get(row.tobytes()) for row in x]
            return lab.two([0.5 if label is None else (sure if label else 1 - sure) for label in labels])

        return lab.model(answer)

    return make


class TestKnownAnswers:
    def test_memorised_rows_give_auc_one(self, lab, sets, memoriser):
        train, data = sets(1500)
        evidence = attack(lab, memoriser(train), train, data)
        judgement = judge_auc(evidence)
        claim = judgement.claims[0]
        assert claim.value == 1.0
        assert claim.interval.lower > 0.99
        assert claim.better == "lower"
        assert [(f.rule, f.severity) for f in judgement.findings] == [("leakage.membership", "high")]
        exposed = judge_tpr(evidence)
        assert [c.value for c in exposed.claims] == [1.0, 1.0]
        assert [(f.rule, f.severity) for f in exposed.findings] == [("leakage.exposed", "high")]

    def test_model_that_does_not_know_membership_is_at_chance(self, lab, sets):
        train, data = sets(3000)
        model = lab.model(lambda x: lab.two(1 / (1 + np.exp(-x[:, 0]))))
        evidence = attack(lab, model, train, data)
        judgement = judge_auc(evidence)
        interval = judgement.claims[0].interval
        assert interval.lower < 0.5 < interval.upper
        assert not judgement.findings
        for claim in judge_tpr(evidence).claims:
            assert claim.interval.lower <= claim.scope["fpr"] <= claim.interval.upper
        assert not judge_tpr(evidence).findings

    def test_partial_memory_has_the_expected_auc(self, lab, sets, memoriser):
        # 40 % of members stand above all others, the rest tie with them: AUC = 0.4 + 0.6 / 2 = 0.7.
        train, data = sets(2000)
        part = train.take(np.arange(800))
        judgement = judge_auc(attack(lab, memoriser(part), train, data))
        assert judgement.claims[0].value == pytest.approx(0.7)
        assert [(f.rule, f.severity) for f in judgement.findings] == [("leakage.membership", "medium")]
        exposed = judge_tpr(attack(lab, memoriser(part), train, data))
        assert [c.value for c in exposed.claims] == pytest.approx([0.4, 0.4])

    def test_labels_only_uses_correctness(self, lab, sets):
        # Right on all members and on half of the others: AUC = 0.5 + (1 - 0.5) / 2.
        train, data = sets(1000)
        right = {row.tobytes(): label for row, label in zip(train.x, train.y, strict=True)}
        right |= {
            row.tobytes(): label if i % 2 else 1 - label
            for i, (row, label) in enumerate(zip(data.x, data.y, strict=True))
        }
        model = lab.model(lambda x: np.eye(2)[[right[row.tobytes()] for row in x]], kind="labels")
        claim = judge_auc(attack(lab, model, train, data)).claims[0]
        assert claim.value == pytest.approx(0.75)
        assert claim.scope["signal"] == "correctness"
        assert "only labels" in claim.note


class TestUnknown:
    def test_too_few_others_leave_the_rate_unknown(self, lab, sets):
        train, data = sets(500)
        evidence = attack(lab, lab.model(lambda x: lab.two(np.abs(np.tanh(x[:, 0])))), train, data)
        one, tenth = judge_tpr(evidence).claims
        assert one.scope["fpr"] == 0.01
        assert one.value is not None
        assert tenth.scope["fpr"] == 0.001
        assert tenth.value is None
        assert tenth.interval is None
        assert "Only 500 others" in tenth.note
        assert "unknown" in tenth.statement

    def test_identical_sets_are_declined(self, lab, sets):
        train, _ = sets(50)
        subjects = lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), train, train)
        assert "members cannot be told" in MembershipCheck(Settings()).declines(subjects)

    def test_different_shapes_are_declined(self, lab, sets):
        train, data = sets(50)[0], sets(50, features=3)[1]
        subjects = lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), data, train)
        assert "(4,)" in MembershipCheck(Settings()).declines(subjects)

    def test_unlabelled_training_rows_are_declined(self, lab, sets):
        train, data = sets(50)
        bare = lab.data(train.x, None, name="train.csv")
        subjects = lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), data, bare)
        assert MembershipCheck(Settings()).declines(subjects) == "train.csv has no labels"


class TestSharedRows:
    def test_are_removed_counted_and_reported(self, lab, sets, memoriser):
        train, data = sets(300)
        mixed = lab.data(np.concatenate([data.x, train.x[:60]]), np.concatenate([data.y, 1 - train.y[:60]]))
        evidence = attack(lab, memoriser(train), train, mixed)
        outcome = evidence[0].outcome
        assert (outcome["members"], outcome["others"]) == (240, 300)
        assert outcome["shared"] == {"train": 60, "train rows": 300, "data": 60, "data rows": 360}
        judgement = judge_auc(evidence)
        assert judgement.claims[0].value == 1.0  # shared rows would have pulled it down
        finding = next(f for f in judgement.findings if f.rule == "leakage.overlap")
        assert finding.severity == "medium"
        assert "60 of 360" in finding.message

    def test_a_few_are_low(self, lab, sets):
        train, data = sets(300)
        mixed = lab.data(np.concatenate([data.x, train.x[:3]]), np.concatenate([data.y, train.y[:3]]))
        findings = judge_auc(
            attack(lab, lab.model(lambda x: lab.two(np.full(len(x), 0.3))), train, mixed)
        ).findings
        assert [(f.rule, f.severity) for f in findings] == [("leakage.overlap", "low")]

    def test_equal_numbers_of_other_type_or_sign_of_zero_are_equal(self, lab):
        left = lab.data(np.array([[0.0, 1.0], [2.0, 3.0]], np.float32), [0, 1])
        right = lab.data(np.array([[-0.0, 1.0], [2.0, 3.5], [2.0, 3.0]]), [0, 1, 1])
        in_train, in_data = shared_rows(left, right)
        assert in_train.tolist() == [True, True]
        assert in_data.tolist() == [True, False, True]

    def test_agree_with_comparing_all_bytes(self, lab):
        rng = np.random.default_rng(5)
        left, right = rng.integers(0, 3, (5000, 8)), rng.integers(0, 3, (3000, 8))
        kinds = (left.astype(np.uint8), right.astype(np.float32))
        in_train, in_data = shared_rows(lab.data(kinds[0]), lab.data(kinds[1]))
        both = {tuple(row) for row in left.tolist()} & {tuple(row) for row in right.tolist()}
        assert in_train.tolist() == [tuple(row) in both for row in left.tolist()]
        assert in_data.tolist() == [tuple(row) in both for row in right.tolist()]
        assert 0 < in_data.sum() < len(in_data)

    def test_the_place_of_a_number_counts(self, lab):
        left, right = (
            lab.data(np.array([[1.0, 2.0], [0.0, 0.0]])),
            lab.data(np.array([[2.0, 1.0], [0.0, 1e-300]])),
        )
        assert not shared_rows(left, right)[0].any()


class TestBudget:
    @pytest.mark.parametrize("queries", [2, 10, 101])
    def test_cut_keeps_both_kinds_in_proportion(self, lab, sets, queries):
        train, data = sets(400)
        data = data.take(np.arange(200))
        model = lab.model(lambda x: lab.two(np.full(len(x), 0.5)))
        found = attack(lab, model, train, data, budget=Budget(queries=queries))
        assert model.asked == queries
        if found:
            outcome = found[0].outcome
            assert outcome["members"] + outcome["others"] == queries
            assert abs(outcome["members"] - 2 * outcome["others"]) <= 2
            assert found[0].cut == "queries"

    def test_one_kind_alone_is_no_evidence(self, lab, sets):
        train, data = sets(400)
        assert (
            attack(
                lab, lab.model(lambda x: lab.two(np.full(len(x), 0.5))), train, data, budget=Budget(queries=1)
            )
            == []
        )


class TestRuns:
    @pytest.mark.parametrize("seed", range(5))
    def test_nothing_that_is_derived_changes(self, seed):
        rng = np.random.default_rng(seed)
        score = np.round(rng.normal(size=3000), rng.integers(1, 4))
        member = rng.random(3000) < 0.4
        table = np.array(runs(score, member))
        place = np.arange(len(table))
        members, others = np.repeat(place, table[:, 0]), np.repeat(place, table[:, 1])
        assert auc(members, others) == pytest.approx(auc(score[member], score[~member]), abs=1e-12)
        assert auc_interval(members, others, 0.9) == pytest.approx(
            auc_interval(score[member], score[~member], 0.9)
        )
        for rate in (0.01, 0.001, 0.2):
            direct, derived = (
                tpr_at_fpr(score[member], score[~member], rate, 0.9),
                tpr_at_fpr(members, others, rate, 0.9),
            )
            assert derived.tpr == direct.tpr
            assert derived.at_rate == direct.at_rate
            assert derived.fpr <= direct.fpr

    def test_separated_scores_take_two_entries(self):
        assert runs(np.arange(10.0), np.arange(10) >= 4) == [[0, 4], [6, 0]]

    def test_ties_across_kinds_stay_one_entry_each(self):
        assert runs(np.array([1.0, 1.0, 2.0, 2.0]), np.array([True, False, True, False])) == [[1, 1], [1, 1]]


class TestMargin:
    def test_probabilities_give_the_log_odds(self):
        p = np.array([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1]])
        assert true_margin(p, np.array([2, 1]), "probabilities") == pytest.approx(
            np.log([0.5 / 0.5, 0.8 / 0.2])
        )

    def test_logits_give_the_same_as_their_softmax(self):
        rng = np.random.default_rng(0)
        z = rng.normal(size=(50, 4))
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        y = rng.integers(0, 4, 50)
        assert true_margin(z, y, "logits") == pytest.approx(true_margin(p, y, "probabilities"))

    def test_saturated_probabilities_are_still_ranked_and_finite(self):
        p = np.array([[1e-30, 1.0], [1e-20, 1.0], [0.0, 1.0], [1.0, 0.0]])
        margin = true_margin(p, np.array([1, 1, 1, 1]), "probabilities")
        assert np.isfinite(margin).all()
        assert margin[3] < margin[1] < margin[0] < margin[2]

    def test_extreme_logits_do_not_overflow(self):
        margin = true_margin(np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]]), np.array([0, 0]), "logits")
        assert margin.tolist() == [1e4, -2e4]
