import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.errors import ModelNonFinite, ModelRaised, ShapeMismatch
from modelward.threats import asking
from modelward.threats.asking import ask, each_alone, label_trouble, probabilities, right, shuffled, targets


@pytest.fixture
def model(lab):
    return lab.model(lambda x: lab.two(x[:, 0]))


class TestAsk:
    def test_answers_stand_in_the_order_of_the_rows(self, model):
        x = np.random.default_rng(0).random((10_000, 1))
        meter = Meter()
        scores = ask(model, lambda part: x[part], len(x), budget=meter)
        assert np.array_equal(scores[:, 1], x[:, 0])
        assert meter.cost.queries == model.asked == 10_000
        assert meter.cut is None

    def test_no_batch_is_larger_than_the_limit(self, lab):
        sizes = []

        def answer(x):
            sizes.append(len(x))
            return np.zeros((len(x), 2))

        ask(lab.model(answer), lambda part: np.zeros((9000, 1))[part], 9000, budget=Meter())
        assert sizes == [4096, 4096, 808]

    def test_large_rows_come_in_small_batches(self, lab, monkeypatch):
        monkeypatch.setattr(asking, "_BATCH_BYTES", 8000)
        sizes = []

        def answer(x):
            sizes.append(x.nbytes)
            return np.zeros((len(x), 2))

        ask(lab.model(answer), lambda part: np.zeros((25, 100))[part], 25, budget=Meter())
        assert max(sizes) <= 8000
        assert len(sizes) == 3

    @pytest.mark.parametrize("limit", [1, 5, 4096, 5000])
    def test_a_budget_is_used_up_to_the_last_query_and_the_cut_is_said(self, model, limit):
        x, meter = np.zeros((6000, 1)), Meter(Budget(queries=limit))
        scores = ask(model, lambda part: x[part], len(x), budget=meter)
        assert len(scores) == model.asked == meter.cost.queries == limit
        assert meter.cut == "queries"

    def test_a_budget_that_just_suffices_cuts_nothing(self, model):
        meter = Meter(Budget(queries=50))
        assert len(ask(model, lambda part: np.zeros((50, 1))[part], 50, budget=meter)) == 50
        assert meter.cut is None

    def test_time_that_is_up_stops_before_the_question(self, model):
        times = iter([0.0, *[10.0] * 9])
        meter = Meter(Budget(seconds=1), clock=lambda: next(times))
        assert ask(model, lambda part: np.zeros((50, 1))[part], 50, budget=meter).shape == (0, 2)
        assert (model.asked, meter.cut) == (0, "seconds")

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_non_finite_answers_are_errors_on_unmodified_rows_only(self, lab, bad):
        x = np.array([[0.5], [bad], [bad]])
        broken = lab.model(lambda x: np.hstack([1 - x, x]))
        with pytest.raises(ModelNonFinite, match="2 of 3 unmodified rows"):
            ask(broken, lambda part: x[part], 3, budget=Meter())
        assert len(ask(broken, lambda part: x[part], 3, budget=Meter(), modified=True)) == 3

    def test_progress_counts_rows(self, model):
        seen = []
        meter = Meter(observe=lambda done, total: seen.append((done, total)))
        ask(model, lambda part: np.zeros((5000, 1))[part], 5000, budget=meter)
        assert seen == [(4096, 5000), (5000, 5000)]


class TestLabels:
    def test_targets_go_by_name(self, lab):
        model = lab.model(lambda x: x, classes=("c", "a", "b"))
        assert targets(model, lab.data(np.zeros((3, 1)), [0, 1, 1], labels=("a", "c"))).tolist() == [1, 0, 0]

    def test_an_unknown_label_is_named(self, lab, model):
        data = lab.data(np.zeros((2, 1)), [0, 1], labels=("0", "7"), name="t.csv")
        assert label_trouble(model, data) == "label '7' of t.csv is not a class of the model"
        with pytest.raises(ShapeMismatch, match="'7'"):
            targets(model, data)

    def test_missing_labels_are_said(self, lab, model):
        with pytest.raises(ShapeMismatch, match=r"t\.csv has no labels"):
            targets(model, lab.data(np.zeros((2, 1)), None, name="t.csv"))


class TestScores:
    def test_right_is_the_first_largest_column(self):
        scores = np.array([[0.5, 0.5], [0.2, 0.8], [np.nan, 1.0]])
        assert right(scores, np.array([0, 1, 1])).tolist() == [True, True, False]
        assert right(scores, np.array([1, 0, 0])).tolist() == [False, False, False]

    def test_softmax_of_logits_is_safe_and_sums_to_one(self):
        found = probabilities(np.array([[1000.0, 999.0], [-1e300, 1e300]]), "logits")
        assert found[0] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.e)])
        assert found[1].tolist() == [0.0, 1.0]

    def test_probabilities_are_kept_within_bounds(self):
        assert probabilities(np.array([[1.0 + 1e-9, -1e-9]]), "probabilities").tolist() == [[1.0, 0.0]]

    def test_shuffled_is_a_permutation_fixed_by_the_seed(self):
        assert sorted(shuffled(50, 3)) == list(range(50))
        assert shuffled(50, 3).tolist() == shuffled(50, 3).tolist()
        assert shuffled(50, 3).tolist() != shuffled(50, 4).tolist()


class TestEachAlone:
    """A batch that fails must not hide which of its inputs the model raises on."""

    @pytest.fixture
    def odd(self, lab):
        """Raises on any batch that holds a number above 9."""
        batches = []

        def answer(x):
            batches.append(len(x))
            if (x > 9).any():
                raise ModelRaised("over nine")
            return np.column_stack([x[:, 0], -x[:, 0]])

        return lab.model(answer), batches

    def test_a_batch_that_passes_is_asked_once(self, odd):
        model, batches = odd
        answers, own = each_alone(model, np.array([[1.0], [2.0]]), lambda: pytest.fail("booked again"))
        assert answers.tolist() == [[1, -1], [2, -2]]
        assert (own, batches) == (2, [2])

    def test_only_the_input_that_raises_has_no_answer(self, odd):
        model, batches = odd
        booked = []
        answers, own = each_alone(model, np.array([[1.0], [10.0], [3.0]]), lambda: booked.append(1) or True)
        assert answers[[0, 2]].tolist() == [[1, -1], [3, -3]]
        assert np.isnan(answers[1]).all()
        assert (own, batches, len(booked)) == (3, [3, 1, 1, 1], 3)

    def test_one_input_is_not_asked_twice(self, odd):
        model, batches = odd
        answers, own = each_alone(model, np.array([[10.0]]), lambda: pytest.fail("booked again"))
        assert np.isnan(answers).all()
        assert (own, batches) == (1, [1])

    @pytest.mark.parametrize("allowed", [0, 1, 2, 3])
    def test_a_refusal_says_how_many_have_an_answer_of_their_own(self, odd, allowed):
        model, batches = odd
        left = iter([True] * allowed + [False] * 5)
        answers, own = each_alone(model, np.array([[1.0], [2.0], [10.0], [4.0]]), lambda: next(left))
        assert own == allowed
        assert batches == [4] + [1] * allowed
        assert np.isnan(answers[own:]).all()
        assert np.isfinite(answers[: min(own, 2)]).all()

    def test_other_errors_are_not_swallowed(self, lab):
        def answer(x):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            each_alone(lab.model(answer), np.zeros((2, 1)), lambda: True)
