import numpy as np
import pytest

from modelward.adapters.data.labels import labels_of_array
from modelward.errors import InputError, ShapeMismatch

NO_TEXT = np.array([ord("a"), 0x110000], np.uint32).view("U1")


def labels(y):
    y = np.asarray(y)
    return labels_of_array(y, np.arange(len(y)))


@pytest.mark.parametrize(
    ("y", "texts", "codes"),
    [
        ([10, 9, 10], ("9", "10"), [1, 0, 1]),
        ([1.0, -1.0], ("-1", "1"), [1, 0]),
        ([True, False], ("False", "True"), [1, 0]),
        (["b", "a"], ("a", "b"), [1, 0]),
        (["10", "9", "1"], ("1", "9", "10"), [2, 1, 0]),
        (["10", "9", "a"], ("10", "9", "a"), [0, 1, 2]),
        ([b"x", b"y"], ("x", "y"), [0, 1]),
        ([[3], [4]], ("3", "4"), [0, 1]),
        ([7, 7, 7], ("7",), [0, 0, 0]),
        (np.array([2**63], np.uint64) // 2**20, (str(2**43),), [0]),
    ],
)
def test_texts_and_codes(y, texts, codes):
    found = labels(y)
    assert found.texts == texts
    assert found.y.tolist() == codes
    assert found.y.dtype == np.int64


def test_counts_are_of_all_rows_codes_of_those_held():
    found = labels_of_array(np.array([1, 0, 1, 1]), np.array([1, 3]))
    assert (found.y.tolist(), found.counts) == ([0, 1], {"0": 1, "1": 3})


@pytest.mark.parametrize(
    ("y", "sentence"),
    [
        ([0.5, 1.0], "y holds numbers that are not whole; regression is not supported"),
        ([np.inf, 1.0], "y holds numbers that are not whole; regression is not supported"),
        ([1e300, 1.0], "y holds numbers that are not whole; regression is not supported"),
        ([2**60, 1], "y holds numbers that are not whole; regression is not supported"),
        ([np.nan, 1.0, np.nan], "y has no value in 2 of 3 rows"),
        (["a", ""], "y has no value in 1 of 2 rows"),
        (range(1001), "y has more than 1,000 distinct values; regression is not supported"),
        (
            [f"t{i}" for i in range(1001)],
            "y has more than 1,000 distinct values; regression is not supported",
        ),
        ([1j], "y holds values of type complex128, which are no class labels"),
        (np.array(["2020"], "M8[D]"), "which are no class labels"),
        ([b"\xff"], "y holds a text that is not valid Unicode"),
        (["\ud800"], "y holds a text that is not valid Unicode"),
        (NO_TEXT, "y holds a text that is not valid Unicode"),
        (NO_TEXT.astype(NO_TEXT.dtype.newbyteorder()), "y holds a text that is not valid Unicode"),
    ],
)
def test_refusals(y, sentence):
    with pytest.raises(InputError) as caught:
        labels(y)
    assert sentence in str(caught.value)


def test_a_thousand_labels_are_allowed():
    assert len(labels(range(1000)).texts) == 1000


def test_shape():
    with pytest.raises(ShapeMismatch, match="one label per row is expected"):
        labels(np.zeros((4, 10)))


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        (("0", "1"), ("0", "1")),
        (("1.0", "0.0"), ("0", "1")),
        (("true", "false"), ("false", "true")),
        (("True", "False"), ("False", "True")),
        (("spam", "ham"), ("ham", "spam")),
        (("10", "9"), ("9", "10")),
        (("1", "2+"), ("1", "2+")),
        (("-1", "1"), ("-1", "1")),
        (("3", "3"), ("3",)),
    ],
)
def test_labels_of_a_table(read, cells, texts):
    data = read(f"a,y\n1,{cells[0]}\n2,{cells[1]}\n", label="y")
    assert data.labels == texts
    assert [data.labels[code] for code in data.y] == [cell.removesuffix(".0") for cell in cells]


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        (["0.5", "1"], "the label column 'y' holds numbers that are not whole; regression is not supported"),
        (["inf", "1"], "the label column 'y' holds numbers that are not whole"),
        (["", "a"], "the label column 'y' has no value in 1 of 2 rows"),
        (["NA", "1"], "the label column 'y' has no value in 1 of 2 rows"),
        (["", ""], "the label column 'y' has no value in 2 of 2 rows"),
        ([str(i) for i in range(1001)], "the label column 'y' has more than 1,000 distinct values"),
        ([f"t{i}" for i in range(1001)], "the label column 'y' has more than 1,000 distinct values"),
        ([f"t{i}" for i in range(10_100)], "the label column 'y' has more than 1,000 distinct values"),
    ],
)
def test_refusals_of_a_table(read, cells, sentence):
    with pytest.raises(InputError) as caught:
        read("a,y\n" + "".join(f"1,{cell}\n" for cell in cells), label="y")
    assert sentence in str(caught.value)


def test_labels_absent_from_the_sample_are_still_labels(write, read):
    data = read("a,y\n" + "1,0\n" * 2000 + "1,1\n", label="y", rows=2)
    assert data.labels == ("0", "1")
    assert data.subject.details["classes"] == {"0": 2000, "1": 1}
