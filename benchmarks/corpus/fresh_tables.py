# ruff: noqa: E501, PLW0108, SIM115, SIM905 - calls of many libraries, as their own documents show them
"""Writes tabular, text and time-series models with real libraries. Run by fresh_benign.py: NAME FOLDER SEED."""

import gzip
import pickle

from fresh_put import SEED, add

CITIES = ("Paris", "Lyon", "Lille", "Nice")
WORDS = "free win prize call now urgent hello meeting report lunch friday thanks code model data paper review order invoice".split()


def table():
    import numpy as np
    import pandas as pd

    draw = np.random.default_rng(int(SEED))
    n = 120
    frame = pd.DataFrame(
        {
            "age": draw.integers(18, 80, n).astype(float),
            "income": draw.lognormal(10, 0.5, n),
            "city": draw.choice(CITIES, n),
            "member": draw.choice(["yes", "no"], n),
            "visits": draw.poisson(3, n),
        }
    )
    frame.loc[::17, "age"] = np.nan
    y = (frame["income"] > frame["income"].median()).astype(int)
    return frame, y


def sentences():
    import numpy as np

    draw = np.random.default_rng(int(SEED) + 1)
    return [" ".join(draw.choice(WORDS, 8)) for _ in range(90)], draw.integers(0, 2, 90)


def put(name, model, index):
    """In the formats that users choose, one after the other."""
    import joblib

    formats = (
        ("model.pkl", lambda path: path.write_bytes(pickle.dumps(model))),
        ("model.joblib", lambda path: joblib.dump(model, path)),
        ("model.pickle", lambda path: path.write_bytes(pickle.dumps(model, 2))),
        ("model.joblib", lambda path: joblib.dump(model, path, compress=3)),
        ("model.pkl.gz", lambda path: joblib.dump(model, path, compress=("gzip", 3))),
        ("finalized_model.sav", lambda path: path.write_bytes(pickle.dumps(model, pickle.HIGHEST_PROTOCOL))),
        ("model.joblib.xz", lambda path: joblib.dump(model, path, compress=("xz", 3))),
        ("model.pkl.bz2", lambda path: joblib.dump(model, path, compress=("bz2", 3))),
        ("pipeline.pkl", lambda path: gzip.open(path, "wb").write(pickle.dumps(model))),
        (
            "model.joblib",
            lambda path: joblib.dump(
                {"model": model, "features": ["age", "income"], "threshold": 0.5}, path, compress=("lzma", 1)
            ),
        ),
    )
    file, write = formats[index % len(formats)]
    add("pickle", name, file, write)


