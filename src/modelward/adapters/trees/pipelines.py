"""Steps of a scikit-learn pipeline, column by column, as functions of the model's inputs.

Source: scikit-learn 1.9 `preprocessing/_data.py`, `preprocessing/_encoders.py`, `impute/_base.py`,
`compose/_column_transformer.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, cast, final

import numpy as np

from modelward.adapters.trees.inputs import Source, unchanged
from modelward.errors import OperatorUnsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from modelward.numeric.types import FloatArray

    Step = Callable[[FloatArray], FloatArray]

_MOST_CODES: Final = 1 << 16
_UNKNOWN: Final = "(unknown)"
"""What the runtime gives an estimator for a code without a text."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns between two steps.

    Attributes:
        sources: where each comes from.
        texts: per column, what its codes stand for; null for numbers.
        names: of the columns, or null.
    """

    sources: tuple[Source, ...]
    texts: tuple[tuple[str, ...] | None, ...]
    names: tuple[str, ...] | None

    @classmethod
    def of(cls, width: int, names: Sequence[str] | None, categories: Mapping[str, Sequence[str]]) -> Self:
        """The model's own inputs."""
        texts = [tuple(categories[n]) if n in categories else None for n in names or ()] or [None] * width
        sources = (
            Source(feature=i, step=unchanged) if found is None else _coded(i, found)
            for i, found in enumerate(texts)
        )
        return cls(sources=tuple(sources), texts=tuple(texts), names=None if names is None else tuple(names))

    @property
    def untouched(self) -> bool:
        """Whether these are still the model's inputs, all of them numbers."""
        return all(s.step is unchanged and s.feature == i for i, s in enumerate(self.sources))

    def take(self, index: Sequence[int]) -> Columns:
        """Some of them."""
        return Columns(
            sources=tuple(self.sources[i] for i in index),
            texts=tuple(self.texts[i] for i in index),
            names=None if self.names is None else tuple(self.names[i] for i in index),
        )


def _coded(feature: int, texts: tuple[str, ...]) -> Source:
    unknown = float(len(texts))
    return Source(feature=feature, step=unchanged, codes=len(texts), other=unknown, missing=unknown)


def through(columns: Columns, step: object) -> Columns:
    """The columns after one fitted step.

    Raises:
        OperatorUnsupported: the step mixes columns, or is not known.
    """
    name = type(step).__name__
    if isinstance(step, str):
        name = step
    if name in {"passthrough", "NoneType"} or (name == "FunctionTransformer" and vars(step)["func"] is None):
        return columns
    if name == "ColumnTransformer":
        return _transformed(columns, step)
    if name == "Pipeline":
        for _, inner in cast("list[tuple[str, object]]", vars(step)["steps"]):
            columns = through(columns, inner)
        return columns
    if name in {"OneHotEncoder", "OrdinalEncoder"}:
        return _encoded(columns, step, name)
    if any(texts is not None for texts in columns.texts):
        raise OperatorUnsupported(f"the step {name} is applied to texts, so trees behind it are not read")
    if name not in _STEPS:
        raise OperatorUnsupported(f"the step {name} is not one that thresholds can be taken through")
    made = _STEPS[name](step, len(columns.sources))
    sources = tuple(_then(source, *one) for source, one in zip(columns.sources, made, strict=True))
    return Columns(sources=sources, texts=columns.texts, names=None)


def _then(source: Source, step: Step, missing: float) -> Source:
    """One more step; `missing` replaces a value that is still missing."""

    def both(x: FloatArray) -> FloatArray:
        before = source.step(x)
        return step(np.where(np.isnan(before), missing, before))

    seen, outside = step(
        np.where(np.isnan([source.missing, source.other]), missing, [source.missing, source.other])
    )
    return Source(
        feature=source.feature, step=both, codes=source.codes, other=float(outside), missing=float(seen)
    )


