import numpy as np
import pytest

from modelward.adapters.data import DataOptions, from_arrays, with_training_range
from modelward.errors import ShapeMismatch

TRAIN = "age,sex,flag,y\n20,M,0,0\n40,F,1,1\n60,M,1,0\n"


@pytest.fixture
def both(read):
    def give(test, train=TRAIN, **options):
        options = {"label": "y"} | options
        return read(test, name="test.csv", **options), read(train, name="train.csv", **options)

    return give


def test_eps_is_in_units_of_the_training_range(both):
    data, train = both("age,sex,flag,y\n30,M,0,0\n31,F,1,1\n")
    assert data.box.scale.tolist() == [1, 1, 1]
    aligned = with_training_range(data, train)
    assert aligned.box.scale.tolist() == [40, 1, 1]
    assert aligned.box.lower.tolist() == [20, 0, 0]
    assert aligned.box.upper.tolist() == [60, 1, 1]
    assert (aligned.box.unit, aligned.box.source) == ("training range", "training data")
    assert aligned.subject.digest == data.subject.digest
    assert aligned.subject.details["box"]["source"] == "training data"
    assert aligned.subject.details["training data"] == train.subject.digest
    assert data.subject.details["box"]["source"] == "inferred from the data"


def test_the_box_covers_samples_beyond_the_training_range(both):
    aligned = with_training_range(*both("age,sex,flag,y\n10,M,0,0\n99,F,1,1\n"))
    assert (aligned.box.lower[0], aligned.box.upper[0], aligned.box.scale[0]) == (10, 99, 40)
    assert (aligned.x >= aligned.box.lower).all()
    assert (aligned.x <= aligned.box.upper).all()


def test_categories_and_labels_get_the_indices_of_the_training_set(both):
    data, train = both("age,sex,flag,y\n30,D,0,2\n31,M,1,1\n", TRAIN)
    assert data.x[:, 1].tolist() == [0, 1]
    aligned = with_training_range(data, train)
    assert aligned.columns[1].categories == ("F", "M", "D")
    assert aligned.x[:, 1].tolist() == [2, 1]
    assert aligned.labels == ("0", "1", "2")
    assert aligned.y.tolist() == [2, 1]
    assert aligned.columns[1].upper == 2


def test_columns_come_in_the_training_order(both):
    aligned = with_training_range(*both("y,flag,sex,age\n0,0,M,30\n1,1,F,31\n", sensitive=("sex",)))
    assert [c.name for c in aligned.columns] == ["age", "sex", "flag"]
    assert aligned.x.tolist() == [[30, 1, 0], [31, 0, 1]]
    assert aligned.columns[1].sensitive
    assert aligned.groupings[0].levels == ("F", "M")


@pytest.mark.parametrize(
    ("train", "test", "kind"),
    [
        ("1.5", "2", "real"),
        ("1", "2.5", "real"),
        ("1", "0", "boolean"),
        ("5", "1", "integer"),
        ("1.5", "", "real"),
        ("1", "", "boolean"),
    ],
)
def test_the_more_general_kind_wins(read, train, test, kind):
    known = read(f"a,b\n{train},1\n{train},2\n", name="train.csv")
    data = read(f"a,b\n{test},1\n{test},2\n", name="test.csv")
    assert with_training_range(data, known).columns[0].kind == kind


def test_a_category_that_is_missing_everywhere(both):
    aligned = with_training_range(*both("age,sex,flag,y\n30,,0,0\n31,,1,1\n"))
    assert aligned.columns[1].categories == ("F", "M", "(missing)")
    assert aligned.x[:, 1].tolist() == [2, 2]


def test_words_of_a_boolean_and_a_third_word(read):
    train = read("a,b\nno,1\nyes,2\n", name="train.csv")
    data = read("a,b\nno,1\nmaybe,2\nyes,1\n", name="test.csv")
    aligned = with_training_range(data, train)
    assert aligned.columns[0].kind == "category"
    assert aligned.columns[0].categories == ("no", "yes", "maybe")
    assert aligned.x[:, 0].tolist() == [0, 2, 1]


