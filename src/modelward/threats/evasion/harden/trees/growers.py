"""Growing a tree model again with its own library, and with the parameters it was grown with.

Source: XGBoost 3.2 `save_config` and JSON document; LightGBM 4.7 `Booster.params`, which the text keeps;
scikit-learn 1.9 `clone`, by way of `get_params`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast, final

import numpy as np

from modelward.adapters.runtime import as_numbers
from modelward.adapters.runtimes.boosters import lightgbm_from_text
from modelward.adapters.trees import lightgbm_trees, xgboost_trees
from modelward.errors import ExtraMissing, FileDamaged, ModelRaised, ShapeMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lightgbm
    import xgboost
    from numpy.typing import NDArray

    from modelward.core.trees import Forest
    from modelward.numeric.types import IntArray

_XGBOOST: Final = {"xgboost-json": "json", "xgboost-ubj": "ubj"}
_XGBOOST_KEPT: Final = (
    "eta", "learning_rate", "gamma", "min_split_loss", "min_child_weight", "reg_lambda", "lambda",
    "reg_alpha", "alpha", "subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode",
    "max_delta_step",
)  # fmt: skip
_LIGHTGBM_DROPPED: Final = frozenset(
    {"num_iterations", "early_stopping_round", "categorical_feature", "metric", "first_metric_only"}
)


class Grower(Protocol):
    """Grows models of the kind and with the parameters of one that was given.

    Attributes:
        suffix: of the file that a grown model is written to.
    """

    suffix: str

    def grow(self, x: NDArray[np.generic], y: IntArray, *, seed: int) -> object:
        """A live model, as an audit takes it.

        Args:
            x: (n, d) samples.
            y: (n,) score column of each label.
            seed: of whatever the library draws.

        Raises:
            ModelRaised: the library refuses the samples.
        """
        ...

    def document(self, model: object) -> bytes:
        """A grown model as a file.

        Raises:
            ExtraMissing: what writes it is not installed.
        """
        ...


def grower(model: object, format_: str) -> Grower:
    """What grows models like this one.

    Args:
        model: a path or a live object.
        format_: as the subject names it.

    Raises:
        ShapeMismatch: it cannot be grown again.
    """
    if isinstance(model, str | Path):
        if format_ in _XGBOOST:
            return XGBoostGrower(_xgboost(Path(model)), _XGBOOST[format_])
        if format_ == "lightgbm":
            return LightGBMGrower(Path(model).read_text("utf-8", "replace"))
        raise ShapeMismatch(
            f"trees of a {format_} file are not grown again: it does not say how to, or is a program",
            advice="Give an XGBoost or LightGBM file, or the live classifier through the Python API.",
        )
    if format_ == "xgboost-booster":
        return XGBoostGrower(cast("xgboost.Booster", model), "json")
    if format_ == "lightgbm-booster":
        return LightGBMGrower(cast("lightgbm.Booster", model).model_to_string())
    if callable(getattr(model, "fit", None)) and callable(getattr(model, "get_params", None)):
        return EstimatorGrower(cast("_Estimator", model))
    raise ShapeMismatch(f"a {type(model).__name__} cannot be grown again: it has no fit and get_params")


@final
class XGBoostGrower:
    """XGBoost. A file keeps no training parameters but what its trees show: their number and depth.

    Attributes:
        suffix: ``json`` or ``ubj``.
    """

    def __init__(self, booster: xgboost.Booster, suffix: str) -> None:
        self.suffix = suffix
        self._names, self._types = booster.feature_names, booster.feature_types
        learner = json.loads(booster.save_config())["learner"]
        part = learner["gradient_booster"]
        part = part.get("gbtree", part)
        said = part.get("tree_train_param", {})
        classes = int(learner["learner_model_param"].get("num_class", "0"))
        self._rounds = booster.num_boosted_rounds()
        self._parameters: dict[str, object] = {
            **{name: float(said[name]) for name in _XGBOOST_KEPT if name in said},
            **({"num_class": classes} if classes > 1 else {}),
            "objective": learner["objective"]["name"],
            "max_depth": deepest(xgboost_trees.read(bytes(booster.save_raw("json")))),
            "num_parallel_tree": int(part.get("gbtree_model_param", {}).get("num_parallel_tree", "1")),
            "nthread": 2,
            "verbosity": 0,
        }

    def grow(self, x: NDArray[np.generic], y: IntArray, *, seed: int) -> object:
        """A booster; see `Grower.grow`."""
        import xgboost

        coded = "c" in (self._types or ())
        try:
            matrix = xgboost.DMatrix(
                as_numbers(x, np.float32), label=y, feature_names=self._names, feature_types=self._types,
                enable_categorical=coded,
            )  # fmt: skip
            return xgboost.train({**self._parameters, "seed": seed % 2**31}, matrix, self._rounds)
        except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
            raise ModelRaised(f"xgboost cannot grow trees on these samples: {str(error)[:200]}") from error

    def document(self, model: object) -> bytes:
        """XGBoost's JSON or UBJ."""
        return bytes(cast("xgboost.Booster", model).save_raw(self.suffix))


