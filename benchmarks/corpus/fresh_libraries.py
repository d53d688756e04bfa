# ruff: noqa: E501, NPY002, ICN001, PLW0108 - calls of many libraries, as their own documents show them
"""Writes models of many libraries: statistics, text, recommenders, converters. Run by fresh_benign.py: NAME FOLDER SEED."""

import pickle

import fresh_put
from fresh_put import add, attempt
from fresh_tables import WORDS, by_value, frames, imblearn, lightgbm, put, sentences, sklearn, table, xgboost


def sklearn11():
    attempt(lambda: sklearn(2, 0), frames)


def sklearn12():
    attempt(lambda: sklearn(2, 1), imblearn, lightgbm, by_value)


def sklearn14():
    attempt(
        lambda: sklearn(3, 2),
        imblearn,
        lightgbm,
        frames,
        catboost,
        statsmodels,
        lifelines,
        encoders,
        implicit,
        surprise,
    )


def sklearn19():
    attempt(lambda: sklearn(2, 1), frames, xgboost, lightgbm, arrays, hdf5)


def catboost():
    import catboost as cb

    x, y = table()
    model = cb.CatBoostClassifier(
        iterations=4, verbose=0, cat_features=["city", "member"], allow_writing_files=False
    ).fit(x.fillna(0), y)
    put("CatBoostClassifier", model, 0)
    put(
        "CatBoostRegressor",
        cb.CatBoostRegressor(iterations=3, verbose=0, allow_writing_files=False).fit(
            x[["income"]], x["income"]
        ),
        1,
    )
    for suffix in ("cbm", "json"):
        add(
            "other",
            f"as {suffix}",
            f"model.{suffix}",
            lambda path, suffix=suffix: model.save_model(str(path), format=suffix),
        )


def statsmodels():
    import numpy as np
    import statsmodels.api as sm
    import statsmodels.formula.api as smf
    from statsmodels.tsa.arima.model import ARIMA
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    x, _ = table()
    series = x["income"].to_numpy()
    linear = sm.OLS(series, sm.add_constant(x[["visits"]])).fit()
    add("pickle", "OLS", "ols.pickle", lambda path: linear.save(str(path)))
    add("pickle", "OLS without data", "ols.pkl", lambda path: linear.save(str(path), remove_data=True))
    add(
        "pickle",
        "GLM",
        "glm.pkl",
        lambda path: (
            sm.GLM(x["visits"], sm.add_constant(x[["income"]]), family=sm.families.Poisson())
            .fit()
            .save(str(path))
        ),
    )
    add(
        "pickle", "ARIMA", "arima.pkl", lambda path: ARIMA(series[:60], order=(1, 0, 0)).fit().save(str(path))
    )
    add(
        "pickle",
        "Holt-Winters",
        "hw.pkl",
        lambda path: path.write_bytes(
            pickle.dumps(ExponentialSmoothing(np.abs(series[:40]), trend="add").fit().params)
        ),
    )
    add(
        "pickle",
        "formula",
        "logit.pkl",
        lambda path: smf.ols("income ~ visits + C(city)", x).fit().save(str(path)),
    )


def lifelines():
    from lifelines import CoxPHFitter, KaplanMeierFitter, WeibullAFTFitter

    x, y = table()
    frame = x[["income", "visits"]].assign(T=x["income"] / 1000 + 1, E=y)
    frame["income"] = x["age"].fillna(40)
    put("Cox", CoxPHFitter(penalizer=0.1).fit(frame, "T", "E"), 0)
    put("Kaplan-Meier", KaplanMeierFitter().fit(frame["T"], frame["E"]), 1)
    put("Weibull", WeibullAFTFitter(penalizer=0.1).fit(frame, "T", "E"), 5)


def encoders():
    import category_encoders as ce
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    x, y = table()
    x = x.fillna(0)
    put(
        "target encoding",
        make_pipeline(ce.TargetEncoder(["city"]), ce.OrdinalEncoder(), LogisticRegression(max_iter=200)).fit(
            x, y
        ),
        0,
    )
    put("binary encoding", ce.BinaryEncoder().fit(x, y), 1)


