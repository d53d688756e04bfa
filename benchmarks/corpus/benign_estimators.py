"""Every scikit-learn estimator in a pipeline, and the tree libraries in each format that they write."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benign import Place

CODECS = (None, "zlib", "gzip", "bz2", "xz", "lzma", "lz4")


def write(place: Place, seed: int) -> None:
    """All of this file."""
    estimators(place, seed)
    trees(place, seed)


def data(seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    x = draw.uniform(0.1, 2.0, size=(60, 4))
    return x, (x[:, 0] + x[:, 1] > 2).astype(int)


def estimators(place: Place, seed: int) -> None:
    import joblib
    import skops.io
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler
    from sklearn.utils import all_estimators

    x, y = data(seed)
    for index, (name, kind) in enumerate(all_estimators()):
        try:
            made = kind()
            made = make_pipeline(MinMaxScaler(), made) if issubclass(kind, _kinds()) else made
            made.fit(x, y)
        except (TypeError, ValueError, AttributeError, ImportError):
            continue  # it asks for another estimator, or for text
        if index % 3 == 0:
            place.add(
                "pickle",
                f"sklearn {name}, protocol {index % 6}",
                "model.pkl",
                lambda path, made=made, version=index % 6: path.write_bytes(pickle.dumps(made, version)),
            )
        else:
            codec = CODECS[index % len(CODECS)]
            place.add(
                "pickle",
                f"sklearn {name}, joblib {codec}",
                "model.joblib",
                lambda path, made=made, codec=codec: joblib.dump(
                    made, path, compress=(codec, 3) if codec else 0
                ),
            )
        if index % 12 == 0:
            place.add(
                "other", f"skops {name}", "model.skops", lambda path, made=made: skops.io.dump(made, path)
            )
    composed(place, x, y)


def _kinds() -> tuple[type, ...]:
    from sklearn.base import ClassifierMixin, ClusterMixin, RegressorMixin

    return ClassifierMixin, ClusterMixin, RegressorMixin


def composed(place: Place, x: np.ndarray, y: np.ndarray) -> None:
    import joblib
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier, StackingClassifier, VotingClassifier
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import FeatureUnion, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_pipeline(
        ColumnTransformer(
            [("n", StandardScaler(), [0, 1]), ("c", OneHotEncoder(handle_unknown="ignore"), [2])]
        ),
        LogisticRegression(),
    )
    words = make_pipeline(
        FeatureUnion([("c", CountVectorizer()), ("t", TfidfVectorizer(ngram_range=(1, 2)))]), MultinomialNB()
    )
    texts = ["good model", "bad model", "fine thing", "poor thing"] * 15
    made = {
        "columns": columns.fit(x.round(1), y),
        "text": words.fit(texts, y),
        "grid search": GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1.0]}, cv=2
        ).fit(x, y),
        "stack": StackingClassifier(
            [("r", RandomForestClassifier(5)), ("l", LogisticRegression())], cv=2
        ).fit(x, y),
        "vote": VotingClassifier([("r", RandomForestClassifier(5)), ("l", LogisticRegression())]).fit(x, y),
    }
    for name, value in made.items():
        place.add(
            "pickle", f"sklearn {name}", "pipeline.joblib", lambda path, value=value: joblib.dump(value, path)
        )


def trees(place: Place, seed: int) -> None:
    import catboost
    import joblib
    import lightgbm
    import xgboost

    x, y = data(seed)
    boost = xgboost.XGBClassifier(n_estimators=4, max_depth=2).fit(x, y)
    place.add("pickle", "xgboost classifier", "model.pkl", lambda path: path.write_bytes(pickle.dumps(boost)))
    place.add(
        "pickle",
        "xgboost booster",
        "model.pkl",
        lambda path: path.write_bytes(pickle.dumps(boost.get_booster())),
    )
    place.add("other", "xgboost json", "model.json", boost.save_model)
    place.add("other", "xgboost ubj", "model.ubj", boost.save_model)
    place.add(
        "other",
        "xgboost linear json",
        "model.json",
        xgboost.XGBRegressor(booster="gblinear", n_estimators=2).fit(x, y).save_model,
    )
    place.add(
        "other",
        "xgboost dart ubj",
        "model.ubj",
        xgboost.XGBRegressor(booster="dart", n_estimators=2).fit(x, y).save_model,
    )
    light = lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(x, y)
    place.add("other", "lightgbm text", "model.txt", light.booster_.save_model)
    place.add(
        "pickle", "lightgbm classifier", "model.pkl", lambda path: path.write_bytes(pickle.dumps(light))
    )
    place.add("pickle", "lightgbm joblib", "model.joblib", lambda path: joblib.dump(light, path, compress=3))
    cat = catboost.CatBoostClassifier(iterations=4, verbose=False, allow_writing_files=False).fit(x, y)
    place.add("other", "catboost cbm", "model.cbm", lambda path: cat.save_model(str(path)))
    place.add("other", "catboost json", "model.json", lambda path: cat.save_model(str(path), format="json"))
    place.add("pickle", "catboost classifier", "model.pkl", lambda path: path.write_bytes(pickle.dumps(cat)))