def models():
    """Name and a fitted model, as tutorials and projects build them."""
    import numpy as np
    import scipy.stats as st
    from sklearn import (
        cluster,
        compose,
        decomposition,
        ensemble,
        feature_extraction,
        feature_selection,
        gaussian_process,
        impute,
        isotonic,
        linear_model,
        model_selection,
        multiclass,
        naive_bayes,
        neighbors,
        neural_network,
        pipeline,
        preprocessing,
        svm,
        tree,
    )
    from sklearn.calibration import CalibratedClassifierCV

    x, y = table()
    numbers, words = ["age", "income", "visits"], ["city", "member"]
    z = np.nan_to_num(x[numbers].to_numpy())
    texts, label = sentences()
    numeric = pipeline.Pipeline(
        [("impute", impute.SimpleImputer(strategy="median")), ("scale", preprocessing.StandardScaler())]
    )
    columns = compose.ColumnTransformer(
        [("num", numeric, numbers), ("cat", preprocessing.OneHotEncoder(handle_unknown="ignore"), words)]
    )
    text = feature_extraction.text
    yield (
        "columns, logistic regression",
        pipeline.Pipeline([("prep", columns), ("clf", linear_model.LogisticRegression(max_iter=300))]).fit(
            x, y
        ),
    )
    grid = {"clf__n_estimators": [3, 5], "clf__max_depth": [2, None]}
    yield (
        "grid search, forest",
        model_selection.GridSearchCV(
            pipeline.Pipeline([("prep", columns), ("clf", ensemble.RandomForestClassifier(random_state=0))]),
            grid,
            cv=3,
            scoring="roc_auc",
        ).fit(x, y),
    )
    yield (
        "random search, boosting",
        model_selection.RandomizedSearchCV(
            ensemble.GradientBoostingRegressor(n_estimators=4),
            {"learning_rate": st.loguniform(0.01, 1), "max_depth": st.randint(1, 4)},
            n_iter=3,
            cv=2,
            random_state=0,
        ).fit(z, z[:, 1]),
    )
    yield "calibrated support vectors", CalibratedClassifierCV(svm.SVC(), cv=3).fit(z, y)
    yield (
        "tf-idf, naive Bayes",
        pipeline.make_pipeline(
            text.TfidfVectorizer(ngram_range=(1, 2), stop_words="english"), naive_bayes.MultinomialNB()
        ).fit(texts, label),
    )
    yield (
        "tf-idf, SVD, SGD",
        pipeline.make_pipeline(
            text.TfidfVectorizer(sublinear_tf=True),
            decomposition.TruncatedSVD(5),
            linear_model.SGDClassifier(
                loss="log_loss" if hasattr(linear_model, "QuantileRegressor") else "log"
            ),
        ).fit(texts, label),
    )
    yield (
        "counts, topics",
        pipeline.make_pipeline(
            text.CountVectorizer(max_features=50), decomposition.LatentDirichletAllocation(3, max_iter=2)
        ).fit(texts),
    )
    yield (
        "hashing, passive aggressive",
        pipeline.make_pipeline(text.HashingVectorizer(n_features=256), linear_model.Perceptron()).fit(
            texts, label
        ),
    )
    yield "histogram boosting", ensemble.HistGradientBoostingClassifier(max_iter=8).fit(z, y)
    yield (
        "stacking",
        ensemble.StackingClassifier(
            [("rf", ensemble.RandomForestClassifier(4)), ("knn", neighbors.KNeighborsClassifier())],
            linear_model.LogisticRegression(),
        ).fit(z, y),
    )
    yield (
        "voting",
        ensemble.VotingRegressor(
            [("a", linear_model.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=3))]
        ).fit(z, z[:, 1]),
    )
    yield (
        "union of features",
        pipeline.make_pipeline(
            preprocessing.StandardScaler(),
            pipeline.FeatureUnion(
                [
                    ("pca", decomposition.PCA(2)),
                    ("best", feature_selection.SelectKBest(feature_selection.f_classif, k=1)),
                ]
            ),
            linear_model.LogisticRegression(),
        ).fit(z, y),
    )
    yield (
        "target in logarithms",
        compose.TransformedTargetRegressor(
            linear_model.LinearRegression(), func=np.log1p, inverse_func=np.expm1
        ).fit(z, z[:, 1]),
    )
    yield (
        "function of numpy",
        pipeline.make_pipeline(
            preprocessing.FunctionTransformer(np.log1p),
            preprocessing.PolynomialFeatures(2),
            linear_model.Lasso(),
        ).fit(np.abs(z), z[:, 1]),
    )
    yield "clusters", pipeline.make_pipeline(preprocessing.RobustScaler(), cluster.KMeans(3, n_init=2)).fit(z)
    yield "isolation forest", ensemble.IsolationForest(n_estimators=10).fit(z)
    yield (
        "Gaussian process",
        gaussian_process.GaussianProcessRegressor(
            gaussian_process.kernels.RBF() + gaussian_process.kernels.WhiteKernel()
        ).fit(z[:30], z[:30, 0]),
    )
    yield "neighbours, ball tree", neighbors.NearestNeighbors(algorithm="ball_tree").fit(z)
    yield "density, kd-tree", neighbors.KernelDensity().fit(z)
    yield (
        "one against the rest",
        multiclass.OneVsRestClassifier(svm.LinearSVC()).fit(z, x["visits"].clip(0, 2)),
    )
    yield (
        "perceptron",
        pipeline.make_pipeline(
            preprocessing.MinMaxScaler(), neural_network.MLPClassifier((5,), max_iter=5, early_stopping=True)
        ).fit(z, y),
    )
    yield (
        "quantiles, iterative trees",
        pipeline.make_pipeline(
            preprocessing.QuantileTransformer(n_quantiles=10),
            preprocessing.KBinsDiscretizer(3),
            ensemble.ExtraTreesClassifier(3),
        ).fit(z, y),
    )
    yield (
        "knn imputation, elastic net",
        pipeline.make_pipeline(impute.KNNImputer(), linear_model.ElasticNetCV(cv=3)).fit(x[numbers], z[:, 1]),
    )
    yield "recursive elimination", feature_selection.RFECV(linear_model.LogisticRegression(), cv=2).fit(z, y)
    yield "ada boost", ensemble.AdaBoostClassifier(n_estimators=4).fit(z, y)
    yield "isotonic", isotonic.IsotonicRegression().fit(z[:, 0], y)
    yield (
        "encoders in a dictionary",
        {
            "label": preprocessing.LabelEncoder().fit(CITIES),
            "ordinal": preprocessing.OrdinalEncoder().fit(x[words]),
            "bin": preprocessing.MultiLabelBinarizer().fit([("a", "b"), ("c",)]),
        },
    )
    yield (
        "results of a cross validation",
        model_selection.cross_validate(linear_model.Ridge(), z, z[:, 1], return_estimator=True),
    )
    yield (
        "spectral and hierarchical clusters",
        [
            cluster.AgglomerativeClustering(2).fit(z),
            cluster.DBSCAN().fit(z),
            cluster.MiniBatchKMeans(2, n_init=1).fit(z),
        ],
    )


def sklearn(every=1, start=0):
    for index, (name, model) in enumerate(models()):
        if index % every == start % every:
            put(name, model, index + start)