def implicit():
    import numpy as np
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking
    from implicit.nearest_neighbours import CosineRecommender
    from scipy.sparse import csr_matrix, save_npz

    plays = csr_matrix((np.random.default_rng(0).random((30, 20)) > 0.7).astype(np.float32))
    for index, model in enumerate(
        (
            AlternatingLeastSquares(4, iterations=2, num_threads=1),
            BayesianPersonalizedRanking(4, iterations=2, num_threads=1),
            CosineRecommender(3),
        )
    ):
        model.fit(plays, show_progress=False)
        put(type(model).__name__, model, index)
        add(
            "other",
            f"{type(model).__name__} saved",
            "model.npz",
            lambda path, model=model: model.save(str(path)),
        )
    add("other", "matrix", "plays.npz", lambda path: save_npz(path, plays))


def arrays():
    import collections
    import datetime
    import decimal

    import numpy as np

    draw = np.random.default_rng(1)
    add(
        "other",
        "structured",
        "events.npy",
        lambda path: np.save(path, np.zeros(4, [("t", "M8[ns]"), ("name", "U8"), ("xyz", "<f4", (3,))])),
    )
    add(
        "other",
        "compressed embeddings",
        "embeddings.npz",
        lambda path: np.savez_compressed(
            path, ids=np.arange(50), vectors=draw.normal(size=(50, 8)).astype("f2"), names=np.array(WORDS)
        ),
    )
    add(
        "other",
        "memory map, Fortran order",
        "big.npy",
        lambda path: np.lib.format.open_memmap(path, "w+", ">f8", (4, 5), fortran_order=True).flush(),
    )
    add(
        "pickle",
        "ragged",
        "ragged.npy",
        lambda path: np.save(path, np.array([np.arange(2), np.arange(3)], dtype=object), allow_pickle=True),
    )
    add(
        "pickle",
        "dictionary as an array",
        "history.npy",
        lambda path: np.save(path, {"loss": [0.3, np.float64(0.2)], "acc": np.ones(2)}, allow_pickle=True),
    )
    add(
        "pickle",
        "CIFAR batch",
        "data_batch_1",
        lambda path: path.write_bytes(
            pickle.dumps(
                {
                    b"labels": [1, 2],
                    b"data": draw.integers(0, 255, (2, 3072)).astype("u1"),
                    b"filenames": [b"a.png", b"b.png"],
                },
                2,
            )
        ),
    )
    add(
        "pickle",
        "random states",
        "rng.pkl",
        lambda path: path.write_bytes(
            pickle.dumps({"gen": draw, "old": np.random.RandomState(3), "state": np.random.get_state()})
        ),
    )
    mixed = {
        "when": datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC),
        "price": decimal.Decimal("1.5"),
        "count": collections.Counter("hello"),
        "groups": collections.defaultdict(list, a=[1]),
        "order": collections.OrderedDict(b=1),
        "q": collections.deque([1], 3),
        "c": 1 + 2j,
        "s": frozenset({1}),
        "r": range(5),
        "b": bytearray(b"x"),
    }
    for protocol in (0, 2, 5):
        add(
            "pickle",
            f"standard types, protocol {protocol}",
            "cache.pkl",
            lambda path, protocol=protocol: path.write_bytes(pickle.dumps(mixed, protocol)),
        )
    masked = np.ma.masked_array([1.0, 2.0], [True, False])
    add(
        "pickle",
        "masked array and matrix",
        "m.pkl",
        lambda path: path.write_bytes(
            pickle.dumps([masked, np.float32(2), np.dtype("f4"), np.datetime64("2020-01-01")])
        ),
    )
    add(
        "pickle",
        "vocabulary of a tokenizer",
        "tokenizer.pkl",
        lambda path: path.write_bytes(pickle.dumps({w: i for i, w in enumerate(WORDS * 30)})),
    )


