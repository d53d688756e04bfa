"""Each step of a pipeline, column by column, against the library's own transform; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.adapters.trees.build import Sum, Tree, assemble
from modelward.adapters.trees.inputs import Source, as_float32, plain, unchanged
from modelward.adapters.trees.pipelines import Columns, ordinal, rounded, through
from modelward.errors import FileDamaged, OperatorUnsupported
from modelward.numeric.forests import raw_scores

preprocessing = pytest.importorskip("sklearn.preprocessing")
impute = pytest.importorskip("sklearn.impute")
compose = pytest.importorskip("sklearn.compose")
pipeline = pytest.importorskip("sklearn.pipeline")


def fitted_on(seed=0, n=60):
    x = np.random.default_rng(seed).normal(size=(n, 3)) * [1.0, 50.0, 1e-3] + [0.0, 7.0, 2.0]
    x[:, 2] = x[0, 2]  # a column that never varies
    return x


STEPS = {
    "standard": preprocessing.StandardScaler,
    "standard without mean": lambda: preprocessing.StandardScaler(with_mean=False),
    "standard without scale": lambda: preprocessing.StandardScaler(with_std=False),
    "standard of nothing": lambda: preprocessing.StandardScaler(with_mean=False, with_std=False),
    "robust": preprocessing.RobustScaler,
    "robust without centre": lambda: preprocessing.RobustScaler(with_centering=False),
    "robust without scale": lambda: preprocessing.RobustScaler(with_scaling=False),
    "min-max": lambda: preprocessing.MinMaxScaler(feature_range=(-2, 5)),
    "clipped": lambda: preprocessing.MinMaxScaler(clip=True),
    "max-abs": preprocessing.MaxAbsScaler,
    "mean": impute.SimpleImputer,
    "constant": lambda: impute.SimpleImputer(strategy="constant", fill_value=-3.5),
    "identity": preprocessing.FunctionTransformer,
    "two": lambda: pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler()),
    "nested": lambda: pipeline.make_pipeline(
        pipeline.make_pipeline(preprocessing.StandardScaler(), impute.SimpleImputer(strategy="median")),
        "passthrough",
        preprocessing.MinMaxScaler(),
    ),
}


def images(columns, x):
    """What nodes behind the steps would see of each row."""
    found = []
    for source in columns.sources:
        own = x[:, source.feature]
        seen = source.step(own)
        found.append(np.where(np.isnan(own), source.missing, seen))
    return np.stack(found, axis=1)


@pytest.mark.parametrize("name", STEPS)
def test_steps_over_numbers(name):
    step = STEPS[name]()
    step.fit(fitted_on())
    x = fitted_on(1) * 3
    x[::5, 0] = np.nan
    x[::7, 2] = np.nan
    columns = through(Columns.of(3, None, {}), step)
    np.testing.assert_array_equal(images(columns, x), step.transform(x))
    assert [source.feature for source in columns.sources] == [0, 1, 2]


@pytest.mark.parametrize("name", [name for name in STEPS if name != "identity"])
def test_steps_leave_inputs_touched_and_nothing_else_does(name):
    step = STEPS[name]()
    step.fit(fitted_on())
    start = Columns.of(3, None, {})
    assert start.untouched
    assert through(start, preprocessing.FunctionTransformer().fit(fitted_on())).untouched
    assert not through(start, step).untouched
    assert not start.take([1, 0, 2]).untouched


CODES = np.array([[0.0, 3], [1, 3], [2, 7], [0, 9], [1, 7]])
ENCODERS = {
    "ordinal": preprocessing.OrdinalEncoder,
    "ordinal with unknown": lambda: preprocessing.OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-9, encoded_missing_value=-5
    ),
    "one-hot": lambda: preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    "one-hot without first": lambda: preprocessing.OneHotEncoder(
        handle_unknown="ignore", drop="first", sparse_output=False
    ),
    "one-hot of two": lambda: preprocessing.OneHotEncoder(
        handle_unknown="ignore", drop="if_binary", sparse_output=False
    ),
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("gaps", [False, True])
def test_encoders_of_numbers(name, gaps):
    train = CODES.copy()
    if gaps:
        train[2, 1] = np.nan
    step = ENCODERS[name]().fit(train)
    columns = through(Columns.of(2, None, {}), step)
    rows = train.copy()
    if name != "ordinal":  # codes that were never seen, and a missing value where there was none
        rows = np.concatenate([rows, [[0.0, 4.0], [2.0, 8.0], [np.nan, 3.0]]])
    with np.testing.suppress_warnings() as quiet:
        quiet.filter(UserWarning)
        np.testing.assert_array_equal(images(columns, rows), step.transform(rows))


def test_encoders_of_texts_use_the_codes_of_the_data():
    pandas = pytest.importorskip("pandas")
    texts = ("red", "green", "blue")
    frame = pandas.DataFrame({"n": [1.0, 2, 3, 4], "c": ["blue", "red", "green", "blue"]})
    step = compose.make_column_transformer(
        (preprocessing.OrdinalEncoder(), ["c"]), (preprocessing.StandardScaler(), ["n"])
    ).fit(frame)
    columns = through(Columns.of(2, ["n", "c"], {"c": texts}), step)
    coded = np.column_stack([frame["n"], [texts.index(t) for t in frame["c"]]])
    np.testing.assert_allclose(images(columns, coded), step.transform(frame))
    assert [source.feature for source in columns.sources] == [1, 0]


@pytest.mark.parametrize(
    "chosen", [[2, 0], [-1, 0], slice(0, 2), np.array([True, False, True]), slice(1, None)]
)
def test_columns_are_chosen_in_every_way(chosen):
    x = fitted_on()
    step = compose.ColumnTransformer(
        [("a", preprocessing.StandardScaler(), chosen), ("b", "drop", [1])], remainder="passthrough"
    ).fit(x)
    columns = through(Columns.of(3, None, {}), step)
    np.testing.assert_array_equal(images(columns, x), step.transform(x))


def test_what_cannot_be_taken_through_says_why():
    x = fitted_on()
    gone = x.copy()
    gone[:, 1] = np.nan
    plain_ = Columns.of(3, None, {})
    texts = Columns.of(2, ["a", "b"], {"a": ("x", "y")})
    for columns, step, match in [
        (plain_, preprocessing.PowerTransformer().fit(x), "PowerTransformer"),
        (plain_, preprocessing.FunctionTransformer(np.log1p).fit(np.abs(x)), "FunctionTransformer"),
        (plain_, impute.SimpleImputer(missing_values=0.0).fit(x), "other values than NaN"),
        (plain_, impute.SimpleImputer(add_indicator=True).fit(x), "indicator"),
        (texts, preprocessing.StandardScaler().fit(x[:, :2]), "applied to texts"),
        (Columns.of(2, None, {}), preprocessing.OneHotEncoder(min_frequency=2).fit(CODES), "rare"),
        (Columns.of(1, None, {}), preprocessing.OrdinalEncoder().fit([["a"], ["b"]]), "dictionary"),
        (Columns.of(1, None, {}), preprocessing.OrdinalEncoder().fit([[0.5], [1.0]]), "whole numbers"),
        (Columns.of(1, None, {}), preprocessing.OrdinalEncoder().fit([[0.0], [65536.0]]), "whole numbers"),
    ]:
        with pytest.raises(OperatorUnsupported, match=match):
            through(columns, step)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(0, 40), min_size=1, max_size=8, unique=True),
    unknown=st.sampled_from([-1.0, 99.0]),
)
def test_positions_in_a_list_of_codes(values, unknown):
    found = ordinal(Source(feature=0, step=unchanged), np.array([*values, np.nan]), unknown=unknown)
    assert found.codes == max(values) + 1
    codes = np.arange(60.0)
    expected = [float(values.index(c)) if c in values else unknown for c in range(60)]
    assert found.step(codes).tolist() == expected
    assert found.missing == len(values)
    assert found.other == unknown
    assert np.isnan(ordinal(Source(feature=0, step=unchanged), np.array(values), unknown=-1.0).missing)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-100, 100),
    fill=st.one_of(st.just(float("nan")), st.floats(-3, 3)),
)
def test_a_stump_behind_steps_decides_as_the_steps_and_the_stump(seed, scale, shift, fill):
    """Thresholds folded into the input's terms, on the images of numbers beside them and of missing values."""
    random = np.random.default_rng(seed)
    threshold, missing_left = float(random.normal()), bool(random.integers(2))

    def step(x):
        return as_float32((x - shift) / scale)

    seen = float(step(np.array([fill]))[0]) if not np.isnan(fill) else float("nan")
    source = Source(feature=1, step=step, missing=seen)
    stump = Tree(
        column=np.array([0, -1, -1]),
        threshold=np.array([threshold, 0, 0]),
        left=np.array([1, 1, 2]),
        right=np.array([2, 1, 2]),
        missing_left=np.array([missing_left, False, False]),
        value=np.array([[0, 0], [1.0, 0], [0, 1.0]]),
    )
    forest = assemble([stump], [source], Sum(base=np.zeros(2), link="softmax"), 2)
    edge = forest.threshold[0]
    x = np.array(
        [edge, np.nextafter(edge, np.inf), np.nextafter(edge, -np.inf), *random.normal(size=20) * scale]
    )
    image = step(x)
    raw = raw_scores(forest, np.column_stack([np.zeros(len(x)), x]))
    np.testing.assert_array_equal(raw[:, 0] == 1.0, image <= threshold)
    gap = raw_scores(forest, np.array([[0.0, np.nan]]))[0, 0] == 1.0
    assert gap == (missing_left if np.isnan(fill) else seen <= threshold)
    assert rounded(source, as_float32).missing == pytest.approx(seen, nan_ok=True)


