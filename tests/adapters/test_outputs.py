import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelward.adapters.outputs import OutputOptions, read_outputs
from modelward.adapters.runtime import Facts, as_numbers, class_text
from modelward.errors import ModelRaised, ShapeMismatch

NOTHING, DETECT = Facts(), OutputOptions()
PROBABILITIES = np.array([[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("raw", "statement"),
    [
        (PROBABILITIES, "probabilities"),
        (PROBABILITIES.astype(np.float32), "probabilities"),
        (PROBABILITIES * 3, "logits"),
        (PROBABILITIES - 1, "logits"),
        (np.array([[1, 2], [3, 4], [5, 6]]), "logits"),
        (np.array([0.1, 0.9, 0.5]), "probability"),
        (np.array([[0.1], [0.9], [0.5]]), "probability"),
        (np.array([-1.5, 0.2, 3.0]), "logit"),
        (np.array([0, 1, 1]), "labels"),
        (np.array([0.0, 2.0, 1.0]), "labels"),
        (np.array(["cat", "dog", "cat"]), "labels"),
        (np.array([True, False, True]), "labels"),
    ],
)
def test_meaning_is_detected(raw, statement):
    reading = read_outputs(raw, 3, NOTHING, DETECT)
    assert reading.statement == statement
    assert reading.origin


@pytest.mark.parametrize(
    "raw", [np.float64(3), np.zeros((2, 2)), np.zeros((3, 2, 2)), np.array([["a", "b"]] * 3)]
)
def test_what_classifies_nothing_is_refused(raw):
    with pytest.raises(ShapeMismatch):
        read_outputs(raw, 3, NOTHING, DETECT)


def test_a_statement_wins():
    assert read_outputs(PROBABILITIES, 3, NOTHING, OutputOptions(outputs="logits")).statement == "logits"
    with pytest.raises(ShapeMismatch, match="stated as logit"):
        read_outputs(PROBABILITIES, 3, NOTHING, OutputOptions(outputs="logit"))
    with pytest.raises(ShapeMismatch, match="1 columns"):
        read_outputs(np.zeros(3), 3, NOTHING, OutputOptions(outputs="probabilities"))


def test_what_the_model_says_of_itself_wins_over_a_guess():
    said = Facts(kind="logits", origin="decision_function")
    assert read_outputs(PROBABILITIES[:, 0], 3, said, DETECT).statement == "logit"
    assert read_outputs(PROBABILITIES, 3, said, DETECT).statement == "logits"


@given(hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-50, 50)))
def test_one_logit_decides_by_its_sign(z):
    reading = read_outputs(z, len(z), NOTHING, OutputOptions(outputs="logit"))
    scores = reading.scores(z, ("no", "yes"))
    assert scores.shape == (len(z), 2)
    np.testing.assert_array_equal(scores.argmax(1) == 1, z > 0)
    np.testing.assert_array_equal(scores[:, 1] - scores[:, 0], z)


@given(hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 1)))
def test_one_probability_decides_at_one_half(p):
    scores = read_outputs(p, len(p), NOTHING, OutputOptions(outputs="probability")).scores(p, ("no", "yes"))
    np.testing.assert_allclose(scores.sum(1), 1)
    np.testing.assert_array_equal(scores.argmax(1) == 1, p > 1 - p)


def test_labels_become_one_hot_whatever_their_type():
    for raw in (np.array([1, 0]), np.array([1.0, 0.0]), np.array(["1", "0"])):
        reading = read_outputs(raw, 2, NOTHING, OutputOptions(outputs="labels"))
        np.testing.assert_array_equal(reading.scores(raw, ("0", "1")), [[0, 1], [1, 0]])


def test_an_unknown_label_is_the_models_fault():
    reading = read_outputs(np.array(["x"]), 1, NOTHING, DETECT)
    with pytest.raises(ModelRaised, match="'x'"):
        reading.scores(np.array(["x"]), ("a", "b"))


def test_a_changing_shape_is_the_models_fault():
    reading = read_outputs(PROBABILITIES, 3, NOTHING, DETECT)
    with pytest.raises(ModelRaised, match="after answering 2 columns"):
        reading.scores(np.zeros((3, 4)), ("a", "b"))
    single = read_outputs(np.array([0.5, 0.25]), 2, NOTHING, DETECT)
    with pytest.raises(ModelRaised, match="after answering one"):
        single.scores(np.zeros((2, 2)), ("a", "b"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (np.float32(2), "2"),
        (np.int64(3), "3"),
        ("1", "1"),
        (1.5, "1.5"),
        (np.str_("a"), "a"),
        (True, "True"),
        (np.longdouble(3), "3"),
        (np.longdouble("0.5"), "0.5"),
        (np.longdouble("nan"), "nan"),
        (np.longdouble("1e4000"), "inf"),
        (np.clongdouble(1), "(1+0j)"),
        (np.bool_(True), "True"),
        (np.array(7), "7"),
    ],
)
def test_class_texts(value, text):
    assert class_text(value) == text


@pytest.mark.parametrize("x", [np.array(["1"]), np.array([1j]), np.array([None])])
def test_numbers_are_not_made_of_anything(x):
    with pytest.raises(ModelRaised, match="takes numbers"):
        as_numbers(x, np.float32)