def test_a_constant_training_column_is_not_frozen(read):
    train = read("a,b\n5,1\n5,2\n", name="train.csv")
    aligned = with_training_range(read("a,b\n5,1\n6,2\n", name="test.csv"), train)
    assert (aligned.box.scale[0], aligned.box.lower[0], aligned.box.upper[0]) == (5, 0, 10)


def test_a_stated_box_is_kept(both):
    data, train = both("age,sex,flag,y\n30,M,0,0\n31,F,1,1\n", bounds=(0.0, 100.0))
    aligned = with_training_range(data, train)
    assert aligned.box is data.box


def test_a_box_stated_for_the_training_set(read):
    train = read(TRAIN, name="train.csv", label="y", bounds=(0.0, 100.0))
    aligned = with_training_range(read(TRAIN, label="y"), train)
    assert aligned.box.scale.tolist() == [100, 100, 100]
    assert aligned.box.unit == "box width"


def test_images():
    train = from_arrays(np.array([[[-3.0, 4.0]], [[0.0, 1.0]]]), [0, 1])
    aligned = with_training_range(from_arrays(np.array([[[-1.0, 5.0]]]), [1]), train)
    assert (float(aligned.box.lower), float(aligned.box.upper), float(aligned.box.scale)) == (-3, 5, 7)
    assert aligned.labels == ("0", "1")
    assert aligned.y.tolist() == [1]


def test_without_labels():
    labelled, bare = from_arrays(np.eye(2), [3, 4]), from_arrays(np.eye(2))
    assert with_training_range(bare, labelled).y is None
    assert with_training_range(bare, labelled).labels == ("3", "4")
    assert with_training_range(labelled, bare).labels == ("3", "4")


def test_onehot_only_where_both_sets_agree(read):
    train = read("c_a,c_b,n\n1,0,1\n0,1,2\n", name="train.csv")
    good, bad = read("c_a,c_b,n\n1,0,5\n", name="good.csv"), read("c_a,c_b,n\n1,1,5\n", name="bad.csv")
    assert [c.onehot for c in with_training_range(good, train).columns] == ["c", "c", None]
    assert [c.onehot for c in with_training_range(bad, train).columns] == [None, None, None]


@pytest.mark.parametrize(
    ("test", "sentence"),
    [
        ("age,flag,y\n1,0,0\n", r"column 'sex' is in .*train\.csv but not in .*test\.csv"),
        ("age,sex,flag,more,y\n1,M,0,1,0\n", r"column 'more' is in .*test\.csv but not in .*train\.csv"),
        (
            "age,sex,flag,y\n1,5,0,0\n",
            "column 'sex' is of kind category in the training data, integer in the data",
        ),
        (
            "age,sex,flag,y\nold,M,0,0\n",
            "column 'age' is of kind integer in the training data, category in the data",
        ),
    ],
)
def test_refusals(both, test, sentence):
    with pytest.raises(ShapeMismatch, match=sentence):
        with_training_range(*both(test))


def test_shapes_must_agree():
    with pytest.raises(ShapeMismatch, match=r"samples of shape \(1, 2\) and data of shape \(1, 3\)"):
        with_training_range(from_arrays(np.zeros((2, 1, 2))), from_arrays(np.zeros((2, 1, 3))))
    with pytest.raises(ShapeMismatch, match="samples of shape"):
        with_training_range(from_arrays(np.zeros((2, 2))), from_arrays(np.zeros((2, 1, 2))))


def test_the_training_set_aligned_with_itself_only_changes_the_source():
    train = from_arrays(
        np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2, options=DataOptions()
    )
    aligned = with_training_range(train, train)
    np.testing.assert_array_equal(aligned.box.scale, train.box.scale)
    np.testing.assert_array_equal(aligned.x, train.x)
    assert aligned.columns == train.columns
