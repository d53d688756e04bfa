# ruff: noqa: ARG002, E501, ICN001, PLW0108, PT018, S101 - tables of models
"""Language, forecasting and other libraries' own files and pickles. Run by third_benign.py."""

import itertools
import json

import numpy as np
from third_put import SEED, jobbed, pickled, put, run, text

rng = np.random.default_rng(int(SEED) + 19)
X = np.abs(rng.normal(size=(60, 4))) + 0.1
Y = (X[:, 0] > np.median(X[:, 0])).astype(int)
R = X @ rng.normal(size=4)
FORMS = itertools.cycle(
    [
        lambda v: pickled(v),
        lambda v: jobbed(v),
        lambda v: pickled(v, 2),
        lambda v: jobbed(v, 3),
        lambda v: pickled(v, 4),
    ]
)
TEXTS = [["good", "film", "with", "plot"], ["bad", "film", "no", "plot"], ["good", "acting", "film"]] * 8


def save(library, name, value):
    put("pickle", f"{library}: {name}", f"{name.split()[0]}.pkl", next(FORMS)(value))


def spacies():
    import spacy

    blank = spacy.blank("en")
    ruler = blank.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "ORG", "pattern": "Acme"}])
    put("other", "spacy: rules", "rules", lambda path: blank.to_disk(path))
    trained = spacy.blank("de")
    kind = trained.add_pipe("textcat")
    kind.add_label("A"), kind.add_label("B")
    trained.initialize()
    put("other", "spacy: categories", "categories", lambda path: trained.to_disk(path))
    put(
        "other",
        "spacy: documents",
        "train.spacy",
        lambda path: spacy.tokens.DocBin(docs=[blank("Acme builds models.")]).to_disk(path),
    )
    put("pickle", "spacy: pickled vocabulary", "vocab.pkl", pickled(blank.vocab.strings))


def nltks():
    import nltk

    save("nltk", "bayes", nltk.NaiveBayesClassifier.train([({"a": 1}, "x"), ({"a": 2}, "y")]))
    save("nltk", "ngrams", nltk.lm.Laplace(2))
    save("nltk", "frequencies", nltk.FreqDist(["the", "quick", "the", "lazy"]))
    save(
        "nltk",
        "tagger",
        nltk.UnigramTagger([[("the", "DT"), ("dog", "NN")]], backoff=nltk.DefaultTagger("NN")),
    )
    save("nltk", "stemmer", nltk.stem.PorterStemmer())


def gensims():
    from gensim import corpora, models

    vectors = models.Word2Vec(TEXTS, vector_size=8, min_count=1, epochs=2, workers=1)
    put("pickle", "gensim: word2vec", "word2vec.model", lambda path: vectors.save(str(path)))
    put("pickle", "gensim: key vectors", "vectors.kv", lambda path: vectors.wv.save(str(path)))
    put(
        "other",
        "gensim: binary vectors",
        "vectors.bin",
        lambda path: vectors.wv.save_word2vec_format(str(path), binary=True),
    )
    put(
        "pickle",
        "gensim: fasttext",
        "fasttext.model",
        lambda path: models.FastText(TEXTS, vector_size=6, min_count=1, epochs=1, workers=1, bucket=100).save(
            str(path)
        ),
    )
    words = corpora.Dictionary(TEXTS)
    put("pickle", "gensim: dictionary", "words.dict", lambda path: words.save(str(path)))
    put(
        "pickle",
        "gensim: LDA",
        "lda.model",
        lambda path: models.LdaModel([words.doc2bow(t) for t in TEXTS], 2, words, passes=1).save(str(path)),
    )
    put(
        "pickle",
        "gensim: tf-idf",
        "tfidf.model",
        lambda path: models.TfidfModel([words.doc2bow(t) for t in TEXTS]).save(str(path)),
    )
    put(
        "pickle",
        "gensim: doc2vec",
        "doc2vec.model",
        lambda path: models.Doc2Vec(
            [models.doc2vec.TaggedDocument(t, [i]) for i, t in enumerate(TEXTS)],
            vector_size=5,
            epochs=1,
            workers=1,
        ).save(str(path)),
    )


def balanced():
    from imblearn import ensemble, over_sampling, pipeline, under_sampling
    from sklearn.linear_model import LogisticRegression

    save("imbalanced-learn", "smote", over_sampling.SMOTE())
    save(
        "imbalanced-learn",
        "pipeline",
        pipeline.make_pipeline(under_sampling.RandomUnderSampler(), LogisticRegression()).fit(X, Y),
    )
    save("imbalanced-learn", "forest", ensemble.BalancedRandomForestClassifier(4).fit(X, Y))