@final
class LightGBMGrower:
    """LightGBM, whose text keeps the parameters.

    Attributes:
        suffix: ``txt``.
    """

    suffix = "txt"

    def __init__(self, text: str) -> None:
        lightgbm_from_text(text, "the booster")  # refuses what is no classifier
        import lightgbm

        booster = lightgbm.Booster(model_str=text)
        forest = lightgbm_trees.read(text)
        self._rounds, self._names = max(1, booster.current_iteration()), list(booster.feature_name())
        self._coded = [int(i) for i in np.unique(forest.feature[forest.subset >= 0])]
        kept = {k: v for k, v in dict(booster.params).items() if k not in _LIGHTGBM_DROPPED}
        self._parameters: dict[str, object] = {
            **kept, "num_threads": 1, "verbose": -1, "deterministic": True, "force_row_wise": True,
            "force_col_wise": False,
        }  # fmt: skip

    def grow(self, x: NDArray[np.generic], y: IntArray, *, seed: int) -> object:
        """A booster; see `Grower.grow`."""
        import lightgbm

        try:
            samples = lightgbm.Dataset(
                as_numbers(x, np.float64), label=y, feature_name=self._names,
                categorical_feature=self._coded, params={"verbose": -1},
            )  # fmt: skip
            return lightgbm.train({**self._parameters, "seed": seed % 2**31}, samples, self._rounds)
        except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
            raise ModelRaised(f"lightgbm cannot grow trees on these samples: {str(error)[:200]}") from error

    def document(self, model: object) -> bytes:
        """LightGBM's text."""
        return cast("lightgbm.Booster", model).model_to_string().encode()


class _Estimator(Protocol):
    """The part of scikit-learn's interface that growing needs."""

    classes_: NDArray[np.generic]

    def get_params(self, *, deep: bool = True) -> dict[str, object]: ...
    def set_params(self, **parameters: object) -> object: ...
    def fit(self, x: object, y: object) -> object: ...


@final
class EstimatorGrower:
    """A scikit-learn classifier or pipeline, or one of XGBoost and LightGBM with their interface.

    Attributes:
        suffix: ``skops``; ``json`` and ``txt`` for the boosters.
    """

    def __init__(self, estimator: _Estimator) -> None:
        self._given, self._classes = estimator, np.asarray(estimator.classes_)
        self._names: Sequence[str] | None = getattr(estimator, "feature_names_in_", None)
        kind = type(estimator).__name__
        self.suffix = {"XGBClassifier": "json", "XGBRFClassifier": "json", "LGBMClassifier": "txt"}.get(
            kind, "skops"
        )

    def grow(self, x: NDArray[np.generic], y: IntArray, *, seed: int) -> object:
        """An estimator of the same parameters; see `Grower.grow`."""
        from sklearn.base import clone

        estimator = cast("_Estimator", clone(self._given))
        known = estimator.get_params()
        changes: dict[str, object] = {name: seed % 2**31 for name in known if name.endswith("random_state")}
        if known.get("early_stopping_rounds") is not None:
            changes["early_stopping_rounds"] = None  # it would want samples of its own
        estimator.set_params(**changes)
        try:
            estimator.fit(self._frame(x), self._classes[y])
        except (ValueError, TypeError) as error:
            raise ModelRaised(f"the estimator refused the training samples: {str(error)[:200]}") from error
        return estimator

    def _frame(self, x: NDArray[np.generic]) -> object:
        if self._names is None:
            return x
        import pandas as pd

        return pd.DataFrame(np.asarray(x), columns=list(self._names))

    def document(self, model: object) -> bytes:
        """The booster's own file, or skops, which loads no program."""
        if self.suffix == "json":
            return bytes(model.get_booster().save_raw("json"))  # type: ignore[attr-defined]  # suffix says so
        if self.suffix == "txt":
            return bytes(model.booster_.model_to_string().encode())  # type: ignore[attr-defined]  # likewise
        try:
            from skops.io import dumps
        except ImportError as error:
            raise ExtraMissing("skops", "sklearn") from error
        return bytes(dumps(model))


def deepest(forest: Forest) -> int:
    """Number of decisions on the longest path of any tree, at least 1."""
    level = np.zeros(len(forest.feature), np.int64)
    for node in np.flatnonzero(forest.feature >= 0):  # children stand behind their parents
        level[[forest.left[node], forest.right[node]]] = level[node] + 1
    return max(1, int(level.max(initial=0)))


def _xgboost(path: Path) -> xgboost.Booster:
    try:
        import xgboost
    except ImportError as error:
        raise ExtraMissing("xgboost", "trees") from error
    booster = xgboost.Booster({"nthread": 2})
    try:
        booster.load_model(bytearray(path.read_bytes()))
    except (xgboost.core.XGBoostError, ValueError) as error:
        raise FileDamaged(f"{path.name}: xgboost cannot open it ({str(error)[:200]})") from error
    return booster
