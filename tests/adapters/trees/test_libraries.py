"""Every library's real models: trees that answer bit for bit as the library decides, or a sentence."""

from __future__ import annotations

import numpy as np
import pytest

from modelward.adapters.opening import ModelOptions, open_file
from modelward.adapters.trees import estimators, lightgbm_trees, xgboost_trees
from modelward.adapters.trees.faithful import linked
from modelward.core.model import TreeEnsemble
from modelward.errors import OperatorUnsupported
from modelward.numeric.forests import raw_scores

ensemble = pytest.importorskip("sklearn.ensemble")
pipeline = pytest.importorskip("sklearn.pipeline")
preprocessing = pytest.importorskip("sklearn.preprocessing")
SEED = {"random_state": 0}


def _estimators():
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, OneHotEncoder, OrdinalEncoder, RobustScaler
    from sklearn.preprocessing import StandardScaler as Standard
    from sklearn.tree import DecisionTreeClassifier

    forest, boost = ensemble.RandomForestClassifier, ensemble.GradientBoostingClassifier
    binned = ensemble.HistGradientBoostingClassifier
    onehot = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", drop="first"), [3]),
        (Standard(), [0, 1]),
        remainder="passthrough",
    )
    ordinal = make_column_transformer((OrdinalEncoder(), [3]), remainder="passthrough")
    chain = pipeline.make_pipeline
    small = {"max_depth": 4, **SEED}
    return {
        "tree": (DecisionTreeClassifier(**small), True),
        "forest": (forest(12, **small), False),
        "forest with gaps": (forest(8, **SEED), True),
        "extra": (ensemble.ExtraTreesClassifier(12, **small), False),
        "boosting": (boost(n_estimators=8, **SEED), False),
        "histogram": (binned(max_iter=8), True),
        "histogram of codes": (binned(max_iter=8, categorical_features=[3]), True),
        "imputed": (chain(SimpleImputer(), Standard(), forest(8, **small)), True),
        "min-max": (chain(MinMaxScaler(clip=True), boost(n_estimators=5, **SEED)), False),
        "robust": (chain(RobustScaler(), binned(max_iter=5)), True),
        "max-abs": (chain(MaxAbsScaler(), "passthrough", forest(5, **small)), False),
        "one-hot": (chain(onehot, forest(8, **small)), False),
        "ordinal": (chain(ordinal, binned(max_iter=5)), False),
    }


def _boosters():
    found = {}
    try:
        from xgboost import XGBClassifier, XGBRFClassifier

        found["xgboost"] = (XGBClassifier(n_estimators=8, max_depth=3, n_jobs=1), True)
        found["xgboost dart"] = (XGBClassifier(n_estimators=8, booster="dart", rate_drop=0.3, n_jobs=1), True)
        found["xgboost forest"] = (XGBRFClassifier(n_estimators=8, max_depth=3, n_jobs=1), True)
    except ImportError:
        pass
    try:
        from lightgbm import LGBMClassifier

        common = {"n_estimators": 8, "num_leaves": 8, "verbose": -1, "n_jobs": 1}
        found["lightgbm"] = (LGBMClassifier(**common), True)
        bagged = {"boosting_type": "rf", "subsample": 0.7, "subsample_freq": 1}
        found["lightgbm forest"] = (LGBMClassifier(**common, **bagged), True)
        found["lightgbm per class"] = (LGBMClassifier(**common, objective="multiclassova"), True)
    except ImportError:
        pass
    try:
        from catboost import CatBoostClassifier

        common = {"verbose": 0, "allow_writing_files": False, "thread_count": 1}
        found["catboost"] = (CatBoostClassifier(iterations=8, depth=3, **common), True)
    except ImportError:
        pass
    return found


