import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from modelward.adapters.data import DataOptions, from_arrays, open_data
from modelward.errors import ColumnMissing, ConfigInvalid, InputError, ShapeMismatch

FRAME = pd.DataFrame(
    {"age": [39, 50, 38], "sex": ["M", "F", None], "score": [0.5, np.nan, 2.0], "y": ["no", "yes", "no"]}
)


def test_frame_table_parquet_and_csv_agree(parquet, read):
    options = DataOptions(label="y", sensitive=("sex",))
    table = pa.Table.from_pandas(FRAME, preserve_index=False)
    opened = [
        from_arrays(FRAME, options=options),
        from_arrays(table, options=options),
        open_data(parquet(table), options),
        read(FRAME.to_csv(index=False), label="y", sensitive=("sex",)),
    ]
    for data in opened:
        assert data.subject.digest == opened[0].subject.digest
        assert data.columns == opened[0].columns
        assert data.labels == ("no", "yes")
        np.testing.assert_array_equal(data.x, opened[0].x)


def test_frame_with_separate_labels():
    data = from_arrays(FRAME.drop(columns="y"), FRAME["y"])
    assert (data.labels, data.y.tolist()) == (("no", "yes"), [0, 1, 0])
    assert data.subject.digest == from_arrays(FRAME, options=DataOptions(label="y")).subject.digest
    assert from_arrays(FRAME.drop(columns="y"), [1, 0, 1]).labels == ("0", "1")
    assert from_arrays(FRAME.drop(columns="y"), np.array([[1], [0], [1]])).y.tolist() == [1, 0, 1]


def test_labels_that_collide_with_a_column():
    with pytest.raises(InputError, match="the table already has a column 'y'"):
        from_arrays(FRAME, [0, 1, 0])
    assert from_arrays(FRAME, [0, 1, 0], options=DataOptions(label="target")).labels == ("0", "1")


def test_frame_index_and_number_names():
    frame = pd.DataFrame([[1, 2], [3, 4]], index=["r", "s"])
    assert [c.name for c in from_arrays(frame).columns] == ["0", "1"]


def test_frame_categories_and_booleans():
    frame = pd.DataFrame({"c": pd.Categorical(["b", "a", "b"]), "b": [True, False, True]})
    data = from_arrays(frame)
    assert data.columns[0].categories == ("a", "b")
    assert data.x.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_frame_that_mixes_types():
    with pytest.raises(InputError, match="a column of the DataFrame mixes types"):
        from_arrays(pd.DataFrame({"a": [1, "x", 2.5]}))


def test_lists():
    data = from_arrays([[1, 2.5], [2, 3.5]], [0, 1])
    assert data.x.tolist() == [[1, 2.5], [2, 3.5]]
    assert [c.kind for c in data.columns] == ["integer", "real"]


def test_lists_with_texts_become_a_table():
    data = from_arrays([[1, "red"], [2, "blue"]], ["a", "b"], columns=["n", "colour"])
    assert [(c.name, c.kind) for c in data.columns] == [("n", "integer"), ("colour", "category")]
    assert data.x.tolist() == [[1, 1], [2, 0]]
    assert data.labels == ("a", "b")
    with pytest.raises(ShapeMismatch, match="3 column names for 2 columns"):
        from_arrays([[1, "red"], [2, "blue"]], columns=["a", "b", "c"])
    with pytest.raises(InputError, match="a column mixes types"):
        from_arrays([[1, "red"], ["x", "blue"]])


def test_label_among_named_columns_of_an_array():
    x = np.array([[1.5, 0], [2.5, 1]])
    data = from_arrays(x, columns=["a", "t"], options=DataOptions(label="t"))
    assert (data.labels, data.x.tolist()) == (("0", "1"), [[1.5], [2.5]])
    with pytest.raises(ColumnMissing, match="the nearest are 't'"):
        from_arrays(x, columns=["a", "t"], options=DataOptions(label="T"))
    with pytest.raises(ColumnMissing):
        from_arrays(x, options=DataOptions(label="y"))


def test_label_with_separate_labels_names_them():
    data = from_arrays(np.zeros((2, 2)), [5, 6], options=DataOptions(label="target"))
    assert data.labels == ("5", "6")


@pytest.mark.parametrize("y", [pd.Series(["a", "b"]), np.array(["a", "b"], dtype=object), ("a", "b")])
def test_labels_of_many_kinds(y):
    assert from_arrays(np.zeros((2, 2)), y).labels == ("a", "b")


class Tensor:
    """What torch tensors look like from outside."""

    def __init__(self, values, trainable=False):
        self.values, self.trainable = values, trainable

    def __array__(self, dtype=None, copy=None):
        if self.trainable:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return self.values


def test_tensors():
    data = from_arrays(Tensor(np.zeros((3, 1, 2, 2), "f4")), Tensor(np.array([0, 1, 0])))
    assert (data.x.shape, data.labels) == ((3, 1, 2, 2), ("0", "1"))
    with pytest.raises(ShapeMismatch, match="x is not an array: Can't call numpy"):
        from_arrays(Tensor(np.zeros((3, 2)), trainable=True))


@pytest.mark.parametrize(
    ("x", "y", "error", "sentence"),
    [
        ([[1], [1, 2]], None, ShapeMismatch, "x is not an array"),
        (FRAME.drop(columns="y"), [1, 2], ShapeMismatch, r"the table has 3 rows and y has shape \(2,\)"),
        (FRAME.iloc[:0], None, InputError, "data: the table has no rows"),
        (object(), None, ShapeMismatch, r"x has shape \(\)"),
        (np.zeros((2, 2)), [1, "a", 2], ShapeMismatch, "x has 2 samples and y has 3 rows"),
        (
            np.zeros((2, 2)),
            [object(), "a"],
            InputError,
            "y holds values of type object, which are no class labels",
        ),
    ],
)
def test_refusals(x, y, error, sentence):
    with pytest.raises(error, match=sentence):
        from_arrays(x, y)


def test_columns_of_a_frame_are_its_own():
    with pytest.raises(InputError, match="columns are named by the table itself"):
        from_arrays(FRAME, columns=["a", "b", "c", "d"])


def test_name_and_options():
    assert from_arrays([[1.0, 2.0]], name="mine").subject.name == "mine"
    with pytest.raises(ConfigInvalid):
        from_arrays([[1.0]], options=DataOptions(rows=0))


def test_the_given_array_is_not_changed_or_shared():
    x = np.zeros((3, 2))
    data = from_arrays(x)
    x[:] = 7
    assert data.x.max() == 0
