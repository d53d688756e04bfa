"""XGBoost and LightGBM files, run by their own libraries."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, final

import numpy as np

from modelward.adapters.runtime import Facts, RuntimeSpec, as_numbers
from modelward.errors import ExtraMissing, FileDamaged, ModelRaised, ShapeMismatch

if TYPE_CHECKING:
    import lightgbm
    import xgboost
    from numpy.typing import NDArray

    from modelward.core.model import OutputKind
    from modelward.core.trees import Forest


@final
class XGBoostRuntime:
    """A booster and what its objective makes of its answers."""

    def __init__(self, booster: xgboost.Booster) -> None:
        self._booster = booster
        learner = json.loads(booster.save_config())["learner"]
        objective = learner["objective"]["name"]
        kinds: dict[str, OutputKind] = {
            "binary:logistic": "probabilities",
            "multi:softprob": "probabilities",
            "multi:softmax": "labels",
            "binary:logitraw": "logits",
            "binary:hinge": "labels",
        }
        if objective not in kinds:
            raise ShapeMismatch(
                f"the objective {objective!r} is no classification", advice="Give a classifier."
            )
        classes = int(learner["learner_model_param"].get("num_class", "0"))
        self._facts = Facts(
            features=tuple(booster.feature_names) if booster.feature_names else None,
            n_features=booster.num_features(),
            classes=tuple(map(str, range(max(2, classes)))),
            kind=kinds[objective],
            origin=f"objective {objective}",
            missing=True,
        )

    @property
    def facts(self) -> Facts:
        """Feature names, number of classes, and the objective's meaning."""
        return self._facts

    def forest(self) -> Forest:
        """The booster's trees."""
        from modelward.adapters.trees import xgboost_trees

        return xgboost_trees.read(bytes(self._booster.save_raw("json")))

    def raw(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        """Predict rows."""
        import xgboost

        types = self._booster.feature_types
        try:
            matrix = xgboost.DMatrix(
                as_numbers(x, np.float32),
                feature_names=self._booster.feature_names,
                feature_types=types,
                enable_categorical="c" in (types or ()),
            )
            answer = self._booster.predict(matrix)
        except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
            raise ModelRaised(f"xgboost refused the input: {_sentence(error)[:300]}") from error
        return answer.astype(np.int64) if self._facts.kind == "labels" else np.asarray(answer)


@final
class LightGBMRuntime:
    """A booster and what its objective makes of its answers."""

    def __init__(self, booster: lightgbm.Booster, objective: str, classes: int) -> None:
        self._booster = booster
        self._facts = Facts(
            features=tuple(booster.feature_name()),
            n_features=booster.num_feature(),
            classes=tuple(map(str, range(classes))),
            kind="probabilities",
            origin=f"objective {objective}",
            missing=True,
        )

    @property
    def facts(self) -> Facts:
        """Feature names, number of classes, and the objective's meaning."""
        return self._facts

    def forest(self) -> Forest:
        """The booster's trees."""
        from modelward.adapters.trees import lightgbm_trees

        return lightgbm_trees.read(self._booster.model_to_string())

    def raw(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        """Predict rows."""
        import lightgbm

        try:
            return np.asarray(self._booster.predict(as_numbers(x, np.float64), num_threads=2))
        except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
            raise ModelRaised(f"lightgbm refused the input: {str(error)[:300]}") from error


def load_xgboost(spec: RuntimeSpec) -> XGBoostRuntime:
    """Open an XGBoost JSON or UBJ file.

    Raises:
        ExtraMissing: xgboost is not installed.
        FileDamaged: xgboost does not accept the file.
        ShapeMismatch: it is no classifier.
    """
    try:
        import xgboost
    except ImportError as error:
        raise ExtraMissing("xgboost", "trees") from error
    booster = xgboost.Booster({"nthread": 2})
    try:
        # XGBoost chooses its parser by the extension; the content decides here.
        with open(spec.path, "rb") as stream:  # noqa: PTH123  (spec.path is text because it crosses processes)
            booster.load_model(bytearray(stream.read()))
    except (xgboost.core.XGBoostError, ValueError) as error:
        raise FileDamaged(f"{spec.path}: xgboost cannot open it ({_sentence(error)[:200]})") from error
    return XGBoostRuntime(booster)


def load_lightgbm(spec: RuntimeSpec) -> LightGBMRuntime:
    """Open a LightGBM text file.

    Raises:
        ExtraMissing: lightgbm is not installed.
        FileDamaged: lightgbm does not accept the file.
        ShapeMismatch: it is no classifier.
    """
    with open(spec.path, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123  (see load_xgboost)
        return lightgbm_from_text(stream.read(), spec.path)


def lightgbm_from_text(text: str, name: str) -> LightGBMRuntime:
    """Make a booster from LightGBM's own text; raises as `load_lightgbm` does."""
    try:
        import lightgbm
    except ImportError as error:
        raise ExtraMissing("lightgbm", "trees") from error
    header = dict(line.split("=", 1) for line in text[:100_000].splitlines() if "=" in line)
    if "end of trees" not in text:
        raise FileDamaged(f"{name}: the LightGBM model ends before 'end of trees'")
    objective = header.get("objective", "").split(" ")[0]
    if objective not in {"binary", "multiclass", "multiclassova", "cross_entropy"}:
        raise ShapeMismatch(f"the objective {objective!r} is no classification", advice="Give a classifier.")
    try:
        booster = lightgbm.Booster(model_str=text)
        classes = max(2, int(header.get("num_class", "1")))
    except (lightgbm.basic.LightGBMError, ValueError) as error:
        raise FileDamaged(f"{name}: lightgbm cannot open it ({str(error)[:200]})") from error
    return LightGBMRuntime(booster, objective, classes)


def _sentence(error: Exception) -> str:
    """What XGBoost means, without the time and source line before it and the C++ stack below it."""
    lines = [line for line in str(error).splitlines() if line.strip() and "[bt]" not in line]
    said = [line for line in lines if not line.startswith("Stack trace")]
    return re.sub(r"^\[[\d:]+\] \S+?:\d+: ", "", said[0]).strip() if said else type(error).__name__
