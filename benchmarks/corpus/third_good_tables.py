# ruff: noqa: E501, FURB171, ICN001, PLW0108 - tables of models
"""Estimators, boosters and frames as teams save them. Run by third_benign.py, in a new and in an older environment."""

import itertools
import pickle

import numpy as np
from third_put import NAME, SEED, jobbed, pickled, put, run

rng = np.random.default_rng(int(SEED) + 7)
X = np.abs(rng.normal(size=(90, 5))) + 0.1
Y = (X[:, 0] + X[:, 1] > np.median(X[:, 0] + X[:, 1])).astype(int)
R = X @ rng.normal(size=5)
FORMS = itertools.cycle(
    [
        ("pkl", 2),
        ("joblib", 0),
        ("pkl", 5),
        ("joblib.gz", ("gzip", 3)),
        ("pickle", 4),
        ("joblib", 3),
        ("pkl", 0),
        ("joblib.xz", ("xz", 1)),
        ("sav", 3),
        ("joblib.bz2", ("bz2", 2)),
        ("pkl", None),
        ("joblib.z", ("zlib", 5)),
        ("joblib.lzma", ("lzma", 1)),
        ("pkl.joblib", 0),
    ]
)


def save(name, value):
    """In the next of the usual forms."""
    suffix, how = next(FORMS)
    write = pickled(value, how) if suffix in ("pkl", "pickle", "sav") else jobbed(value, how)
    put("pickle", f"{NAME}: {name}", f"{name.split()[0].lower().strip(':')}.{suffix}", write)