MODELS = {**_estimators(), **_boosters()}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_trees_answer_as_the_library(live, table, gaps, name, classes):
    model, missing = MODELS[name]
    if (name, classes) == ("lightgbm per class", 2):
        pytest.skip("two classes need no score each")
    x, y = (gaps if missing else table[0]), table[classes - 1]
    model.fit(x, y)
    found = live(model, x, y)
    assert isinstance(found.model, TreeEnsemble), found.absent
    forest = found.model.forest()
    raw = raw_scores(forest, found.data.x)
    seen = found.model.scores(found.data.x)
    np.testing.assert_array_equal(raw.argmax(axis=1), seen.argmax(axis=1))
    np.testing.assert_allclose(linked(raw, forest, "probabilities"), seen, atol=2e-6)
    assert forest.slack < 1e-3


def test_early_stopping_counts(live, table):
    XGBClassifier = pytest.importorskip("xgboost").XGBClassifier
    x, y, _ = table
    noise = np.random.default_rng(1).permutation(y)
    model = XGBClassifier(n_estimators=60, early_stopping_rounds=2, n_jobs=1)
    model.fit(x[:200], noise[:200], eval_set=[(x[200:], noise[200:])], verbose=False)
    assert model.best_iteration < 50
    found = live(model, x, y)
    assert len(found.model.forest().roots) == model.best_iteration + 1


def test_categories_of_xgboost_and_lightgbm(table):
    xgboost, lightgbm = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    x, y, three = table
    rows = x.copy()
    rows[:, 3] = np.random.default_rng(5).integers(0, 9, len(x))  # codes that were never seen as well
    rows[::7, 3] = np.nan
    matrix = xgboost.DMatrix(x, three, feature_types=["q", "q", "q", "c", "q"], enable_categorical=True)
    for limit in (1, 50):
        options = {"objective": "multi:softprob", "num_class": 3, "max_cat_to_onehot": limit, "nthread": 1}
        booster = xgboost.train(options, matrix, 6)
        forest = xgboost_trees.read(bytes(booster.save_raw("json")))
        assert (forest.subset >= 0).any()
        asked = xgboost.DMatrix(rows, feature_types=["q", "q", "q", "c", "q"], enable_categorical=True)
        np.testing.assert_allclose(
            linked(raw_scores(forest, rows), forest, "probabilities"), booster.predict(asked), atol=1e-6
        )
    options = {"objective": "binary", "num_leaves": 8, "verbose": -1, "min_data_in_leaf": 5, "num_threads": 1}
    options |= {"min_data_per_group": 5, "cat_smooth": 1.0}
    booster = lightgbm.train(options, lightgbm.Dataset(x, y, categorical_feature=[3]), 6)
    forest = lightgbm_trees.read(booster.model_to_string())
    assert (forest.subset >= 0).any()
    probability = linked(raw_scores(forest, rows), forest, "probabilities")[:, 1]
    np.testing.assert_allclose(probability, booster.predict(rows), atol=1e-12)


def test_thresholds_are_exact_to_the_last_bit(table):
    """On a threshold, and one number beside it, in float64: where rounding to float32 decides."""
    xgboost = pytest.importorskip("xgboost")
    x, y, _ = table
    booster = xgboost.train(
        {"objective": "binary:logitraw", "max_depth": 3, "nthread": 1}, xgboost.DMatrix(x, y), 5
    )
    forest = xgboost_trees.read(bytes(booster.save_raw("json")))
    for node in np.flatnonzero(forest.feature >= 0):
        rows = np.repeat(x[:1], 4, axis=0)
        edge = forest.threshold[node]
        assert edge != np.float64(np.float32(edge))  # half way between two numbers of float32
        rows[:, forest.feature[node]] = [
            np.nextafter(edge, -9),
            edge,
            np.nextafter(edge, 9),
            np.float32(edge),
        ]
        raw = raw_scores(forest, rows)
        np.testing.assert_allclose(raw[:, 1] - raw[:, 0], booster.predict(xgboost.DMatrix(rows)), atol=1e-6)


