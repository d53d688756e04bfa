from dataclasses import replace

import numpy as np
import pytest

from modelward.adapters.data import DataOptions, from_arrays
from modelward.adapters.outputs import Reading
from modelward.adapters.pairing import fit_features, fit_labels, name_classes
from modelward.adapters.runtime import Facts
from modelward.errors import ShapeMismatch


def data_of(columns, sensitive=(), labels=("0", "1")):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, len(columns)))
    y = np.array([labels[i % len(labels)] for i in range(20)])
    return from_arrays(x, y, options=DataOptions(sensitive=sensitive), columns=columns)


def test_columns_are_chosen_by_name():
    data = data_of(["a", "b", "c"])
    fitted = fit_features(data, Facts(features=("c", "a"), n_features=2))
    assert [c.name for c in fitted.columns] == ["c", "a"]
    np.testing.assert_array_equal(fitted.x, data.x[:, [2, 0]])
    np.testing.assert_array_equal(fitted.box.lower, data.box.lower[[2, 0]])
    np.testing.assert_array_equal(fitted.box.scale, data.box.scale[[2, 0]])


def test_sensitive_columns_are_left_out_when_the_number_says_so():
    data = data_of(["a", "sex", "c"], sensitive=("sex",))
    fitted = fit_features(data, Facts(n_features=2))
    assert [c.name for c in fitted.columns] == ["a", "c"]
    assert [g.name for g in fitted.groupings] == ["sex"]
    assert len(fit_features(data, Facts(n_features=3)).columns) == 3


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (Facts(n_features=7), "takes 7 features, the data has 3"),
        (Facts(features=("a", "z"), n_features=2), "lacks: z"),
        (Facts(features=("x", "y"), n_features=2), "takes 2 features"),
    ],
)
def test_what_does_not_fit_is_said(facts, sentence):
    with pytest.raises(ShapeMismatch, match=sentence):
        fit_features(data_of(["a", "b", "c"]), facts)


@pytest.mark.parametrize(
    ("shape", "fits"), [((1, 4, 4), True), ((None, 4, 4), True), ((3, 4, 4), False), ((16,), False)]
)
def test_shapes_of_arrays(shape, fits):
    data = from_arrays(
        np.zeros((5, 1, 4, 4), np.float32), np.arange(5) % 2, options=DataOptions(bounds=(0, 1))
    )
    if fits:
        assert fit_features(data, Facts(shape=shape)) is data
    else:
        with pytest.raises(ShapeMismatch, match="samples of shape"):
            fit_features(data, Facts(shape=shape))


def test_a_label_becomes_its_score_column():
    data = data_of(["a"], labels=("cat", "dog"))
    fitted = fit_labels(data, ("dog", "bird", "cat"))
    assert fitted.labels == ("dog", "bird", "cat")
    words = np.array(data.labels)[data.y]
    np.testing.assert_array_equal(np.array(fitted.labels)[fitted.y], words)


def test_an_unknown_label_is_refused():
    with pytest.raises(ShapeMismatch, match="does not know: dog"):
        fit_labels(data_of(["a"], labels=("cat", "dog")), ("cat", "bird"))


def test_data_without_labels_keeps_the_models_classes():
    data = replace(data_of(["a"]), y=None)
    assert fit_labels(data, ("p", "q")).labels == ("p", "q")


COLUMNS = Reading("logits", "", 3)
LABELS = Reading("labels", "", 0)
ONE = Reading("logit", "", 1)


@pytest.mark.parametrize(
    ("reading", "known", "stated", "labels", "expected"),
    [
        (COLUMNS, None, ("x", "y", "z"), ("0",), ("x", "y", "z")),  # stated wins
        (COLUMNS, ("c", "b", "a"), (), ("a", "b"), ("c", "b", "a")),  # the model knows
        (COLUMNS, ("0", "1", "2"), (), ("a", "b", "c"), ("a", "b", "c")),  # the model only numbers
        (COLUMNS, ("0", "1", "2"), (), ("0", "2"), ("0", "1", "2")),
        (COLUMNS, None, (), ("a", "b", "c"), ("a", "b", "c")),
        (COLUMNS, None, (), ("0", "2"), ("0", "1", "2")),  # some classes do not occur
        (ONE, None, (), ("no", "yes"), ("no", "yes")),
        (LABELS, None, (), ("no", "yes"), ("no", "yes")),
    ],
)
def test_class_names(reading, known, stated, labels, expected):
    assert name_classes(reading, Facts(classes=known), stated, labels) == expected


@pytest.mark.parametrize(
    ("reading", "stated", "labels", "sentence"),
    [
        (COLUMNS, ("x", "y"), ("0",), "2 classes were stated"),
        (COLUMNS, (), ("a", "b"), "answers 3 classes"),
        (LABELS, (), ("a",), "one class"),
    ],
)
def test_class_names_that_cannot_be_found(reading, stated, labels, sentence):
    with pytest.raises(ShapeMismatch, match=sentence):
        name_classes(reading, Facts(), stated, labels)


def test_names_that_fit_in_part_are_not_taken_by_position():
    with pytest.raises(ShapeMismatch, match="lacks: c"):
        fit_features(data_of(["a", "b", "d"]), Facts(features=("a", "b", "c"), n_features=3))
    fitted = fit_features(data_of(["p", "q"]), Facts(features=("Column_0", "Column_1"), n_features=2))
    assert [c.name for c in fitted.columns] == ["p", "q"]


@pytest.mark.parametrize("shape", [(6, 2), (6, 1, 2, 2)])
def test_fractions_are_not_cut_off_for_a_model_of_whole_numbers(shape):
    x = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    y = np.arange(6) % 2
    fit_features(from_arrays(x, y), Facts(whole=True))
    fit_features(from_arrays(x.astype(np.uint8), y), Facts(whole=True))
    with pytest.raises(ShapeMismatch, match="holds fractions"):
        fit_features(from_arrays(x + 0.5, y), Facts(whole=True))
