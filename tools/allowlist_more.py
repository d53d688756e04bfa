# ruff: noqa: UP006, UP045, D403, FURB167, ARG005 - a script run by hand; old forms of hints are its subject
"""Objects of further libraries that people pickle, in the form of `allowlist_corpus.py`."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

Named = tuple[str, object]
SOURCES = (
    "interpreter",
    "balanced",
    "encoders",
    "models",
    "boosted",
    "topics",
    "graphs",
    "clusters",
    "outliers",
    "tokens",
    "settings",
    "trials",
    "shapes",
    "tables",
    "forecasts",
    "hub",
)
"""Functions of this file that yield objects; a release that lacks a library skips its function."""
RNG = np.random.default_rng(1)
X = RNG.random((60, 4)) + 0.1
Y = np.arange(60) % 2
TARGET = X @ np.array([1.0, 2.0, 3.0, 4.0])
WORDS = [["red", "green", "blue"], ["blue", "sky"], ["green", "apple", "red"]] * 8


def interpreter() -> Iterator[Named]:
    """More of the standard library."""
    import argparse
    import array
    import calendar
    import configparser
    import csv
    import difflib
    import functools
    import http
    import inspect
    import ipaddress
    import itertools
    import json
    import logging
    import math
    import operator
    import re
    import signal
    import statistics
    import string
    import textwrap
    import time
    import tokenize
    import typing
    import urllib.parse

    yield "namespace", argparse.Namespace(a=1)
    yield "patterns", [re.compile("a+", re.I), re.compile(b"x")]
    yield "arrays", [array.array(code, [1, 2]) for code in "bBhHiIlLqQfd"] + [array.array("u", "ab")]
    yield "getters", [operator.itemgetter(1), operator.attrgetter("a"), operator.methodcaller("lower")]
    yield (
        "functions",
        [
            math.sqrt,
            math.log,
            operator.add,
            statistics.mean,
            functools.partial(math.pow, 2.0),
            str.lower,
            str.split,
        ],
    )
    yield (
        "iterators",
        [
            iter([1]),
            iter((1,)),
            reversed([1]),
            iter(range(2)),
            iter("a"),
            iter({1: 2}),
            itertools.count(1),
            itertools.repeat(1),
            itertools.chain([1]),
            zip([1], [2], strict=False),
            enumerate([1]),
        ],
    )
    yield (
        "addresses",
        [
            ipaddress.ip_address("10.0.0.1"),
            ipaddress.ip_network("10.0.0.0/8"),
            ipaddress.ip_address("::1"),
            ipaddress.ip_network("::/8"),
            ipaddress.ip_interface("10.0.0.1/8"),
        ],
    )
    yield (
        "records",
        [
            time.gmtime(0),
            urllib.parse.urlparse("http://a/b"),
            urllib.parse.urlsplit("http://a/b"),
            difflib.Match(1, 2, 3),
            tokenize.TokenInfo(1, "a", (1, 0), (1, 1), "a"),
        ],
    )
    yield "enumerations", [http.HTTPStatus.OK, signal.SIGTERM, re.I | re.M, inspect.Parameter.POSITIONAL_ONLY]
    yield "loggers", [logging.getLogger("a"), logging.getLogger(), logging.Formatter("%(message)s")]
    yield (
        "tools",
        [
            statistics.NormalDist(1, 2),
            string.Template("$a"),
            textwrap.TextWrapper(),
            calendar.Calendar(),
            json.JSONEncoder(),
            csv.excel,
            configparser.ConfigParser(),
        ],
    )
    yield (
        "hints",
        [
            typing.List[int],
            typing.Optional[str],
            list[int],
            int | str,
            typing.Any,
            typing.Callable[[int], str],
        ],
    )
    yield "methods", ["a".join, [1].append, {"a": 1}.get]
    yield "signature", inspect.signature(lambda a, b=1: a)
    for error in (
        OSError(2, "no"),
        UnicodeDecodeError("utf8", b"a", 0, 1, "r"),
        json.JSONDecodeError("m", "doc", 0),
        UserWarning("u"),
        ImportError("i"),
        StopIteration(1),
    ):
        yield f"error {type(error).__name__}", error


def classes(module: str, **options: object) -> Iterator[Named]:
    """Every public class of a module that can be made without arguments, and fitted if it can be."""
    for name, cls in vars(importlib.import_module(module)).items():
        if isinstance(cls, type) and name[0] != "_":
            with (
                contextlib.suppress(Exception),
                warnings.catch_warnings(),
            ):  # whatever a release does not take
                warnings.simplefilter("ignore")
                made = cls(**options)
                yield f"{module} {name}", made
                if hasattr(made, "fit"):
                    made.fit(X, Y)
                    yield f"{module} {name} fitted", made


def balanced() -> Iterator[Named]:
    """imbalanced-learn."""
    import imblearn.pipeline

    for part in ("over_sampling", "under_sampling", "combine", "ensemble"):
        yield from classes(f"imblearn.{part}")
    yield (
        "pipeline",
        imblearn.pipeline.Pipeline([("a", importlib.import_module("imblearn.over_sampling").SMOTE())]),
    )


def encoders() -> Iterator[Named]:
    """category_encoders and mlxtend."""
    import pandas as pd

    for name, cls in vars(importlib.import_module("category_encoders")).items():
        if isinstance(cls, type):
            with contextlib.suppress(Exception), warnings.catch_warnings():  # as above
                warnings.simplefilter("ignore")
                yield f"encoder {name}", cls(cols=["c"]).fit(pd.DataFrame({"c": list("abcabc") * 10}), Y)
    for part in (
        "classifier",
        "regressor",
        "preprocessing",
        "feature_selection",
        "cluster",
        "feature_extraction",
    ):
        with contextlib.suppress(ImportError):
            yield from classes(f"mlxtend.{part}")


def models() -> Iterator[Named]:
    """statsmodels: results of regressions and time series."""
    import pandas as pd
    import statsmodels.api as sm
    import statsmodels.formula.api as smf
    from statsmodels.tsa.api import ExponentialSmoothing, SimpleExpSmoothing
    from statsmodels.tsa.ar_model import AutoReg
    from statsmodels.tsa.arima.model import ARIMA
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    design = sm.add_constant(X)
    series = pd.Series(np.cumsum(RNG.random(60)), index=pd.date_range("2020", periods=60, freq="D"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for family in (
            sm.families.Gaussian(),
            sm.families.Poisson(),
            sm.families.Gamma(),
            sm.families.Binomial(),
        ):
            yield (
                f"glm {type(family).__name__}",
                sm.GLM(Y if "Bin" in type(family).__name__ else TARGET, design, family=family).fit(),
            )
        yield from (
            ("ols", sm.OLS(TARGET, design).fit()),
            ("wls", sm.WLS(TARGET, design).fit()),
            ("logit", sm.Logit(Y, X).fit(disp=0)),
        )
        yield from (
            ("rlm", sm.RLM(TARGET, design).fit()),
            ("quantile", sm.QuantReg(TARGET, X).fit()),
            ("poisson", sm.Poisson(Y, X).fit(disp=0)),
        )
        yield "formula", smf.ols("y ~ a", pd.DataFrame({"y": TARGET, "a": X[:, 0]})).fit()
        yield from (("arima", ARIMA(series, order=(1, 1, 0)).fit()), ("autoreg", AutoReg(series, 1).fit()))
        yield from (
            ("holt", ExponentialSmoothing(series, initialization_method="estimated").fit()),
            ("simple", SimpleExpSmoothing(series, initialization_method="estimated").fit()),
        )
        yield "sarimax", SARIMAX(series, order=(1, 0, 0)).fit(disp=0)


def boosted() -> Iterator[Named]:
    """CatBoost."""
    import catboost

    options = {"iterations": 2, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
    yield "catboost classifier", catboost.CatBoostClassifier(**options).fit(X, Y)
    yield "catboost regressor", catboost.CatBoostRegressor(**options).fit(X, TARGET)
    yield "catboost", catboost.CatBoost(options).fit(X, TARGET)
    yield "catboost unfitted", catboost.CatBoostClassifier(**options)


def topics() -> Iterator[Named]:
    """gensim."""
    from gensim import corpora, models

    dictionary = corpora.Dictionary(WORDS)
    bags = [dictionary.doc2bow(words) for words in WORDS]
    yield from (
        ("dictionary", dictionary),
        ("tfidf", models.TfidfModel(bags)),
        ("lsi", models.LsiModel(bags, num_topics=2, id2word=dictionary)),
    )
    yield from (
        ("lda", models.LdaModel(bags, 2, id2word=dictionary)),
        ("phrases", models.Phrases(WORDS)),
        ("hdp", models.HdpModel(bags, dictionary)),
    )
    word = models.Word2Vec(WORDS, vector_size=4, min_count=1, epochs=1, workers=1)
    yield from (
        ("word2vec", word),
        ("vectors", word.wv),
        ("fasttext", models.FastText(WORDS, vector_size=4, min_count=1, epochs=1, workers=1, bucket=10)),
    )
    documents = [models.doc2vec.TaggedDocument(words, [number]) for number, words in enumerate(WORDS)]
    yield "doc2vec", models.Doc2Vec(documents, vector_size=4, min_count=1, epochs=1, workers=1)


def graphs() -> Iterator[Named]:
    """networkx and sortedcontainers."""
    import networkx as nx

    for cls in (nx.Graph, nx.DiGraph, nx.MultiGraph, nx.MultiDiGraph):
        graph = cls()
        graph.add_edge("a", "b", weight=2.0)
        yield f"graph {cls.__name__}", graph
    yield "read", graph.degree()
    with contextlib.suppress(ImportError):
        import sortedcontainers

        yield from (
            ("sorted list", sortedcontainers.SortedList([1])),
            ("sorted dict", sortedcontainers.SortedDict(a=1)),
            ("sorted set", sortedcontainers.SortedSet([1])),
        )


def clusters() -> Iterator[Named]:
    """hdbscan."""
    import hdbscan

    yield "hdbscan", hdbscan.HDBSCAN(min_cluster_size=3).fit(X)
    yield "hdbscan predicts", hdbscan.HDBSCAN(min_cluster_size=3, prediction_data=True).fit(X)


def outliers() -> Iterator[Named]:
    """pyod."""
    import pyod.models

    for name in (
        "abod",
        "cblof",
        "copod",
        "ecod",
        "hbos",
        "iforest",
        "knn",
        "lof",
        "mcd",
        "ocsvm",
        "pca",
        "inne",
        "loda",
    ):
        with contextlib.suppress(ImportError):
            yield from classes(f"{pyod.models.__name__}.{name}")


def tokens() -> Iterator[Named]:
    """tokenizers."""
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    for part in ("models", "pre_tokenizers", "decoders", "normalizers", "processors"):
        yield from classes(f"tokenizers.{part}")
    yield from (("tokenizer", made), ("parts", [made.model, made.pre_tokenizer, tokenizers.AddedToken("a")]))


def settings() -> Iterator[Named]:
    """Dictionaries with attributes, as training frameworks keep their options in."""
    options = {"a": 1, "b": {"c": [1, {"d": "e"}], "f": None}}
    with contextlib.suppress(ImportError):
        import omegaconf

        yield "omegaconf", omegaconf.OmegaConf.create(options | {"g": "${a}", "h": 1.5, "i": True, "j": b"x"})
        yield "omegaconf list", omegaconf.OmegaConf.create([1, "x", [2], None])
    for module, name in (
        ("easydict", "EasyDict"),
        ("munch", "Munch"),
        ("addict", "Dict"),
        ("yacs.config", "CfgNode"),
        ("box", "Box"),
    ):
        with contextlib.suppress(ImportError):
            yield name, getattr(importlib.import_module(module), name)(options)


def trials() -> Iterator[Named]:
    """Searches by optuna and hyperopt."""
    import hyperopt
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for sampler in (
        optuna.samplers.TPESampler(seed=1),
        optuna.samplers.RandomSampler(seed=1),
        optuna.samplers.NSGAIISampler(seed=1),
    ):
        study = optuna.create_study(sampler=sampler, pruner=optuna.pruners.MedianPruner())
        study.optimize(
            lambda trial: (
                trial.suggest_float("x", 0, 1)
                + trial.suggest_int("n", 1, 3)
                + len(trial.suggest_categorical("c", ["a", "b"]))
            ),
            n_trials=3,
        )
        yield from ((f"study {type(sampler).__name__}", study), ("trial", study.best_trial))
    searched = hyperopt.Trials()
    hyperopt.fmin(
        lambda x: x * x,
        hyperopt.hp.uniform("x", 0, 1),
        algo=hyperopt.rand.suggest,
        max_evals=2,
        trials=searched,
        show_progressbar=False,
        verbose=False,
    )
    yield "trials", searched


def shapes() -> Iterator[Named]:
    """Shapely and geopandas."""
    import geopandas
    import shapely.geometry as sg

    square = sg.box(0, 0, 1, 1)
    yield (
        "geometries",
        [
            sg.Point(1, 2),
            square,
            sg.LineString([(0, 0), (1, 1)]),
            square.exterior,
            sg.MultiPoint([(0, 0)]),
            sg.MultiPolygon([square]),
        ],
    )
    for crs in (None, "EPSG:4326"):
        frame = geopandas.GeoDataFrame({"a": [1]}, geometry=[square], crs=crs)
        yield from ((f"frame {crs}", frame), (f"series {crs}", frame.geometry))


def tables() -> Iterator[Named]:
    """Arrow and polars."""
    import datetime as dt

    import polars as pl
    import pyarrow as pa

    types = [pa.int8(), pa.list_(pa.string()), pa.large_list(pa.int8()), pa.list_(pa.int8(), 2), pa.timestamp("s", "UTC"), pa.time32("s"), pa.time64("us"),
             pa.duration("s"), pa.date32(), pa.dictionary(pa.int8(), pa.string()), pa.decimal128(5, 2), pa.binary(3), pa.binary(),
             pa.struct([("a", pa.int8())]), pa.map_(pa.string(), pa.int8()), pa.null(), pa.bool_(), pa.large_string(), pa.decimal256(5, 2)]  # fmt: skip
    yield from (("types", types), ("schema", pa.schema([("a", pa.int8())], metadata={"a": "b"})))
    table = pa.table(
        {
            "a": [1, 2],
            "b": ["x", None],
            "c": [[1], []],
            "d": [{"e": 1}, None],
            "t": [dt.datetime(2020, 1, 1)] * 2,  # noqa: DTZ001 - a column without a zone
            "f": pa.array(["u", "v"]).dictionary_encode(),
        }
    )
    yield from (
        ("table", table),
        ("column", table["a"]),
        ("batch", table.to_batches()[0]),
        ("value", table["a"][0]),
    )
    made = pl.DataFrame({"a": [1, 2], "b": ["x", "y"], "d": [dt.date(2020, 1, 1)] * 2, "l": [[1], [2]]})
    yield from (
        ("polars", made),
        ("polars series", made["a"]),
        ("polars types", [pl.Int64(), pl.List(pl.Int8), pl.Datetime("us"), pl.Utf8, pl.Enum(["a"])]),
    )


def forecasts() -> Iterator[Named]:
    """pmdarima, survival, recommenders."""
    import implicit
    import pandas as pd
    import pmdarima
    import scipy.sparse
    import sksurv.ensemble
    import sksurv.linear_model
    import sksurv.util
    import surprise

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield "arima", pmdarima.ARIMA((1, 0, 0)).fit(TARGET)
    outcome = sksurv.util.Surv.from_arrays(Y > 0, TARGET)
    yield from (
        ("cox", sksurv.linear_model.CoxPHSurvivalAnalysis().fit(X, outcome)),
        ("survival forest", sksurv.ensemble.RandomSurvivalForest(3).fit(X, outcome)),
        ("survival boost", sksurv.ensemble.GradientBoostingSurvivalAnalysis(n_estimators=3).fit(X, outcome)),
        ("net", sksurv.linear_model.CoxnetSurvivalAnalysis().fit(X, outcome)),
    )
    bought = scipy.sparse.csr_matrix(np.round(X * 3))
    for model in (implicit.nearest_neighbours.CosineRecommender(), implicit.cpu.als.AlternatingLeastSquares(4, iterations=1),
                  implicit.cpu.bpr.BayesianPersonalizedRanking(4, iterations=1)):  # fmt: skip
        model.fit(bought, show_progress=False)
        yield f"implicit {type(model).__name__}", model
    rows = pd.DataFrame({"u": list("aabb"), "i": list("cdcd"), "r": [1, 2, 3, 4]})
    data = surprise.Dataset.load_from_df(rows, surprise.Reader(rating_scale=(1, 5))).build_full_trainset()
    for algorithm in (
        surprise.SVD(n_factors=2, n_epochs=1),
        surprise.KNNBasic(verbose=False),
        surprise.BaselineOnly(verbose=False),
        surprise.SlopeOne(),
    ):
        yield f"surprise {type(algorithm).__name__}", algorithm.fit(data)


def hub() -> Iterator[Named]:
    """transformers without a framework."""
    import tokenizers
    import transformers

    for name in ("BertConfig", "GPT2Config", "LlamaConfig", "T5Config", "ViTConfig", "GenerationConfig"):
        yield name, getattr(transformers, name)()
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "[UNK]": 1}))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=made)
    yield from (
        ("fast tokenizer", fast),
        ("encoding", fast("a")),
        ("batch", transformers.BatchEncoding({"input_ids": [1, 2]})),
    )