def encoded():
    import category_encoders as ce
    import pandas as pd

    frame = pd.DataFrame({"c": list("abcabc") * 10, "n": range(60)})
    for kind in (ce.TargetEncoder, ce.OrdinalEncoder, ce.BinaryEncoder, ce.OneHotEncoder):
        save("category_encoders", kind.__name__, kind(cols=["c"]).fit(frame, Y))


def forecasts():
    import pandas as pd
    from prophet import Prophet
    from prophet.serialize import model_to_json

    frame = pd.DataFrame({"ds": pd.date_range("2023-01-01", periods=60), "y": R})
    model = Prophet(weekly_seasonality=False, yearly_seasonality=False, daily_seasonality=False).fit(frame)
    save("prophet", "model", model)
    put("other", "prophet: json", "prophet.json", lambda path: path.write_text(model_to_json(model)))


def arimas():
    import pmdarima

    save("pmdarima", "arima", pmdarima.ARIMA((1, 0, 0)).fit(R))


def recommended():
    import implicit
    import scipy.sparse

    data = scipy.sparse.csr_matrix((X > 1).astype("f4"))
    for kind in (implicit.als.AlternatingLeastSquares, implicit.bpr.BayesianPersonalizedRanking):
        model = kind(factors=3, iterations=2, num_threads=1)
        model.fit(data, show_progress=False)
        save("implicit", kind.__name__, model)


def streams():
    from river import compose, linear_model, preprocessing, tree

    model = compose.Pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())
    other = tree.HoeffdingTreeClassifier()
    for row, mark in zip(X.tolist(), Y.tolist(), strict=True):
        model.learn_one(dict(enumerate(row)), mark)
        other.learn_one(dict(enumerate(row)), mark)
    save("river", "pipeline", model)
    save("river", "tree", other)


def boosted():
    from ngboost import NGBRegressor

    save("ngboost", "regressor", NGBRegressor(n_estimators=4, verbose=False).fit(X, R))


def survivors():
    from sksurv import ensemble, linear_model
    from sksurv.util import Surv

    target = Surv.from_arrays(Y.astype(bool), R - R.min() + 1)
    save("scikit-survival", "forest", ensemble.RandomSurvivalForest(4).fit(X, target))
    save("scikit-survival", "cox", linear_model.CoxPHSurvivalAnalysis(alpha=0.1).fit(X, target))


def extended():
    from mlxtend.classifier import EnsembleVoteClassifier
    from mlxtend.preprocessing import TransactionEncoder
    from sklearn.linear_model import LogisticRegression

    save(
        "mlxtend", "votes", EnsembleVoteClassifier([LogisticRegression(), LogisticRegression(C=3)]).fit(X, Y)
    )
    save("mlxtend", "transactions", TransactionEncoder().fit(TEXTS))


def series():
    from sktime.forecasting.naive import NaiveForecaster
    from sktime.forecasting.trend import PolynomialTrendForecaster

    save("sktime", "naive", NaiveForecaster().fit(R))
    save("sktime", "trend", PolynomialTrendForecaster().fit(R))


def engineered():
    import pandas as pd
    from feature_engine import discretisation, encoding, imputation

    frame = pd.DataFrame({"c": list("abcabc") * 10, "n": np.arange(60.0)})
    save("feature-engine", "rare", encoding.RareLabelEncoder(n_categories=2).fit(frame[["c"]]))
    save("feature-engine", "bins", discretisation.EqualWidthDiscretiser(variables=["n"]).fit(frame))
    save("feature-engine", "median", imputation.MeanMedianImputer(variables=["n"]).fit(frame))


def hidden():
    from hmmlearn import hmm

    save("hmmlearn", "gaussian", hmm.GaussianHMM(2, n_iter=4).fit(X))


def outliers():
    from pyod.models.hbos import HBOS
    from pyod.models.knn import KNN

    save("pyod", "knn", KNN().fit(X))
    save("pyod", "histograms", HBOS().fit(X))


def explained():
    import shap
    from sklearn.ensemble import RandomForestRegressor

    explainer = shap.TreeExplainer(RandomForestRegressor(4).fit(X, R))
    save("shap", "explainer", explainer)
    save("shap", "values", explainer(X[:5]))


def glass():
    from interpret.glassbox import ExplainableBoostingClassifier

    save("interpret", "ebm", ExplainableBoostingClassifier(max_rounds=5, interactions=0, n_jobs=1).fit(X, Y))


def evolved():
    from deap import base, creator, tools

    assert base and creator
    hall = tools.HallOfFame(2)
    save("deap", "log", tools.Logbook())
    save("deap", "hall", hall)