def hdf5():
    import h5py
    import numpy as np
    import pandas as pd
    import xarray as xr

    def anndata(path):
        with h5py.File(path, "w") as file:
            file.attrs["encoding-type"] = "anndata"
            file.create_dataset(
                "X", data=np.ones((20, 5), "f4"), chunks=(10, 5), compression="gzip", shuffle=True
            )
            file.create_dataset("obs/_index", data=[f"cell{i}" for i in range(20)], dtype=h5py.string_dtype())
            file.create_dataset(
                "obs/kind", data=np.zeros(20, "i1"), dtype=h5py.enum_dtype({"T": 0, "B": 1}, basetype="i1")
            )
            file["layers/raw"] = h5py.SoftLink("/X")

    def images(path):
        with h5py.File(path, "w", libver="latest") as file:
            data = file.create_dataset("images", (4, 8, 8), "u1", maxshape=(None, 8, 8), chunks=True)
            data.attrs["classes"] = np.array([b"cat", b"dog"])
            file.create_dataset("boxes", (4,), dtype=h5py.vlen_dtype("i4"))[0] = [1, 2]
            file["first"] = data.ref

    x, _ = table()
    add("other", "anndata-like", "cells.h5ad", anndata)
    add("other", "images, latest format", "train.hdf5", images)
    add("other", "PyTables store", "store.h5", lambda path: x.to_hdf(path, key="frame", format="table"))
    add(
        "other",
        "netCDF",
        "climate.nc",
        lambda path: xr.Dataset({"t": (("x", "y"), np.ones((3, 4)))}, {"x": [1, 2, 3]}).to_netcdf(
            path, engine="h5netcdf"
        ),
    )
    add(
        "other",
        "parquet with categories",
        "x.parquet",
        lambda path: x.assign(city=pd.Categorical(x["city"])).to_parquet(path),
    )


def gensim():
    import gensim
    import nltk
    from gensim.corpora import Dictionary
    from gensim.models import Doc2Vec, FastText, LdaModel, Phrases, TfidfModel, Word2Vec
    from gensim.models.doc2vec import TaggedDocument

    texts = [t.split() for t in sentences()[0]]
    words = Word2Vec(texts, vector_size=8, min_count=1, epochs=1, workers=1)
    entries = Dictionary(texts)
    bags = [entries.doc2bow(t) for t in texts]
    add("pickle", "Word2Vec", "w2v.model", lambda path: words.save(str(path)))
    add("pickle", "vectors", "vectors.kv", lambda path: words.wv.save(str(path)))
    add("other", "word2vec text", "vectors.txt", lambda path: words.wv.save_word2vec_format(str(path)))
    add(
        "pickle",
        "FastText",
        "ft.model",
        lambda path: FastText(texts, vector_size=4, min_count=1, epochs=1, bucket=50).save(str(path)),
    )
    add(
        "pickle",
        "Doc2Vec",
        "d2v.model",
        lambda path: Doc2Vec(
            [TaggedDocument(t, [i]) for i, t in enumerate(texts)], vector_size=4, min_count=1, epochs=1
        ).save(str(path)),
    )
    add("pickle", "dictionary", "corpus.dict", lambda path: entries.save(str(path)))
    add("pickle", "topics", "lda.model", lambda path: LdaModel(bags, 2, entries, passes=1).save(str(path)))
    add("pickle", "tf-idf", "tfidf.model", lambda path: TfidfModel(bags).save(str(path)))
    add("pickle", "phrases", "phrases.pkl", lambda path: Phrases(texts, min_count=1).save(str(path)))
    features = [({"last": t[-1]}, "a" if "win" in t else "b") for t in texts]
    put("nltk naive Bayes", nltk.NaiveBayesClassifier.train(features), 0)
    put("nltk frequencies", nltk.FreqDist(w for t in texts for w in t), 5)
    trainer = nltk.tokenize.punkt.PunktTrainer(" ".join(sentences()[0]))
    put("nltk punkt", nltk.tokenize.punkt.PunktSentenceTokenizer(trainer.get_params()), 0)
    put(
        "nltk tagger",
        nltk.UnigramTagger([[("a", "DT"), ("cat", "NN")]] * 3, backoff=nltk.DefaultTagger("NN")),
        1,
    )
    fresh_put.NAME = f"gensim {gensim.__version__}"