def test_files_and_the_sandbox(tmp_path, table):
    joblib, xgboost = pytest.importorskip("joblib"), pytest.importorskip("xgboost")
    from modelward.adapters.data import DataOptions, from_arrays
    from modelward.adapters.examine import examine

    x, y, _ = table
    forest = ensemble.RandomForestClassifier(6, max_depth=4, **SEED).fit(x, y)
    joblib.dump(forest, tmp_path / "forest.joblib")
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(x, y), 4)
    booster.save_model(tmp_path / "booster.json")
    booster.save_model(tmp_path / "booster.ubj")
    expected = {
        "forest.joblib": estimators.read(forest, {}),
        "booster.json": xgboost_trees.read(bytes(booster.save_raw("json"))),
    }
    expected["booster.ubj"] = expected["booster.json"]
    for name, trees in expected.items():
        data = from_arrays(x, y, name="t", options=DataOptions())
        found = open_file(tmp_path / name, examine(tmp_path / name), data, None, ModelOptions())
        assert isinstance(found.model, TreeEnsemble), found.absent
        got = found.model.forest()
        for part in ("roots", "feature", "threshold", "left", "right", "missing_left", "value", "base"):
            np.testing.assert_array_equal(getattr(got, part), getattr(trees, part))


def test_onnx(tmp_path, table):
    convert = pytest.importorskip("skl2onnx")
    from modelward.adapters.data import DataOptions, from_arrays
    from modelward.adapters.examine import examine

    x, two, three = table
    x = x.astype(np.float32).astype(np.float64)
    for y in (two, three):
        for model in (
            ensemble.RandomForestClassifier(6, max_depth=4, **SEED),
            ensemble.GradientBoostingClassifier(n_estimators=5, **SEED),
        ):
            graph = convert.to_onnx(model.fit(x, y), x[:1].astype(np.float32), options={"zipmap": False})
            (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())
            data = from_arrays(x, y, name="t", options=DataOptions())
            options = ModelOptions(gradients=False)
            found = open_file(tmp_path / "m.onnx", examine(tmp_path / "m.onnx"), data, None, options)
            assert isinstance(found.model, TreeEnsemble), found.absent


def test_what_is_not_read_says_so(live, table):
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    x, y, _ = table
    forest = ensemble.RandomForestClassifier(4, **SEED)
    for model, match in [
        (LogisticRegression(), "LogisticRegression is none"),
        (pipeline.make_pipeline(PCA(3), forest), "step PCA"),
        (ensemble.GradientBoostingClassifier(n_estimators=2, init=forest), "on top of another model"),
        (ensemble.AdaBoostClassifier(n_estimators=2), "AdaBoostClassifier is none"),
    ]:
        found = live(model.fit(x, y), x, y)
        assert not isinstance(found.model, TreeEnsemble)
        assert match in found.absent["trees"]
    assert (
        "none that are read"
        in live(lambda rows: np.eye(2)[(rows[:, 0] > 0).astype(int)], x, y).absent["trees"]
    )


def test_lightgbm_refusals(table):
    lightgbm = pytest.importorskip("lightgbm")
    x, y, _ = table
    options = {"objective": "binary", "verbose": -1, "num_leaves": 6, "num_threads": 1}
    linear = lightgbm.train({**options, "linear_tree": True}, lightgbm.Dataset(x, y), 3)
    with pytest.raises(OperatorUnsupported, match="linear_tree"):
        lightgbm_trees.read(linear.model_to_string())
    zeros = np.where(np.abs(x) < 0.4, 0.0, x)
    marked = {**options, "zero_as_missing": True, "min_data_in_leaf": 3, "num_leaves": 30}
    booster = lightgbm.train(marked, lightgbm.Dataset(zeros, y, params=marked), 20)
    with pytest.raises(OperatorUnsupported, match="zero_as_missing"):
        lightgbm_trees.read(booster.model_to_string())