def imblearn():
    import numpy as np
    from imblearn.ensemble import BalancedRandomForestClassifier, EasyEnsembleClassifier
    from imblearn.over_sampling import SMOTE, RandomOverSampler
    from imblearn.pipeline import make_pipeline
    from imblearn.under_sampling import RandomUnderSampler
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    draw = np.random.default_rng(2)
    x, y = draw.normal(size=(120, 4)), (np.arange(120) % 5 == 0).astype(int)
    put(
        "SMOTE pipeline",
        make_pipeline(StandardScaler(), SMOTE(random_state=0), LogisticRegression()).fit(x, y),
        0,
    )
    put(
        "samplers pipeline",
        make_pipeline(RandomOverSampler(), RandomUnderSampler(), LogisticRegression()).fit(x, y),
        1,
    )
    put("balanced forest", BalancedRandomForestClassifier(5, random_state=0).fit(x, y), 3)
    put("easy ensemble", EasyEnsembleClassifier(3).fit(x, y), 5)


def lightgbm():
    import lightgbm as lgb
    import numpy as np
    from sklearn.model_selection import GridSearchCV

    x, y = table()
    z = np.nan_to_num(x[["age", "income", "visits"]].to_numpy())
    put("LGBMClassifier", lgb.LGBMClassifier(n_estimators=5, verbose=-1).fit(z, y), 0)
    put("LGBMRegressor", lgb.LGBMRegressor(n_estimators=5, verbose=-1).fit(z, z[:, 1]), 1)
    put(
        "grid search of LGBM",
        GridSearchCV(lgb.LGBMClassifier(verbose=-1), {"n_estimators": [2, 3]}, cv=2).fit(z, y),
        3,
    )
    booster = lgb.train({"objective": "binary", "verbose": -1}, lgb.Dataset(z, y), 4)
    put("Booster", booster, 5)
    add("other", "text model", "lgb.txt", lambda path: booster.save_model(str(path)))


def xgboost():
    import numpy as np
    import xgboost as xgb
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = table()
    z = np.nan_to_num(x[["age", "income", "visits"]].to_numpy())
    put(
        "XGBClassifier in a pipeline",
        make_pipeline(StandardScaler(), xgb.XGBClassifier(n_estimators=4)).fit(z, y),
        0,
    )
    put("XGBRegressor", xgb.XGBRegressor(n_estimators=4, tree_method="hist").fit(z, z[:, 1]), 3)
    put("XGBRanker", xgb.XGBRanker(n_estimators=2).fit(z, y, qid=np.repeat(np.arange(12), 10)), 1)
    booster = xgb.train({"booster": "dart", "objective": "binary:logistic"}, xgb.DMatrix(z, y), 4)
    put("dart booster", booster, 5)
    for suffix in ("json", "ubj"):
        add("other", f"dart as {suffix}", f"model.{suffix}", lambda path: booster.save_model(path))


def frames():
    import numpy as np
    import pandas as pd

    x, _ = table()
    days = pd.date_range("2024-01-01", periods=len(x), freq="D", tz="Europe/Paris")
    cases = {
        "times and categories": x.assign(day=days, city=x["city"].astype("category")),
        "two levels": x.set_index([x["city"], x["member"]]).sort_index()[["age", "income"]],
        "nullable": x.assign(
            age=x["age"].round().astype("Int64"),
            ok=pd.array([True, None] * 60, dtype="boolean"),
            name=x["city"].astype("string"),
        ),
        "periods and intervals": pd.DataFrame(
            {"p": pd.period_range("2020-01", periods=24, freq="M"), "bin": pd.cut(np.arange(24.0), 4)}
        ),
        "series of lists": pd.Series([[1, 2], {"a": 1}, None, "x"], name="raw"),
        "grouped": x.groupby("city")["income"].describe(),
        "sparse": pd.DataFrame({"a": pd.arrays.SparseArray([0, 0, 1.0, 0])}),
        "differences of time": pd.Series(
            pd.to_timedelta(np.arange(5), unit="h"), index=pd.Index(list("abcde"))
        ),
    }
    for index, (name, frame) in enumerate(cases.items()):
        file = (
            "frame.pkl",
            "features.pickle",
            "frame.pkl.gz",
            "frame.pkl.bz2",
            "frame.pkl.xz",
            "frame.pkl.zip",
        )[index % 6]
        add("pickle", f"pandas {name}", file, lambda path, frame=frame: frame.to_pickle(path))


def by_value():
    import cloudpickle
    import dill
    import numpy as np
    from sklearn.linear_model import Ridge

    model = Ridge().fit(np.eye(3), [1, 2, 3])
    add(
        "pickle",
        "cloudpickle of a model",
        "model.pkl",
        lambda path: path.write_bytes(cloudpickle.dumps({"model": model, "v": (1, 2)})),
    )
    add(
        "pickle",
        "dill of a model",
        "model.dill",
        lambda path: path.write_bytes(dill.dumps([model, np.arange(4)])),
    )