def node(**changes):
    fine = {
        "column": np.array([0, -1, -1]),
        "threshold": np.array([0.5, 0, 0]),
        "left": np.array([1, 1, 2]),
        "right": np.array([2, 1, 2]),
        "missing_left": np.zeros(3, np.bool_),
        "value": np.array([[0, 0], [1.0, 0], [0, 1.0]]),
    }
    return Tree(**{**fine, **{name: np.asarray(value) for name, value in changes.items()}})


def test_trees_are_renumbered_and_what_no_path_reaches_is_dropped():
    loose = node(
        column=[0, -1, -1, 0],
        threshold=[0.5, 0, 0, 9],
        left=[2, 1, 2, 1],
        right=[1, 1, 2, 2],
        missing_left=[False] * 4,
        value=[[0, 0], [1.0, 0], [0, 1.0], [0, 0]],
    )
    forest = assemble([node(), loose], plain(1, unchanged), Sum(base=np.zeros(2), link="softmax"), 1)
    assert forest.roots.tolist() == [0, 3]
    assert len(forest.feature) == 6
    assert raw_scores(forest, np.array([[0.0], [1.0]])).tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"left": [3, 1, 2]}, "does not exist"),
        ({"left": [0, 1, 2]}, "does not exist"),
        ({"left": [2, 1, 2]}, "share a child"),
        ({"column": [0, 0, -1], "left": [1, 1, 2], "right": [2, 1, 2]}, "circle|share"),
        ({"threshold": [np.nan, 0, 0]}, "out of range"),
        ({"column": [4, -1, -1]}, "out of range"),
        ({"value": [[0, 0], [np.inf, 0], [0, 1.0]]}, "infinity"),
        ({"left": [1, 1]}, "different lengths"),
    ],
)
def test_nodes_that_form_no_tree(change, match):
    with pytest.raises(FileDamaged, match=match):
        assemble([node(**change)], plain(1, unchanged), Sum(base=np.zeros(2), link="softmax"), 1)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(2, 60))
