# ruff: noqa: ICN001, S311, SLF001 - a script run by hand; its tables keep one fact per line
"""Objects of real libraries whose pickles show which names appear in harmless model files.

Each function yields ``(what, object)``. Objects are fitted on tiny data; what matters is which classes and
functions their pickles refer to, not what they learnt.
"""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import fractions
import functools
import operator
import pathlib
import uuid
import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

Named = tuple[str, object]
RNG = np.random.default_rng(0)
X = RNG.random((40, 4)) + 0.1
Y = (X[:, 0] > np.median(X[:, 0])).astype(int)
Y3 = np.arange(40) % 3
TARGET = X @ np.array([1.0, 2.0, 3.0, 4.0])
SOURCES = ("standard", "arrays", "scientific", "frames", "estimators", "boosted", "modules")
"""Functions of this file that yield objects; a release that lacks a library skips its function."""
TEXT = ["red green blue", "green blue", "red apple", "blue sky"] * 10


def standard() -> Iterator[Named]:
    """The standard library."""
    values = [
        collections.OrderedDict(a=1), collections.Counter("abca"), collections.deque([1, 2], 3),
        collections.defaultdict(list, a=[1]), collections.defaultdict(int), collections.defaultdict(dict),
        collections.ChainMap({1: 2}), collections.UserDict(a=1), collections.UserList([1]), collections.UserString("a"),
        datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), datetime.date(2024, 1, 2), datetime.time(1, 2),
        datetime.timedelta(1), datetime.timezone(datetime.timedelta(hours=1)), decimal.Decimal("1.5"),
        decimal.Context(), fractions.Fraction(1, 3), pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("a/b"),
        pathlib.PosixPath("a/b"), uuid.UUID(int=5), functools.partial(int, base=2), operator.itemgetter(1),
        complex(1, 2), slice(1, 2, 3), range(5), {1, 2}, frozenset({1, 2}), bytearray(b"ab"), b"ab", ..., NotImplemented,
        int, float, str, list, dict, set, tuple, bool, bytes, object, complex, frozenset, type(None), len, abs, sum, min,
        max, sorted, round, repr, ValueError("a"), KeyError("a"), RuntimeError("a"),
    ]  # fmt: skip
    yield from ((f"standard {type(value).__name__}", value) for value in values)
    import random
    import types
    import zoneinfo

    with contextlib.suppress(zoneinfo.ZoneInfoNotFoundError):
        yield "zoneinfo", zoneinfo.ZoneInfo("UTC")
    yield "random", random.Random(0)
    yield "namespace", types.SimpleNamespace(a=1)


def arrays() -> Iterator[Named]:
    """Numpy."""
    structured = np.dtype([("a", "<f4"), ("b", "i8"), ("c", "S5"), ("d", "f4", (2,))])
    yield from (
        (f"array {code}", np.ones(3, dtype=code))
        for code in (
            "?",
            "b",
            "h",
            "i",
            "l",
            "B",
            "H",
            "I",
            "L",
            "e",
            "f",
            "d",
            "g",
            "F",
            "D",
            "S4",
            "U4",
            "V4",
            ">f8",
            "O",
        )
    )
    yield from ((f"scalar {code}", np.ones(1, dtype=code)[0]) for code in "?bhilBHILefdgFD")
    yield from (
        (f"dtype {kind}", np.dtype(kind)) for kind in ("f4", "O", "U5", "M8[ns]", "m8[s]", structured)
    )
    yield from ((f"type {name}", getattr(np, name)) for name in _SCALARS)
    values = [
        np.zeros(2, structured), np.array(["2020-01-01"], "M8[D]"), np.array([1], "m8[s]"), np.asfortranarray(X),
        np.ma.masked_array([1.0, 2.0], [True, False]), np.ma.masked, np.asmatrix(X), np.rec.array([(1, 2.0)], names="a,b"),
        np.array([{"a": 1}, None, "x"], dtype=object), np.datetime64("2020-01-01"), np.str_("a"), np.bytes_(b"a"),
        np.void(b"abc"), np.poly1d([1, 2]), np.polynomial.Polynomial([1, 2]), np.polynomial.Chebyshev([1, 2]),
        np.polynomial.Legendre([1, 2]), np.polynomial.Hermite([1, 2]), np.polynomial.HermiteE([1, 2]),
        np.polynomial.Laguerre([1, 2]), np.random.RandomState(0), np.random.mtrand._rand, np.random.SeedSequence(1),
        np.array(5.0), np.zeros((0, 3)), np.ndarray, np.dtype,
    ]  # fmt: skip
    yield from ((f"numpy {type(value).__name__}", value) for value in values)
    for bits in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64):
        yield f"generator {bits.__name__}", np.random.Generator(bits(0))
        yield f"bits {bits.__name__}", bits(0)
    yield from ((f"ufunc {name}", value) for name, value in vars(np).items() if isinstance(value, np.ufunc))
    for name in ("mean", "median", "sum", "std", "var", "min", "max", "argmax", "argsort", "nanmean", "nan_to_num", "clip",
                 "average", "percentile", "prod", "sort", "unique", "where", "mod", "round", "real", "diff", "cumsum"):  # fmt: skip
        yield f"function {name}", getattr(np, name)