def surprise():
    import pandas as pd
    import surprise as sp

    frame = pd.DataFrame({"u": [1, 1, 2, 2, 3, 3], "i": [1, 2, 1, 3, 2, 3], "r": [3, 4, 5, 2, 1, 4]})
    train = sp.Dataset.load_from_df(frame, sp.Reader(rating_scale=(1, 5))).build_full_trainset()
    for index, kind in enumerate((sp.SVD, sp.KNNBasic, sp.BaselineOnly)):
        model = kind().fit(train)
        add(
            "pickle", kind.__name__, "algo.pkl", lambda path, model=model: sp.dump.dump(str(path), algo=model)
        )
        put(f"{kind.__name__} alone", model, index)


def spacy():
    import spacy as sp
    from spacy.tokens import DocBin

    nlp = sp.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "ORG", "pattern": "Acme"}])
    texts = nlp.add_pipe("textcat")
    texts.add_label("A")
    texts.add_label("B")
    nlp.initialize()
    add("other", "pipeline", "en_model", lambda path: nlp.to_disk(path))
    add("other", "documents", "train.spacy", lambda path: DocBin(docs=[nlp.make_doc("a b")]).to_disk(path))
    add("pickle", "vocabulary", "vocab.pkl", lambda path: path.write_bytes(pickle.dumps(nlp.vocab.strings)))


def prophet():
    import pandas as pd
    from prophet import Prophet
    from prophet.serialize import model_to_json

    x, _ = table()
    model = Prophet().fit(pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=len(x)), "y": x["income"]}))
    put("Prophet", model, 0)
    add("other", "Prophet as JSON", "model.json", lambda path: path.write_text(model_to_json(model)))


def converted():
    """ONNX of scikit-learn and LightGBM by the converters that users have."""
    import lightgbm as lgb
    import numpy as np
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType as Floats
    from skl2onnx import to_onnx
    from sklearn import ensemble, linear_model, neighbors, pipeline, preprocessing, svm

    x, y = table()
    z = np.nan_to_num(x[["age", "income", "visits"]].to_numpy()).astype(np.float32)
    for model in (
        pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()),
        ensemble.RandomForestRegressor(4),
        svm.SVC(),
        neighbors.KNeighborsClassifier(),
        ensemble.GradientBoostingClassifier(n_estimators=3),
    ):
        model.fit(z, y)
        add(
            "other",
            f"skl2onnx {type(model).__name__}",
            "model.onnx",
            lambda path, model=model: path.write_bytes(to_onnx(model, z[:1]).SerializeToString()),
        )
    booster = lgb.LGBMClassifier(n_estimators=3, verbose=-1).fit(z, y)
    add(
        "other",
        "onnxmltools LightGBM",
        "lgbm.onnx",
        lambda path: onnxmltools.utils.save_model(
            onnxmltools.convert_lightgbm(booster, initial_types=[("x", Floats([None, 3]))], zipmap=False),
            str(path),
        ),
    )


def mlflow():
    import mlflow as ml
    import numpy as np
    from mlflow.models import infer_signature
    from sklearn import ensemble, linear_model

    x = np.eye(4)
    for name, model in {"ridge": linear_model.Ridge(), "forest": ensemble.RandomForestRegressor(3)}.items():
        model.fit(x, [1, 2, 3, 4])
        add(
            "pickle",
            name,
            "model",
            lambda path, model=model: ml.sklearn.save_model(
                model,
                str(path),
                signature=infer_signature(x, model.predict(x)),
                input_example=x[:1],
                pip_requirements=["scikit-learn"],
                serialization_format="pickle",
            ),
        )
        add(
            "pickle",
            f"{name}, cloudpickle",
            "model",
            lambda path, model=model: ml.sklearn.save_model(
                model, str(path), pip_requirements=["scikit-learn"], serialization_format="cloudpickle"
            ),
        )


if __name__ == "__main__":
    attempt(globals()[fresh_put.NAME])