def estimators():
    """Every estimator of the library, fitted where it fits these data, half of them inside a pipeline."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import all_estimators

    skip = 4 if NAME == "older" else 2
    for index, (name, kind) in enumerate(all_estimators()):
        if index % skip != 1 or name in ("OneVsOneClassifier",):
            continue
        try:
            model = kind()
            if "n_estimators" in model.get_params():
                model.set_params(n_estimators=7)
            wanted = R if getattr(model, "_estimator_type", "") == "regressor" else Y
            try:
                model.fit(X, wanted)
            except Exception:  # noqa: BLE001 - an estimator of texts or of several targets is saved as it is
                model = kind()
            save(
                f"{name}",
                make_pipeline(StandardScaler(), model).fit(X, wanted)
                if index % 6 == 1 and hasattr(model, "predict")
                else model,
            )
        except Exception:  # noqa: BLE001, S112 - one that needs arguments
            continue


def composed():
    from sklearn import (
        compose,
        ensemble,
        feature_extraction,
        feature_selection,
        gaussian_process,
        impute,
        linear_model,
        model_selection,
        multiclass,
        naive_bayes,
        neural_network,
        pipeline,
        preprocessing,
        svm,
        tree,
    )

    texts = ["good film", "bad film", "a good plot", "bad acting"] * 6
    marks = [1, 0, 1, 0] * 6
    save(
        "GridSearch of a forest",
        model_selection.GridSearchCV(ensemble.RandomForestClassifier(5), {"max_depth": [2, 4]}, cv=2).fit(
            X, Y
        ),
    )
    save(
        "RandomizedSearch of an SVM",
        model_selection.RandomizedSearchCV(svm.SVC(), {"C": [0.1, 1, 10]}, n_iter=2, cv=2).fit(X, Y),
    )
    save(
        "Texts by tf-idf",
        pipeline.make_pipeline(
            feature_extraction.text.TfidfVectorizer(ngram_range=(1, 2)), linear_model.LogisticRegression()
        ).fit(texts, marks),
    )
    save(
        "Texts by counts",
        pipeline.Pipeline(
            [
                ("vec", feature_extraction.text.CountVectorizer(stop_words="english")),
                ("nb", naive_bayes.MultinomialNB()),
            ]
        ).fit(texts, marks),
    )
    save(
        "Texts by hashing",
        pipeline.make_pipeline(
            feature_extraction.text.HashingVectorizer(n_features=64),
            linear_model.SGDClassifier(loss="log_loss"),
        ).fit(texts, marks),
    )
    save(
        "Columns",
        pipeline.make_pipeline(
            compose.ColumnTransformer(
                [("n", preprocessing.RobustScaler(), [0, 1]), ("k", preprocessing.KBinsDiscretizer(3), [2])],
                remainder="passthrough",
            ),
            ensemble.GradientBoostingClassifier(n_estimators=5),
        ).fit(X, Y),
    )
    save(
        "Union",
        pipeline.make_union(preprocessing.PolynomialFeatures(2), feature_selection.SelectKBest(k=2)).fit(
            X, Y
        ),
    )
    save(
        "Stacking",
        ensemble.StackingClassifier(
            [("t", tree.DecisionTreeClassifier(max_depth=3)), ("l", linear_model.LogisticRegression())], cv=2
        ).fit(X, Y),
    )
    save(
        "Voting",
        ensemble.VotingRegressor(
            [("t", tree.DecisionTreeRegressor(max_depth=3)), ("l", linear_model.Ridge())]
        ).fit(X, R),
    )
    save(
        "Kernel of a process",
        gaussian_process.GaussianProcessRegressor(
            gaussian_process.kernels.RBF() + gaussian_process.kernels.WhiteKernel()
        ).fit(X[:20], R[:20]),
    )
    save(
        "FunctionTransformer of log1p",
        pipeline.make_pipeline(preprocessing.FunctionTransformer(np.log1p), linear_model.Lasso()).fit(X, R),
    )
    save(
        "Perceptron of layers",
        neural_network.MLPClassifier((8, 4), max_iter=20, early_stopping=True).fit(X, Y),
    )
    save(
        "Rest against one", multiclass.OneVsRestClassifier(svm.LinearSVC()).fit(X, (X[:, 2] * 3).astype(int))
    )
    save(
        "Imputer and forest",
        pipeline.make_pipeline(impute.SimpleImputer(strategy="median"), ensemble.ExtraTreesRegressor(9)).fit(
            X, R
        ),
    )
    save("Forest of sixty", ensemble.RandomForestRegressor(60, oob_score=True).fit(X, R))
    save("Boosting by histograms", ensemble.HistGradientBoostingClassifier(max_iter=12).fit(X, Y))
    save(
        "dictionary of models",
        {
            "model": linear_model.LogisticRegression().fit(X, Y),
            "scaler": preprocessing.StandardScaler().fit(X),
            "columns": list("abcde"),
            "threshold": 0.41,
        },
    )
    save("list of folds", [linear_model.Ridge(a).fit(X, R) for a in (0.1, 1.0, 10.0)])
    save("label encoder alone", preprocessing.LabelEncoder().fit(["cat", "dog", "bird"]))
    save("bunch of data", __import__("sklearn.datasets", fromlist=["load_iris"]).load_iris())


def boosters():
    import xgboost as xgb

    data = xgb.DMatrix(X, Y, feature_names=list("abcde"))
    booster = xgb.train({"objective": "binary:logistic", "max_depth": 3}, data, 6)
    for suffix in ("json", "ubj", *(["model", "bin"] if NAME == "older" else [])):
        put(
            "other",
            f"{NAME}: xgboost booster {suffix}",
            f"model.{suffix}",
            lambda path: booster.save_model(str(path)),
        )
    save("XGBBooster", booster)
    kinds = {
        "classifier": (xgb.XGBClassifier, Y),
        "regressor": (xgb.XGBRegressor, R),
        "forest": (xgb.XGBRFClassifier, Y),
        "ranker": (xgb.XGBRanker, (R * 2).astype(int) - int(R.min() * 2) + 1),
    }
    for index, (name, (kind, target)) in enumerate(kinds.items()):
        more = {"qid": np.repeat([0, 1, 2], 30)} if name == "ranker" else {}
        model = kind(n_estimators=3 + index, max_depth=2 + index).fit(X, target, **more)
        save(f"xgboost-{name}", model)
        put(
            "other",
            f"{NAME}: xgboost {name} json",
            f"xgb_{name}.json",
            lambda path, model=model: model.save_model(str(path)),
        )
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    save(
        "xgboost-pipeline",
        make_pipeline(MinMaxScaler(), xgb.XGBClassifier(n_estimators=4, booster="dart")).fit(X, Y),
    )
    save("xgboost-linear", xgb.XGBRegressor(n_estimators=4, booster="gblinear").fit(X, R))
    put("other", f"{NAME}: xgboost dump", "dump.txt", lambda path: booster.dump_model(str(path)))


def lights():
    import lightgbm as lgb

    quiet = {"verbose": -1, "min_child_samples": 5}
    booster = lgb.train({"objective": "binary", **quiet}, lgb.Dataset(X, Y), 5)
    put("other", f"{NAME}: lightgbm text", "model.txt", lambda path: booster.save_model(str(path)))
    put(
        "other",
        f"{NAME}: lightgbm json",
        "lgbm.json",
        lambda path: path.write_text(__import__("json").dumps(booster.dump_model())),
    )
    save("lightgbm-booster", booster)
    for name, kind, target in (("classifier", lgb.LGBMClassifier, Y), ("regressor", lgb.LGBMRegressor, R)):
        for boosting in ("gbdt", "dart", "rf")[: 2 if NAME == "older" else 3]:
            more = {"bagging_freq": 1, "bagging_fraction": 0.7} if boosting == "rf" else {}
            save(
                f"lightgbm-{name} {boosting}",
                kind(n_estimators=5, boosting_type=boosting, **quiet, **more).fit(X, target),
            )


def cats():
    import catboost

    model = catboost.CatBoostClassifier(iterations=5, depth=3, verbose=0, allow_writing_files=False).fit(X, Y)
    other = catboost.CatBoostRegressor(iterations=4, verbose=0, allow_writing_files=False).fit(X, R)
    for kind in ("cbm", "json", "onnx", "cpp"):
        put(
            "other",
            f"{NAME}: catboost {kind}",
            f"model.{kind}",
            lambda path, kind=kind: model.save_model(str(path), format=kind),
        )
    save("catboost-classifier", model)
    save("catboost-regressor", other)


def arrays():
    values = {
        "float32": X.astype("f4"),
        "int64": np.arange(50),
        "bool": X > 1,
        "complex": X[:3] * 1j,
        "text": np.array(["a", "bcd"]),
        "dates": np.array(["2024-01-01"], "M8[D]"),
        "fields": np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
    }
    for name, value in values.items():
        put(
            "pickle",
            f"{NAME}: numpy npy {name}",
            f"{name}.npy",
            lambda path, value=value: np.save(path, value),
        )
    put(
        "pickle",
        f"{NAME}: numpy npy of objects",
        "objects.npy",
        lambda path: np.save(path, np.array([{"a": 1}, [1, 2], None], object), allow_pickle=True),
    )
    put(
        "pickle",
        f"{NAME}: numpy npz",
        "embeddings.npz",
        lambda path: np.savez(path, ids=np.arange(9), vectors=X),
    )
    put(
        "pickle",
        f"{NAME}: numpy npz compressed",
        "features.npz",
        lambda path: np.savez_compressed(path, x=X, y=Y, names=np.array(list("abcde"), object)),
    )
    save("numpy array", X)
    save(
        "numpy dictionary",
        {"a": X[:4], "b": np.float64(3), "c": np.random.RandomState(3), "m": np.ma.masked_less(X[:3], 1)},
    )
    save("numpy generator", np.random.default_rng(3))


def frames():
    import pandas as pd

    frame = pd.DataFrame(
        {
            "id": range(8),
            "name": list("abcdefgh"),
            "when": pd.date_range("2024-01-01", periods=8),
            "kind": pd.Categorical(list("xyxyxyxy")),
            "score": X[:8, 0],
        }
    )
    for suffix in ("pkl", "pkl.gz", "pkl.xz", "pkl.zip", "pkl.bz2"):
        put("pickle", f"{NAME}: pandas frame {suffix}", f"frame.{suffix}", lambda path: frame.to_pickle(path))
    save("pandas series with intervals", pd.cut(frame.score, 3))
    save("pandas multi-index", frame.set_index(["id", "name"]))
    save(
        "pandas groups",
        {
            "stats": frame.groupby("kind", observed=True).score.agg(["mean", "max"]),
            "sparse": pd.Series([0, 0, 1]).astype(pd.SparseDtype("int64", 0)),
            "nullable": pd.array([1, None], dtype="Int64"),
            "period": pd.period_range("2024-01", periods=3, freq="M"),
        },
    )
    put("other", f"{NAME}: pandas csv", "train.csv", lambda path: frame.to_csv(path))
    put(
        "other",
        f"{NAME}: pandas json lines",
        "train.jsonl",
        lambda path: frame.to_json(path, orient="records", lines=True),
    )
    if NAME != "older":
        import scipy.sparse

        put(
            "pickle",
            f"{NAME}: scipy sparse npz",
            "tfidf.npz",
            lambda path: scipy.sparse.save_npz(path, scipy.sparse.csr_matrix(X > 1)),
        )
        save(
            "scipy matrices",
            {
                "csr": scipy.sparse.csr_matrix(X),
                "coo": scipy.sparse.coo_matrix(X[:5]),
                "tree": __import__("scipy.spatial").spatial.cKDTree(X),
            },
        )


def others():
    import skops.io as sio
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for name, model in {
        "forest": RandomForestClassifier(4),
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
        "linear": LogisticRegression(C=3),
    }.items():
        put(
            "other",
            f"{NAME}: skops {name}",
            f"{name}.skops",
            lambda path, model=model: sio.dump(model.fit(X, Y), path),
        )
    put(
        "other",
        f"{NAME}: skops arrays",
        "arrays.skops",
        lambda path: sio.dump({"x": X, "labels": ["a", "b"]}, path),
    )


def models():
    import statsmodels.api as sm

    save("statsmodels-ols", sm.OLS(R, sm.add_constant(X)).fit())
    save("statsmodels-logit", sm.Logit(Y, X[:, 2:]).fit(disp=0))
    save(
        "statsmodels-glm",
        sm.GLM(
            np.abs(R) + 1,
            X,
            family=sm.families.Gamma(sm.families.links.Log() if hasattr(sm.families.links, "Log") else None),
        ).fit(),
    )
    from statsmodels.tsa.arima.model import ARIMA

    put(
        "pickle",
        f"{NAME}: statsmodels ARIMA",
        "arima.pkl",
        lambda path: ARIMA(R, order=(1, 0, 1)).fit().save(str(path)),
    )
    import pandas as pd
    import statsmodels.formula.api as smf

    frame = pd.DataFrame({"y": R, "a": X[:, 0], "b": X[:, 1]})
    save("statsmodels-formula", smf.ols("y ~ a + b", frame).fit())


def plain():
    """What teams pickle beside the model."""
    import collections
    import datetime
    import decimal
    import pathlib

    save("vocabulary", {f"token{i}": i for i in range(4000)})
    save("counter", collections.Counter(["the", "quick", "brown", "fox"]))
    save("ordered", collections.OrderedDict(a=1, b=[2, 3]))
    save(
        "configuration",
        {
            "lr": 1e-3,
            "when": datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC),
            "path": pathlib.PurePosixPath("data/x"),
            "fee": decimal.Decimal("1.20"),
        },
    )
    save("nested-lists", [[(i, str(i), [i / 3]) for i in range(50)] for _ in range(10)])
    save("bytes and sets", {"raw": b"\x00\x01" * 300, "stop": {"a", "the"}, "frozen": frozenset([1, 2])})
    put(
        "pickle",
        f"{NAME}: several streams",
        "log.pkl",
        lambda path: path.write_bytes(
            b"".join(pickle.dumps({"step": i, "loss": 1 / (i + 1)}) for i in range(30))
        ),
    )


if __name__ == "__main__":
    run(estimators, composed, boosters, lights, cats, arrays, frames, others, models, plain)