_SCALARS = (
    "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "longdouble", "complex64", "complex128", "object_", "str_", "bytes_", "datetime64", "timedelta64", "void", "generic",
    "number", "integer", "floating", "intc", "longlong", "ulonglong", "uintc",
)  # fmt: skip


def scientific() -> Iterator[Named]:
    """Scipy."""
    import scipy.interpolate as si
    import scipy.sparse as sp
    import scipy.spatial as ss
    from scipy import special
    from scipy.optimize import OptimizeResult
    from scipy.spatial.transform import Rotation

    for name in ("csr", "csc", "coo", "bsr", "dia", "dok", "lil"):
        yield f"sparse {name}_matrix", getattr(sp, f"{name}_matrix")(np.eye(3))
        yield f"sparse {name}_array", getattr(sp, f"{name}_array")(np.eye(3))
    grid = np.arange(5.0)
    values = [
        si.interp1d(grid, grid), si.UnivariateSpline(grid, grid), si.CubicSpline(grid, grid), si.PchipInterpolator(grid, grid),
        si.make_interp_spline(grid, grid), si.Akima1DInterpolator(grid, grid), si.RegularGridInterpolator((grid,), grid),
        si.PPoly(np.ones((2, 4)), grid), OptimizeResult(x=1), ss.cKDTree(X), ss.KDTree(X), Rotation.identity(),
    ]  # fmt: skip
    yield from ((f"scipy {type(value).__name__}", value) for value in values)
    yield from (
        (f"special {name}", value) for name, value in vars(special).items() if isinstance(value, np.ufunc)
    )


