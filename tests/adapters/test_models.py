"""What a model does to its caller: raises, changes its input, quotes a row, answers something else."""

import numpy as np
import pytest

from modelward.adapters.data import DataOptions, from_arrays
from modelward.adapters.models import within
from modelward.adapters.opening import ModelOptions, open_live
from modelward.adapters.outputs import OutputOptions
from modelward.adapters.runtime import Facts, reason
from modelward.errors import ModelHung, ModelRaised, ShapeMismatch

X = np.arange(40.0).reshape(20, 2)
Y = (X[:, 0] > 19).astype(np.int64)


def scores(x):
    z = np.asarray(x)[:, 0] - 19.5
    return np.stack([-z, z], axis=1)


def opened(function, **stated):
    data = from_arrays(X.copy(), Y, options=DataOptions())
    return open_live(function, data, None, ModelOptions(outputs=OutputOptions(**stated)))


def test_a_function_that_changes_its_input_changes_a_copy():
    def greedy(x):
        answer = scores(x)
        x[:] = -1
        return answer

    found = opened(greedy)
    np.testing.assert_array_equal(found.data.x, X)
    found.model.scores(found.data.x)
    np.testing.assert_array_equal(found.data.x, X)


def test_an_estimator_that_changes_its_input_changes_a_copy():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(preprocessing.StandardScaler(copy=False), LogisticRegression()).fit(X.copy(), Y)
    found = opened(model)
    expected = model.predict_proba(X.copy())
    np.testing.assert_allclose(found.model.scores(found.data.x), expected)
    np.testing.assert_array_equal(found.data.x, X)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError, AssertionError, OverflowError, MemoryError, StopIteration]
)
def test_whatever_a_model_raises_later_is_one_sentence(error):
    def moody(x):
        if len(x) > 16:
            raise error("the row of 'Alice Smith' is [63.0, 1.0]\nand more")
        return scores(x)

    found = opened(moody)
    with pytest.raises(ModelRaised, match=error.__name__) as caught:
        found.model.scores(X)
    assert "Alice" not in str(caught.value)
    assert "63" not in str(caught.value)
    assert "more" not in str(caught.value)


def test_a_torch_module_may_raise_anything():
    torch = pytest.importorskip("torch")

    class Picky(torch.nn.Module):
        def forward(self, x):
            assert len(x) <= 16
            return torch.stack([-x[:, 0], x[:, 0]], dim=1)

    found = opened(Picky())
    with pytest.raises(ModelRaised, match="AssertionError"):
        found.model.scores(X)


def test_a_model_error_keeps_its_own_words():
    class Refusing:
        facts = Facts()

        def raw(self, x):
            raise ModelHung("busy")

    with pytest.raises(ModelHung, match=r"^busy$"):
        within(5.0, Refusing(), X)


@pytest.mark.parametrize(
    ("complaint", "said"),
    [
        ("could not convert string to float: 'Bob'", "could not convert string to float: …"),
        ('no "x" in [1. 2.]', "no … in …"),
        ("cut [1. 2.\n 3.]", "cut …"),
        ("\n\n  second line first\nthird", "second line first"),
        ("", ""),
        ("x" * 500, "x" * 200),
    ],
)
def test_a_complaint_is_quoted_without_its_values(complaint, said):
    assert reason(complaint) == said


@pytest.mark.parametrize(
    ("function", "stated", "sentence"),
    [
        (lambda x: np.zeros((len(x), 0)), {}, "holds no scores"),
        (lambda x: np.array(["a"] * len(x)), {"outputs": "logit"}, "values of type <U1"),
        (lambda x: np.array([["a", "b"]] * len(x)), {"outputs": "probabilities"}, "values of type <U1"),
        (lambda x: scores(x) + 1j, {}, "complex128"),
    ],
)
def test_what_is_no_score_is_refused_on_opening(function, stated, sentence):
    with pytest.raises(ShapeMismatch, match=sentence):
        opened(function, **stated)


@pytest.mark.parametrize(
    "later",
    [
        lambda x: np.array(["a"] * len(x)),
        lambda x: scores(x)[:, :1],
        lambda x: scores(x)[:3],
        lambda x: np.zeros((len(x), 2, 2)),
        lambda x: None,
    ],
)
def test_an_answer_that_turns_into_another_kind(later):
    found = opened(lambda x: scores(x) if len(x) <= 16 else later(x))
    with pytest.raises(ModelRaised):
        found.model.scores(X)


def test_labels_that_turn_into_rows():
    found = opened(lambda x: Y[:1].repeat(len(x)) if len(x) <= 16 else scores(x))
    with pytest.raises(ModelRaised, match="one label a row"):
        found.model.scores(X)


def test_an_estimator_of_one_class_is_no_classifier():
    dummy = pytest.importorskip("sklearn.dummy")
    with pytest.raises(ShapeMismatch, match="one class alone"):
        opened(dummy.DummyClassifier().fit(X, np.zeros(20, dtype=int)))