def indexes():
    import annoy
    import faiss

    index = faiss.IndexFlatL2(4)
    index.add(X.astype("f4"))
    put("other", "faiss: flat", "vectors.index", lambda path: faiss.write_index(index, str(path)))
    put("pickle", "faiss: documents beside", "index.pkl", pickled(({"a": "text"}, {0: "a"})))
    tree = annoy.AnnoyIndex(4, "angular")
    [tree.add_item(i, row) for i, row in enumerate(X)]
    tree.build(3)
    put("other", "annoy: forest", "vectors.ann", lambda path: tree.save(str(path)))


def graphs():
    import networkx

    save("networkx", "graph", networkx.karate_club_graph())
    save("networkx", "directed", networkx.DiGraph([(1, 2), (2, 3)]))


def tables():
    import polars
    import pyarrow
    from pyarrow import feather, parquet

    frame = pyarrow.table({"id": list(range(9)), "text": list("abcdefghi")})
    put(
        "other",
        "pyarrow: parquet",
        "train-00000-of-00001.parquet",
        lambda path: parquet.write_table(frame, path),
    )
    put("other", "pyarrow: feather", "data.feather", lambda path: feather.write_feather(frame, str(path)))
    save("pyarrow", "table", frame)
    put("other", "polars: ipc", "frame.arrow", lambda path: polars.DataFrame({"a": [1, 2]}).write_ipc(path))
    save("polars", "frame", polars.DataFrame({"a": [1, 2], "b": ["x", "y"]}))


def datasets_():
    import datasets

    data = datasets.Dataset.from_dict(
        {"text": ["a", "b"], "label": [0, 1]},
        features=datasets.Features(
            {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
        ),
    )
    put("other", "datasets: on disk", "dataset", lambda path: data.save_to_disk(path))
    put(
        "other",
        "datasets: dictionary",
        "dataset_dict",
        lambda path: datasets.DatasetDict(train=data, test=data).save_to_disk(path),
    )


def tracked():
    import mlflow.pyfunc
    import mlflow.sklearn
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    requirements = ["scikit-learn==1.6.1"]
    for name, model in {"linear": LogisticRegression(), "forest": RandomForestClassifier(3)}.items():
        for form in ("cloudpickle", "pickle"):
            put(
                "other",
                f"mlflow: sklearn {name} {form}",
                f"{name}_{form}",
                lambda path, model=model, form=form: mlflow.sklearn.save_model(
                    model.fit(X, Y), str(path), serialization_format=form, pip_requirements=requirements
                ),
            )

    class Wrapper(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return [0] * len(model_input)

    put(
        "function",
        "mlflow: own model",
        "pyfunc",
        lambda path: mlflow.pyfunc.save_model(
            str(path), python_model=Wrapper(), pip_requirements=requirements
        ),
    )


def searched():
    from flaml import AutoML

    model = AutoML()
    model.fit(
        X, Y, task="classification", time_budget=2, max_iter=2, estimator_list=["lrl1"], verbose=0, n_jobs=1
    )
    save("flaml", "automl", model)


def topics():
    from interpret.glassbox import LinearRegression

    save("interpret", "linear", LinearRegression().fit(X, R))


def texts():
    files = {
        "label map": ("label_map.json", {"0": "cat", "1": "dog"}),
        "metrics": ("metrics.json", {"accuracy": 0.91, "f1": 0.9}),
        "hydra": (
            "config.yaml",
            "defaults:\n  - _self_\nmodel:\n  _target_: torch.nn.Linear\n  in_features: 4\n  out_features: 2\n",
        ),
        "hydra optimizer": ("optim.yaml", "_target_: torch.optim.AdamW\n_partial_: true\nlr: 0.0003\n"),
        "parameters of dvc": ("params.yaml", "train:\n  lr: 0.1\n  epochs: 5\n"),
        "lightning": (
            "lightning.yaml",
            "model:\n  class_path: torch.nn.Linear\n  init_args:\n    in_features: 3\n    out_features: 1\n",
        ),
        "vocabulary": ("vocab.json", {f"t{i}": i for i in range(50)}),
        "merges": ("merges.txt", "#version: 0.2\nt h\nth e\n"),
    }
    for name, (file, value) in files.items():
        put("other", f"text: {name}", file, text(value if isinstance(value, str) else json.dumps(value)))


if __name__ == "__main__":
    run(
        texts,
        nltks,
        gensims,
        balanced,
        encoded,
        graphs,
        tables,
        tracked,
        streams,
        extended,
        survivors,
        hidden,
        outliers,
        indexes,
        datasets_,
        spacies,
        explained,
        recommended,
        boosted,
        engineered,
        series,
        arimas,
        glass,
        topics,
        evolved,
        forecasts,
        searched,
    )
