import hashlib

import numpy as np
import pytest

from modelward.adapters.data import DataOptions, from_arrays, open_data
from modelward.adapters.data.arrays import digest_of
from modelward.core.canonical import canonical
from modelward.errors import ColumnMissing, InputError, ShapeMismatch


def image(dtype="f4", n=6, high=1.0):
    rng = np.random.default_rng(3)
    return (rng.random((n, 1, 4, 4)) * high).astype(dtype)


def test_table_of_numbers():
    x = np.array([[1, 0, 0.5, np.nan], [2, 1, 1.5, 3], [4, 0, 2.5, 3]])
    data = from_arrays(x, np.array([2, 0, 2]))
    assert [(c.name, c.kind, c.lower, c.upper, c.missing) for c in data.columns] == [
        ("x0", "integer", 1, 4, 0),
        ("x1", "boolean", 0, 1, 0),
        ("x2", "real", 0.5, 2.5, 0),
        ("x3", "integer", 3, 3, 1),
    ]
    assert (data.labels, data.y.tolist()) == (("0", "2"), [1, 0, 1])
    assert data.x.dtype == np.float64
    np.testing.assert_array_equal(data.x, x)
    np.testing.assert_array_equal(data.box.scale, [3, 1, 2, 3])
    assert data.subject.details["missing"] == {"x3": 1}


def test_signalling_nan_is_missing():
    x = np.array([[0x7F800001, 0x3F800000]], dtype="<u4").view("<f4")
    data = from_arrays(x)
    assert [c.missing for c in data.columns] == [1, 0]
    assert data.x[0, 1] == 1


def test_column_without_any_value():
    column = from_arrays(np.array([[np.nan, 1], [np.nan, 2]])).columns[0]
    assert (column.kind, column.lower, column.upper, column.missing) == ("real", 0, 0, 2)


def test_names_groups_and_onehot():
    x = np.array([[1, 0, 5], [0, 1, 6], [0, 1, 7]])
    data = from_arrays(
        x, columns=["c_a", "c_b", "n"], options=DataOptions(sensitive=("n",), immutable=("c_a",))
    )
    assert [c.onehot for c in data.columns] == ["c", "c", None]
    assert data.columns[0].immutable
    assert data.groupings[0].levels == ("5", "6", "7")


@pytest.mark.parametrize(
    ("x", "lower", "upper", "source"),
    [
        (image("u1", high=2), 0, 255, "inferred from the data"),
        (image("f4"), 0, 1, "inferred from the data"),
        (image("f8"), 0, 1, "inferred from the data"),
        (image("f2"), 0, 1, "inferred from the data"),
        (image("f4") > 0.5, 0, 1, "inferred from the data"),
        (np.array([[[-1.0, 3.0]], [[0.0, 2.0]]]), -1, 3, "inferred from the data"),
        (np.array([[[-7, 3]], [[0, 2]]]), -7, 3, "inferred from the data"),
        (np.full((2, 1, 1), 5.0), 0, 10, "inferred from the data"),
    ],
)
def test_image_box(x, lower, upper, source):
    data = from_arrays(x)
    assert data.columns == ()
    assert data.x.dtype == x.dtype
    assert (data.box.lower, data.box.upper, data.box.unit, data.box.source) == (
        lower,
        upper,
        "box width",
        source,
    )
    assert data.box.scale == (upper - lower if upper != 10 else 5)
    assert data.subject.details["shape"] == list(x.shape[1:])


def test_stated_image_box():
    data = from_arrays(image(), options=DataOptions(bounds=(-1.0, 1.0)))
    assert (data.box.lower, data.box.upper, data.box.scale, data.box.source) == (-1, 1, 2, "stated")
    with pytest.raises(InputError, match=r"outside the stated bounds 0 to 0\.5"):
        from_arrays(image(), options=DataOptions(bounds=(0.0, 0.5)))


def test_images_of_the_other_byte_order_become_native():
    data = from_arrays(image(">f4"))
    assert data.x.dtype == np.dtype("=f4")
    assert data.subject.digest == from_arrays(image("<f4")).subject.digest


def test_sample_of_many_images():
    x = np.arange(1000.0).reshape(1000, 1, 1)
    data = from_arrays(x, np.arange(1000) % 3, options=DataOptions(rows=50))
    assert (len(data), data.total) == (50, 1000)
    np.testing.assert_array_equal(data.x[:, 0, 0], data.rows)
    np.testing.assert_array_equal(data.y, data.rows % 3)
    assert data.box.upper == 999
    assert data.subject.details["classes"] == {"0": 334, "1": 333, "2": 333}


def test_digest_formula():
    x = np.array([[1.0, 2.0]], dtype="<f4")
    expected = hashlib.sha256(canonical({"dtype": "<f4", "shape": [1, 2]}) + x.tobytes()).hexdigest()
    assert digest_of(x) == "sha256:" + expected
    assert digest_of(np.asfortranarray(x)) == digest_of(x.astype(">f4")) == digest_of(x)
    assert digest_of(x.astype("f8")) != digest_of(x)


