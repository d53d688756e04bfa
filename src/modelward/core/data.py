"""Data sets, as checks see them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelward.core.subject import Subject

ColumnKind: TypeAlias = Literal["real", "integer", "boolean", "category"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One feature of a table.

    Attributes:
        name: from the header.
        kind: inferred from all rows; a category is stored in `Dataset.x` as the index into `categories`.
        lower: smallest value seen in all rows (categories: 0).
        upper: largest value seen (categories: number of categories - 1).
        categories: the distinct texts, sorted; empty for numbers.
        missing: rows without a value.
        immutable: an attacker cannot change it.
        sensitive: groups are formed by it.
        onehot: name of the one-hot group it belongs to, or null.
        direction: an attacker can make a number larger only (``up``), smaller only (``down``), or both.
        cost: a change counts this many times as much as it would by its size, > 0; not for counts (L0).
    """

    name: str
    kind: ColumnKind
    lower: float
    upper: float
    categories: tuple[str, ...] = ()
    missing: int = 0
    immutable: bool = False
    sensitive: bool = False
    onehot: str | None = None
    direction: Literal["any", "up", "down"] = "any"
    cost: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """What columns of numbers always satisfy: a weighted sum that equals a bound, or is at most it.

    Attributes:
        text: as the user wrote it.
        terms: column name and weight; the first column of an equality follows from the others.
        equal: ``=`` and not ``<=``.
        bound: the constant.
    """

    text: str
    terms: tuple[tuple[str, float], ...]
    equal: bool
    bound: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where inputs may lie, and what one unit of eps means. Part of every robustness claim.

    Attributes:
        lower: smallest allowed value, broadcastable to one sample's shape, float64.
        upper: largest allowed value, likewise.
        scale: size of one eps unit per feature, likewise; an eps of 0.1 allows a change of 0.1 * scale.
        unit: ``box width`` (one global box: images); per feature for tables, ``training range`` or, where no
            training data says it, ``data range``; ``edits`` for texts, of which the arrays say nothing.
        source: ``stated``, ``inferred from the data`` or ``training data``.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    scale: NDArray[np.float64]
    unit: Literal["box width", "training range", "data range", "edits"]
    source: str

    def describe(self) -> dict[str, float | str]:
        """The box in a claim's scope: extremes over features, unit and source."""
        return {
            "lower": float(self.lower.min()),
            "upper": float(self.upper.max()),
            "unit": self.unit,
            "source": self.source,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """A sensitive column as group codes.

    Attributes:
        name: the column.
        codes: (n,) int64, index into `levels`.
        levels: group names; numbers are cut into quantile bins, which the names state.
    """

    name: str
    codes: NDArray[np.int64]
    levels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WordVectors:
    """Words as directions: those with a small angle mean much the same.

    Attributes:
        subject: identity of the file.
        words: all different, lower case where the file has them so.
        vectors: (len(words), d) float32 of length 1.
    """

    subject: Subject
    words: tuple[str, ...]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratings:
    """What users think of items; each pair at most once.

    Attributes:
        subject: identity of the file.
        users: (n,) int64 index into `user_names`; every user occurs.
        items: (n,) int64 index into `item_names`; every item occurs.
        values: (n,) float64, finite.
        user_names: as the file has them, in order of first occurrence.
        item_names: likewise.
    """

    subject: Subject
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    values: NDArray[np.float64]
    user_names: tuple[str, ...]
    item_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Samples with labels.

    Attributes:
        subject: identity of the whole file, not only of the rows held here.
        x: (n, *shape) float64 for tables, float32 or the file's own type for images; (n,) objects that are
            all str for texts.
        y: (n,) int64 index into `labels`, or null when there are no labels.
        labels: the label values as text, sorted (numerically where all are numbers).
        rows: (n,) int64 row number in the file, so that a witness can be found again.
        total: rows in the file; larger than n when a uniform sample is held.
        columns: one per feature of a table; empty for images and texts.
        box: where inputs may lie.
        groupings: the sensitive columns, features or not.
        relations: what columns satisfy together, and still do after an attacker changed them.
        vectors: meaning of words, where the user supplies it; texts only.
    """

    subject: Subject
    x: NDArray[np.generic]
    y: NDArray[np.int64] | None
    labels: tuple[str, ...]
    rows: NDArray[np.int64]
    total: int
    columns: tuple[Column, ...] = ()
    box: Box
    groupings: tuple[Grouping, ...] = field(default=())
    relations: tuple[Relation, ...] = ()
    vectors: WordVectors | None = None

    @property
    def textual(self) -> bool:
        """Whether the samples are texts."""
        return self.x.dtype.kind == "O"

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: NDArray[np.int64]) -> Dataset:
        """The same data set with only the given positions, in that order.

        Args:
            index: (m,) int64 positions into `x`.
        """
        return replace(
            self,
            x=self.x[index],
            y=None if self.y is None else self.y[index],
            rows=self.rows[index],
            groupings=tuple(replace(g, codes=g.codes[index]) for g in self.groupings),
        )