def frames() -> Iterator[Named]:
    """Pandas."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "i": [1, 2, 3], "f": [1.0, 2.0, np.nan], "s": ["a", "b", None], "b": [True, False, True],
            "c": pd.Categorical(["x", "y", "x"]), "d": pd.date_range("2020", periods=3), "o": [{}, [], 1],
            "z": pd.date_range("2020", periods=3, tz="UTC"), "t": pd.to_timedelta([1, 2, 3], unit="s"),
            "I": pd.array([1, None, 3], dtype="Int64"), "F": pd.array([1.0, None, 3], dtype="Float64"),
            "B": pd.array([True, None, False], dtype="boolean"), "S": pd.array(["a", None, "b"], dtype="string"),
            "P": pd.period_range("2020-01", periods=3, freq="M"), "v": pd.interval_range(0, 3),
            "q": pd.arrays.SparseArray([0, 0, 1]), "P2": pd.array(["a", "b", None], dtype="string[python]"),
        }
    )  # fmt: skip
    yield "frame", frame
    yield from ((f"series {name}", frame[name]) for name in frame)
    values = [
        frame.set_index("s"), frame.set_index(["i", "b"]), frame.columns, frame.dtypes, pd.Timestamp("2020"), pd.NaT, pd.NA,
        pd.Timestamp("2020", tz="UTC"), pd.Timestamp("2020", tz="Europe/Berlin"), pd.Timedelta("1s"), pd.Period("2020-01"),
        pd.Interval(0, 1), pd.RangeIndex(3), pd.Index([1.5, 2]), pd.CategoricalIndex(["a", "b"]), pd.DatetimeIndex(["2020"]),
        pd.DatetimeIndex(["2020-01-01", "2020-01-02"], freq="D"), pd.TimedeltaIndex(["1s"]), pd.IntervalIndex.from_breaks([0, 1, 2]),
        pd.PeriodIndex(["2020-01"], freq="M"), pd.MultiIndex.from_product([[1, 2], ["a", "b"]]), pd.CategoricalDtype(["a"]),
        pd.Int64Dtype(), pd.Float64Dtype(), pd.BooleanDtype(), pd.StringDtype(), pd.DatetimeTZDtype(tz="UTC"),
        pd.PeriodDtype("M"), pd.IntervalDtype("int64"), pd.SparseDtype("float"), pd.offsets.Day(2), pd.offsets.MonthEnd(),
        pd.offsets.BusinessDay(), pd.offsets.Hour(), pd.offsets.Week(), pd.offsets.QuarterEnd(), pd.offsets.YearEnd(),
        pd.Series([1, 2], name="x"), pd.Series(dtype=float), pd.DataFrame(), pd.DataFrame(X),
    ]  # fmt: skip
    yield from ((f"pandas {type(value).__name__}", value) for value in values)


def estimators() -> Iterator[Named]:
    """Every scikit-learn estimator, fitted where generic data allows it."""
    from sklearn.base import clone
    from sklearn.utils import all_estimators

    for name, cls in all_estimators():
        made = _construct(cls)
        if made is None:
            continue
        yield f"{name} unfitted", made
        fitted = _fit(clone(made))
        if fitted is not None:
            yield name, fitted
    yield from _composed()
    yield from _parts()


def _construct(cls: type) -> object:
    from sklearn.linear_model import LinearRegression, LogisticRegression

    fast = LogisticRegression() if "lassif" in cls.__name__ or "Chain" in cls.__name__ else LinearRegression()
    special = {
        "ColumnTransformer": {"transformers": [("a", "passthrough", [0, 1])]},
        "FeatureUnion": {"transformer_list": [("a", _scaler())]}, "Pipeline": {"steps": [("a", _scaler()), ("b", LogisticRegression())]},
        "GridSearchCV": {"estimator": LogisticRegression(), "param_grid": {"C": [1.0, 2.0]}},
        "HalvingGridSearchCV": {"estimator": LogisticRegression(), "param_grid": {"C": [1.0, 2.0]}},
        "RandomizedSearchCV": {"estimator": LogisticRegression(), "param_distributions": {"C": [1.0, 2.0]}, "n_iter": 2},
        "HalvingRandomSearchCV": {"estimator": LogisticRegression(), "param_distributions": {"C": [1.0, 2.0]}},
        "SparseCoder": {"dictionary": np.eye(4)},
        "VotingClassifier": {"estimators": [("a", LogisticRegression())]}, "VotingRegressor": {"estimators": [("a", LinearRegression())]},
        "StackingClassifier": {"estimators": [("a", LogisticRegression())]}, "StackingRegressor": {"estimators": [("a", LinearRegression())]},
    }  # fmt: skip
    attempts = [
        special.get(cls.__name__, {}),
        {"estimator": LogisticRegression()},
        {"estimator": fast},
        {"base_estimator": fast},
    ]
    for options in attempts:
        with contextlib.suppress(TypeError):
            return cls(**options)
    return None


def _scaler() -> object:
    from sklearn.preprocessing import StandardScaler

    return StandardScaler()


def _fit(made: object) -> object:
    pairs = [(X, Y), (X, TARGET), (X, Y3), (X, np.column_stack([Y, Y])), (X, np.column_stack([TARGET, TARGET])),
             (TEXT, Y), (X[:, 0], TARGET), (X, X), (Y, None), ([[1, 2], [3]], None), ([{"a": 1}], None), (X > 0.5, Y)]  # fmt: skip
    for data, target in pairs:
        with (
            warnings.catch_warnings(),
            contextlib.suppress(ValueError, TypeError, AttributeError, IndexError),
        ):
            warnings.simplefilter("ignore")
            return made.fit(data, target)
    return None


def _composed() -> Iterator[Named]:
    from sklearn import (
        compose,
        ensemble,
        feature_extraction,
        linear_model,
        naive_bayes,
        neighbors,
        pipeline,
        preprocessing,
        svm,
    )
    from sklearn import gaussian_process as gp

    for transform in (np.log1p, np.sqrt, None):
        yield "function transformer", preprocessing.FunctionTransformer(transform).fit(X)
    yield (
        "text",
        pipeline.make_pipeline(feature_extraction.text.TfidfVectorizer(), naive_bayes.MultinomialNB()).fit(
            TEXT, Y
        ),
    )
    table = compose.make_column_transformer((preprocessing.OneHotEncoder(), [0]), remainder="passthrough")
    yield (
        "table",
        pipeline.make_pipeline(table, ensemble.GradientBoostingClassifier(n_estimators=2)).fit(X, Y),
    )
    for loss in ("squared_error", "absolute_error", "gamma", "poisson", "quantile"):
        options = {"quantile": 0.5} if loss == "quantile" else {}
        yield (
            f"boosting {loss}",
            ensemble.HistGradientBoostingRegressor(loss=loss, max_iter=2, **options).fit(X, TARGET),
        )
    yield "boosting 3", ensemble.HistGradientBoostingClassifier(max_iter=2).fit(X, Y3)
    for loss in ("squared_error", "absolute_error", "huber", "quantile"):
        yield f"gradient {loss}", ensemble.GradientBoostingRegressor(loss=loss, n_estimators=2).fit(X, TARGET)
    for loss in ("log_loss", "exponential"):
        yield f"gradient {loss}", ensemble.GradientBoostingClassifier(loss=loss, n_estimators=2).fit(X, Y)
    yield "gradient 3", ensemble.GradientBoostingClassifier(n_estimators=2).fit(X, Y3)
    yield "gradient init", ensemble.GradientBoostingClassifier(n_estimators=2, init="zero").fit(X, Y)
    for loss in ("hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron"):
        yield f"sgd {loss}", linear_model.SGDClassifier(loss=loss).fit(X, Y)
    for loss in ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"):
        yield f"sgd {loss}", linear_model.SGDRegressor(loss=loss).fit(X, TARGET)
    for power in (0, 1, 1.5, 2, 3):
        yield f"tweedie {power}", linear_model.TweedieRegressor(power=power).fit(X, TARGET)
    for metric in (
        "euclidean",
        "manhattan",
        "chebyshev",
        "minkowski",
        "canberra",
        "hamming",
        "braycurtis",
        "cityblock",
    ):
        for algorithm in ("ball_tree", "kd_tree"):
            with contextlib.suppress(ValueError):
                yield (
                    f"{metric} {algorithm}",
                    neighbors.KNeighborsClassifier(metric=metric, algorithm=algorithm).fit(X, Y),
                )
    yield "haversine", neighbors.BallTree(X[:, :2], metric="haversine")
    for kernel in ("rbf", "linear", "poly", "sigmoid"):
        yield f"svc {kernel}", svm.SVC(kernel=kernel, probability=False).fit(X, Y)
    kernels = gp.kernels
    parts = [kernels.RBF(), kernels.Matern(), kernels.RationalQuadratic(), kernels.ExpSineSquared(), kernels.DotProduct(),
             kernels.WhiteKernel(), kernels.ConstantKernel(), kernels.Exponentiation(kernels.RBF(), 2), kernels.PairwiseKernel(),
             kernels.RBF() + kernels.WhiteKernel(), kernels.RBF() * 2.0, kernels.CompoundKernel([kernels.RBF()])]  # fmt: skip
    yield from ((f"kernel {type(part).__name__}", part) for part in parts)
    yield (
        "process",
        gp.GaussianProcessRegressor(kernels.RBF() + kernels.WhiteKernel(), optimizer=None).fit(X, TARGET),
    )


def _parts() -> Iterator[Named]:
    import sklearn._loss.loss as losses
    import sklearn.model_selection as ms
    from sklearn import metrics
    from sklearn.feature_selection import (
        chi2,
        f_classif,
        f_regression,
        mutual_info_classif,
        mutual_info_regression,
        r_regression,
    )
    from sklearn.utils import Bunch, all_estimators  # noqa: F401 - the module must be whole

    for name in metrics.__all__:
        value = getattr(metrics, name)
        if callable(value) and not isinstance(value, type):
            yield f"metric {name}", value
    yield from ((f"scorer {name}", metrics.get_scorer(name)) for name in metrics.get_scorer_names())
    for name in ms.__all__:
        if name.endswith(("Fold", "Split", "Out")) and name[0].isupper():
            with contextlib.suppress(TypeError):
                yield f"splitter {name}", getattr(ms, name)()
    yield from (
        (f"selection {f.__name__}", f)
        for f in (chi2, f_classif, f_regression, mutual_info_classif, mutual_info_regression, r_regression)
    )
    yield "bunch", Bunch(a=1)
    for name in dir(losses):
        cls = getattr(losses, name)
        if isinstance(cls, type) and issubclass(cls, losses.BaseLoss) and cls is not losses.BaseLoss:
            with contextlib.suppress(TypeError, ValueError):
                yield f"loss {name}", cls()
    for pairwise in (
        metrics.pairwise.rbf_kernel,
        metrics.pairwise.linear_kernel,
        metrics.pairwise.cosine_similarity,
    ):
        yield f"pairwise {pairwise.__name__}", pairwise


def boosted() -> Iterator[Named]:
    """XGBoost and LightGBM in their scikit-learn dress, and their boosters."""
    import lightgbm
    import xgboost

    for cls in (xgboost.XGBClassifier, xgboost.XGBRegressor, xgboost.XGBRFClassifier, xgboost.XGBRFRegressor):
        made = cls(n_estimators=2, n_jobs=1)
        yield f"{cls.__name__} unfitted", made
        made.fit(X, Y if "Class" in cls.__name__ else TARGET)
        yield cls.__name__, made
        yield f"{cls.__name__} booster", made.get_booster()
    yield "XGBRanker", xgboost.XGBRanker(n_estimators=2, n_jobs=1).fit(X, Y, qid=np.zeros(40, int))
    yield "XGBClassifier 3", xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(X, Y3)
    for cls in (lightgbm.LGBMClassifier, lightgbm.LGBMRegressor):
        made = cls(n_estimators=2, n_jobs=1, verbose=-1)
        yield f"{cls.__name__} unfitted", made
        made.fit(X, Y if "Class" in cls.__name__ else TARGET)
        yield cls.__name__, made
        yield f"{cls.__name__} booster", made.booster_
    yield "LGBMRanker", lightgbm.LGBMRanker(n_estimators=2, n_jobs=1, verbose=-1).fit(X, Y, group=[40])
    yield "LGBMClassifier 3", lightgbm.LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1).fit(X, Y3)


def modules() -> Iterator[Named]:
    """Every torch.nn module that can be made from small integers, optimisers and schedulers."""
    import torch

    for name in dir(torch.nn):
        cls = getattr(torch.nn, name)
        if isinstance(cls, type) and issubclass(cls, torch.nn.Module):
            made = _module(cls)
            if made is not None:
                yield f"module {name}", made
    weight = torch.nn.Parameter(torch.ones(2))
    for name in dir(torch.optim):
        cls = getattr(torch.optim, name)
        if (
            isinstance(cls, type)
            and issubclass(cls, torch.optim.Optimizer)
            and cls is not torch.optim.Optimizer
        ):
            with contextlib.suppress(Exception):
                yield f"optimiser {name}", cls([weight], lr=0.1)
    yield "size", torch.Size([1, 2])
    yield "device", torch.device("cpu")
    yield from (
        (f"dtype {name}", value) for name, value in vars(torch).items() if isinstance(value, torch.dtype)
    )
    yield (
        "functions",
        [torch.nn.functional.relu, torch.relu, torch.tanh, torch.sigmoid, torch.nn.functional.gelu],
    )


def _module(cls: type) -> object:
    import torch

    inner = torch.nn.Linear(2, 2)
    layer = torch.nn.TransformerEncoderLayer(4, 2, 8), torch.nn.TransformerDecoderLayer(4, 2, 8)
    for args in (
        (),
        (2,),
        (2, 2),
        (2, 2, 2),
        (inner,),
        ([inner],),
        (4, 2, 8),
        (layer[0], 1),
        (layer[1], 1),
        (2, 4, [2]),
        ({"a": inner},),
    ):
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return cls(*args)
    return None