def test_the_slack_covers_what_float32_sums_lose_in_any_order(seed, n):
    random = np.random.default_rng(seed)
    leaves = random.normal(size=n).astype(np.float32) * np.float32(10.0) ** random.integers(-3, 4, n)
    trees = [node(value=[[0, 0], [0, float(v)], [0, float(v)]]) for v in leaves.astype(np.float32)]
    forest = assemble(trees, plain(1, unchanged), Sum(base=np.zeros(2), link="softmax", unit=2.0**-24), 1)
    exact = float(np.sum(leaves.astype(np.longdouble)))
    for _ in range(5):
        total = np.float32(0)
        for value in random.permutation(leaves.astype(np.float32)):
            total = np.float32(total + value)
        assert abs(float(total) - exact) <= forest.slack


def test_whole_votes_and_single_trees_are_exact():
    votes = Sum(base=np.zeros(2), link="identity")
    assert assemble([node(), node()], plain(1, unchanged), votes, 1).slack == 0.0
    part = node(value=[[0, 0], [0.3, 0.7], [0.6, 0.4]])
    assert assemble([part], plain(1, unchanged), votes, 1).slack == 0.0
    assert assemble([part, part], plain(1, unchanged), votes, 1).slack > 0.0
    shifted = Sum(base=np.array([0.5, 0.0]), link="identity")
    assert assemble([part], plain(1, unchanged), shifted, 1).slack > 0.0
