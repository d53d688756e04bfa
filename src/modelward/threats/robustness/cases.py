"""The list of unusual inputs, each made from a few valid rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from modelward.core.data import Box

    Array: TypeAlias = NDArray[np.generic]
    Floats: TypeAlias = NDArray[np.floating]

Family: TypeAlias = Literal["missing", "infinite", "extreme", "shape", "type", "size", "text"]

HUGE_ROWS = 100_000
"""Rows of the huge batch, fewer where they would take more than `HUGE_BYTES`."""

HUGE_BYTES = 1 << 28


@final
@dataclass(frozen=True, slots=True)
class Case:
    """One unusual input.

    Attributes:
        name: what is unusual.
        family: cases judged alike.
        valid: an ordinary finite answer is acceptable; otherwise the input must be refused.
        make: builds the input (the huge one only when it is sent).
        rows: samples it holds: the length of its first axis, 1 for a single number.
    """

    name: str
    family: Family
    valid: bool
    make: Callable[[], Array]
    rows: int


def cases(x: Array, box: Box, *, feature: int) -> Iterator[Case]:
    """All cases, those that need most memory last.

    Args:
        x: (n, *shape) valid rows, n >= 1; never changed.
        box: where inputs may lie.
        feature: flat position, within one sample, of the feature that alone is made unusual.
    """
    yield from _values(x, feature=feature)
    yield from _extremes(x, box)
    yield from _shapes(x)
    yield from _types(x)
    yield allow("no rows", "size", lambda: x[:0], 0)
    huge = max(1, min(HUGE_ROWS, HUGE_BYTES // max(1, x[:1].nbytes)))
    yield allow(f"{huge} rows", "size", lambda: x[np.arange(huge) % len(x)], huge)


def refuse(name: str, family: Family, make: Callable[[], Array], rows: int) -> Case:
    """An input that has no sound answer."""
    return Case(name, family, valid=False, make=make, rows=rows)


def allow(name: str, family: Family, make: Callable[[], Array], rows: int) -> Case:
    """An input that may be answered."""
    return Case(name, family, valid=True, make=make, rows=rows)


def _floating(x: Array) -> Floats:
    floats: Floats = x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)  # type: ignore[assignment]  # numpy's types do not narrow by issubdtype
    return floats


def _values(x: Array, *, feature: int) -> Iterator[Case]:
    base, n = _floating(x), len(x)

    def one(value: float) -> Array:
        changed = base.copy()
        changed.reshape(n, -1)[:, feature] = value
        return changed

    families: dict[Family, dict[str, float]] = {
        "missing": {"NaN": np.nan},
        "infinite": {"+infinity": np.inf, "-infinity": -np.inf},
    }
    for family, values in families.items():
        for name, value in values.items():
            yield refuse(f"{name} in one feature", family, partial(one, value), n)
            yield refuse(f"{name} everywhere", family, partial(np.full_like, base, value), n)


def _extremes(x: Array, box: Box) -> Iterator[Case]:
    base, n = _floating(x), len(x)
    limits = np.finfo(base.dtype)

    def beyond(sign: int) -> Array:
        width = np.where(np.isfinite(box.upper - box.lower), box.upper - box.lower, 1.0)
        edge = box.upper if sign > 0 else box.lower
        values = np.where(np.isfinite(edge), edge, 0.0) + sign * 10 * width
        return np.broadcast_to(values, x.shape).astype(base.dtype)

    values = {
        "1e30": min(1e30, float(limits.max)),
        "largest float": float(limits.max),
        "most negative float": float(limits.min),
        "smallest subnormal": float(limits.smallest_subnormal),
        "zero": 0.0,
    }
    for name, value in values.items():
        yield allow(f"{name} everywhere", "extreme", partial(np.full_like, base, value), n)
    yield allow("ten box widths above the box", "extreme", partial(beyond, 1), n)
    yield allow("ten box widths below the box", "extreme", partial(beyond, -1), n)


def _shapes(x: Array) -> Iterator[Case]:
    n = len(x)
    yield refuse("one feature too many", "shape", lambda: np.concatenate([x, x[..., -1:]], axis=-1), n)
    yield refuse("one feature too few", "shape", lambda: x[..., :-1], n)
    if x.ndim == 2:
        yield refuse("rows joined into one vector", "shape", lambda: x.reshape(-1), x.size)
    else:
        yield refuse("samples flattened", "shape", lambda: x.reshape(n, -1), n)
    yield refuse("one axis too many", "shape", lambda: x[:, None], n)
    yield refuse("a single number", "shape", lambda: x.reshape(-1)[0].reshape(()), 1)


def _types(x: Array) -> Iterator[Case]:
    base, n = _floating(x), len(x)
    numbers = np.nan_to_num(base)
    yield refuse("words", "type", lambda: np.full(x.shape, "word"), n)
    yield refuse("numbers as text", "type", lambda: numbers.astype(np.str_), n)
    yield refuse("complex numbers", "type", lambda: numbers.astype(np.complex128) + 1j, n)
    yield allow("whole numbers", "type", lambda: numbers.astype(np.int64), n)
    yield allow("booleans", "type", lambda: np.asarray(numbers > numbers.mean()), n)