def test_digest_does_not_depend_on_parts(monkeypatch):
    x = np.asfortranarray(np.random.default_rng(0).normal(size=(100, 7)))
    whole = digest_of(x)
    monkeypatch.setattr("modelward.adapters.data.arrays._PART", 100)
    assert digest_of(x) == whole
    assert from_arrays(x).columns == from_arrays(np.ascontiguousarray(x)).columns


def test_npz_npy_and_live_have_one_digest(npz, npy_bytes, write):
    x, y = image(), np.arange(6)
    path = write("x.npy", npy_bytes(x))
    write("y.npy", npy_bytes(y))
    digests = {
        open_data(npz(x=x, y=y), DataOptions()).subject.digest,
        open_data(npz(True, x=x, y=y), DataOptions()).subject.digest,
        open_data(path.parent, DataOptions()).subject.digest,
        from_arrays(x, y).subject.digest,
    }
    assert len(digests) == 1
    assert from_arrays(x, y[::-1]).subject.digest not in digests


def test_array_box_equals_table_box_of_the_same_numbers(read):
    x = np.array([[1.5, 0, 3], [2.5, 1, 3]])
    table = read("x0,x1,x2\n1.5,0,3\n2.5,1,3\n")
    array = from_arrays(x)
    assert array.columns == table.columns
    np.testing.assert_array_equal(array.box.scale, table.box.scale)
    np.testing.assert_array_equal(array.x, table.x)


@pytest.mark.parametrize(
    ("x", "y", "error", "sentence"),
    [
        (np.zeros(3), None, ShapeMismatch, r"x has shape \(3,\), where"),
        (np.zeros((0, 3)), None, InputError, r"x has shape \(0, 3\), so it holds no values"),
        (np.zeros((3, 2, 0)), None, InputError, "so it holds no values"),
        (np.zeros((3, 2), complex), None, InputError, "x holds values of type complex128"),
        (np.zeros((3, 2)), np.zeros(2), ShapeMismatch, "x has 3 samples and y has 2 rows"),
        (np.zeros((3, 2)), np.zeros((3, 2)), ShapeMismatch, r"y has shape \(3, 2\), where one label per row"),
        (
            np.array([[1, np.inf]]),
            None,
            InputError,
            "column 'x1' holds an infinity or a number beyond 1e\\+300 in row 1",
        ),
        (np.array([[[0.0]], [[1e301]]]), None, InputError, "in row 2"),
        (
            np.array([[[0.0]], [[np.nan]]]),
            None,
            InputError,
            "holds an infinity, a NaN or a number beyond 1e\\+300 in row 2",
        ),
        (
            np.array([[[0.0]], [[-np.inf]]]),
            None,
            InputError,
            "holds an infinity, a NaN or a number beyond 1e\\+300 in row 2",
        ),
    ],
)
def test_refusals(x, y, error, sentence):
    with pytest.raises(error, match=sentence):
        from_arrays(x, y)


@pytest.mark.parametrize("row", [0, 7, 19])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refusals_in_every_part(monkeypatch, row, bad):
    monkeypatch.setattr("modelward.adapters.data.arrays._PART", 100)
    images = np.zeros((20, 1, 4))
    images[row, 0, 2] = bad
    with pytest.raises(InputError, match=f"in row {row + 1}$"):
        from_arrays(images)
    if np.isinf(bad):
        with pytest.raises(InputError, match=f"column 'x2' .* in row {row + 1}$"):
            from_arrays(images[:, 0])


def test_extremes_come_from_every_part(monkeypatch):
    monkeypatch.setattr("modelward.adapters.data.arrays._PART", 100)
    x = np.zeros((20, 4))
    x[3, 0], x[15, 0], x[9, 1], x[19, 2], x[0, 3] = -2, 5, 0.5, np.nan, np.nan
    columns = from_arrays(x).columns
    assert [(c.kind, c.lower, c.upper, c.missing) for c in columns] == [
        ("integer", -2, 5, 0),
        ("real", 0, 0.5, 0),
        ("boolean", 0, 0, 1),
        ("boolean", 0, 0, 1),
    ]
    box = from_arrays(x[:, None, :2]).box
    assert (float(box.lower), float(box.upper)) == (-2, 5)


def test_column_names_must_fit():
    with pytest.raises(ShapeMismatch, match="1 different column names for 2 columns of x"):
        from_arrays(np.zeros((2, 2)), columns=["a"])
    with pytest.raises(ShapeMismatch, match="1 different column names for 2 columns of x"):
        from_arrays(np.zeros((2, 2)), columns=["a", "a"])


def test_images_have_no_columns():
    with pytest.raises(ColumnMissing, match="the samples are not rows of a table"):
        from_arrays(image(), options=DataOptions(sensitive=("sex",)))


def test_progress(npz):
    calls = []
    open_data(npz(x=image(n=5)), DataOptions(), observe=lambda *call: calls.append(call))
    open_data(npz(x=np.zeros((7, 2))), DataOptions(), observe=lambda *call: calls.append(call))
    assert calls == [(5, 5), (7, 7)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_image_that_is_not_finite_is_one_sentence_in_any_precision(bad):
    for dtype in (np.float16, np.float32, np.float64):
        x = np.zeros((4, 1, 2, 2), dtype)
        x[2, 0, 1, 1] = bad
        with pytest.raises(InputError, match="row 3"):
            from_arrays(x, [0, 1, 0, 1])