def rounded(source: Source, step: Step) -> Source:
    """One more step on what nodes see, missing values left alone."""
    return _then(source, step, float("nan"))


def _list(step: object, name: str, width: int) -> FloatArray:
    value = getattr(step, name, None)
    return np.full(width, np.nan) if value is None else np.broadcast_to(np.asarray(value, np.float64), width)


def _scaler(step: object, width: int) -> list[tuple[Step, float]]:
    shift = _list(step, "center_" if type(step).__name__ == "RobustScaler" else "mean_", width)
    scale = _list(step, "scale_", width)
    centred = bool(getattr(step, "with_mean", True)) and bool(getattr(step, "with_centering", True))

    def one(m: float, s: float) -> Step:
        def run(x: FloatArray) -> FloatArray:
            x = x - m if centred and not np.isnan(m) else x
            return x if np.isnan(s) else x / s

        return run

    return [(one(m, s), float("nan")) for m, s in zip(shift, scale, strict=True)]


def _min_max(step: object, width: int) -> list[tuple[Step, float]]:
    scale, shift = _list(step, "scale_", width), _list(step, "min_", width)
    low, high = cast("tuple[float, float]", vars(step)["feature_range"])
    clip = bool(vars(step).get("clip"))

    def one(s: float, m: float) -> Step:
        return lambda x: np.clip(x * s + m, low, high) if clip else x * s + m

    return [(one(s, m), float("nan")) for s, m in zip(scale, shift, strict=True)]


def _max_abs(step: object, width: int) -> list[tuple[Step, float]]:
    def one(s: float) -> Step:
        return lambda x: x / s

    return [(one(s), float("nan")) for s in _list(step, "scale_", width)]


def _imputer(step: object, width: int) -> list[tuple[Step, float]]:
    given = vars(step)
    marker = given.get("missing_values")
    if not (isinstance(marker, float) and np.isnan(marker)) or given.get("add_indicator"):
        raise OperatorUnsupported("an imputer of other values than NaN, or with an indicator, is not read")
    filled = _list(step, "statistics_", width)
    if np.isnan(filled).any():
        raise OperatorUnsupported("an imputer that drops a column is not read")
    return [(unchanged, float(value)) for value in filled]


_STEPS: Final[dict[str, Callable[[object, int], list[tuple[Step, float]]]]] = {
    "StandardScaler": _scaler,
    "RobustScaler": _scaler,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "SimpleImputer": _imputer,
}


def _encoded(columns: Columns, step: object, name: str) -> Columns:
    known = cast("list[NDArray[np.generic]]", vars(step)["categories_"])
    if vars(step).get("_infrequent_enabled"):
        raise OperatorUnsupported("an encoder that joins rare categories is not read")
    sources: list[Source] = []
    dropped = vars(step).get("drop_idx_")
    for i, (source, texts) in enumerate(zip(columns.sources, known, strict=True)):
        values = _codes_of(columns.texts[i], texts)
        coded = ordinal(source, values, unknown=-1.0)
        if name == "OrdinalEncoder":
            given = vars(step)
            unknown = (
                given.get("unknown_value") if given.get("handle_unknown") == "use_encoded_value" else None
            )
            missing = float(given.get("encoded_missing_value", np.nan))
            gap = next(
                (float(i) for i, v in enumerate(values.tolist()) if isinstance(v, float) and np.isnan(v)),
                float("nan"),
            )
            sources.append(_replaced(coded, float(unknown) if unknown is not None else -1.0, (gap, missing)))
            continue
        kept = [c for c in range(len(texts)) if dropped is None or dropped[i] != c]
        sources += [_switch(coded, c) for c in kept]
    return Columns(sources=tuple(sources), texts=(None,) * len(sources), names=None)


def _codes_of(mine: tuple[str, ...] | None, theirs: NDArray[np.generic]) -> NDArray[np.generic]:
    """The encoder's categories as numbers that stand in the column: the data's codes, where it has texts."""
    if mine is None:
        return theirs
    place = {text: i for i, text in enumerate(mine)}
    # A category that the data does not know gets a number that no cell holds; unknown texts share one.
    return np.array(
        [place.get(str(t), len(mine) if str(t) == _UNKNOWN else -2 - i) for i, t in enumerate(theirs)]
    )


def ordinal(source: Source, values: NDArray[np.generic], *, unknown: float) -> Source:
    """A column of categories as their positions in a list of whole numbers.

    Args:
        source: the column.
        values: (c,) the categories; NaN among them stands for missing values.
        unknown: what any other value becomes.

    Raises:
        OperatorUnsupported: a category is no whole number.
    """
    if values.dtype.kind not in "fiub":
        try:
            values = values.astype(np.float64)
        except (ValueError, TypeError) as error:
            raise OperatorUnsupported("categories that are texts need the data's dictionary") from error
    numbers = values.astype(np.float64)
    named = numbers[~np.isnan(numbers)]
    if (named != np.rint(named)).any() or named.max(initial=0) >= _MOST_CODES:
        raise OperatorUnsupported("categories that are not whole numbers below 65536 are not read")
    codes = max(source.codes, int(named.max(initial=-1)) + 1)
    where = {float(v): float(i) for i, v in enumerate(numbers) if not np.isnan(v)}
    gap = next((float(i) for i, v in enumerate(numbers) if np.isnan(v)), float("nan"))
    before = source.step

    def run(x: FloatArray) -> FloatArray:
        return np.array([gap if np.isnan(v) else where.get(float(v), unknown) for v in before(x)])

    outside = where.get(source.other, unknown) if source.codes else unknown
    seen = gap if np.isnan(source.missing) else where.get(source.missing, unknown)
    return Source(feature=source.feature, step=run, codes=codes, other=outside, missing=seen)


def _replaced(coded: Source, unknown: float, gap: tuple[float, float]) -> Source:
    """Unknown categories as a number, and missing values, when there were any to learn from, as another."""
    place, missing = gap

    def named(found: FloatArray) -> FloatArray:
        known = np.where((found == -1.0) | np.isnan(found), unknown, found)
        return np.where(found == place, missing, known)

    def run(x: FloatArray) -> FloatArray:
        return named(coded.step(x))

    seen, outside = named(np.array([coded.missing, coded.other])).tolist()
    return Source(feature=coded.feature, step=run, codes=coded.codes, other=outside, missing=seen)


def _switch(coded: Source, code: int) -> Source:
    def run(x: FloatArray) -> FloatArray:
        return np.asarray(coded.step(x) == code, np.float64)

    return Source(
        feature=coded.feature,
        step=run,
        codes=coded.codes,
        other=float(coded.other == code),
        missing=float(coded.missing == code),
    )


def _transformed(columns: Columns, step: object) -> Columns:
    parts = []
    for _, inner, chosen in cast("list[tuple[str, object, object]]", vars(step)["transformers_"]):
        if isinstance(inner, str) and inner == "drop":
            continue
        parts.append(through(columns.take(_positions(columns, chosen)), inner))
    return Columns(
        sources=tuple(s for part in parts for s in part.sources),
        texts=tuple(t for part in parts for t in part.texts),
        names=None,
    )


def _positions(columns: Columns, chosen: object) -> list[int]:
    width = len(columns.sources)
    if isinstance(chosen, slice):
        return list(range(width))[chosen]
    found = np.atleast_1d(np.asarray(chosen))
    if found.dtype.kind == "b":
        return [int(i) for i in np.flatnonzero(found)]
    if found.dtype.kind in "iu":
        return [int(i) % width for i in found]
    names = {name: i for i, name in enumerate(columns.names or ())}
    if any(str(name) not in names for name in found):
        raise OperatorUnsupported("a step names a column that does not reach it")
    return [names[str(name)] for name in found]
