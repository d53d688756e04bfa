"""What the user may say about a data set."""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING

import msgspec

from modelward.errors import ColumnMissing, ConfigInvalid, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Constraints(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an attacker cannot do to a row of a table; the table ``[data.constraints]``.

        Constraints(up=("age",), cost={"income": 2.0}, relations=("total = a + b", "a <= b"))

    Attributes:
        up: columns of numbers that can only grow.
        down: columns of numbers that can only shrink.
        cost: column to how many times a change counts, > 0.
        relations: equations and inequalities between columns; a name that is no word stands in backquotes.
    """

    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    cost: dict[str, float] = {}
    relations: tuple[str, ...] = ()


class DataOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the user may say about a data set.

    Attributes:
        label: name of the label column of a table (of an npz: key of the labels, by default ``y``).
        text: name of the one column that the model reads, as texts; all others but the label are left out.
        vectors: word vectors (npz or txt), for replacing words by others that mean much the same.
        sensitive: columns that form groups; they stay features.
        immutable: columns that an attacker cannot change.
        bounds: (lower, upper), finite: states one global box.
        rows: at most this many rows are held, at least 1; a uniform deterministic sample of longer files.
        constraints: what else an attacker cannot do.
    """

    label: str | None = None
    text: str | None = None
    vectors: str | None = None
    sensitive: tuple[str, ...] = ()
    immutable: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    rows: int = 1_000_000
    constraints: Constraints = Constraints()


def require_valid(options: DataOptions) -> None:
    """Refuse options that no data set could satisfy.

    Raises:
        ConfigInvalid: the bounds are not finite and increasing, or fewer than one row is to be held.
    """
    limits = options.constraints
    if both := set(limits.up) & set(limits.down):
        raise ConfigInvalid(f"column {min(both)!r} can go up only and down only: make it immutable")
    for name, cost in limits.cost.items():
        if not 0 < cost < math.inf:
            raise ConfigInvalid(f"the cost of column {name!r} is {cost}, and must be positive and finite")
    if options.rows < 1:
        raise ConfigInvalid(f"at least 1 row must be held, not {options.rows}")
    if options.bounds is not None:
        lower, upper = options.bounds
        if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
            raise ConfigInvalid(
                f"the bounds {lower} and {upper} are not two finite increasing numbers",
                advice="Like --bounds 0,1.",
            )


def require_columns(options: DataOptions, names: Sequence[str], label: str | None) -> None:
    """Refuse sensitive and immutable columns that are not features.

    Args:
        options: what the user said.
        names: the columns of the table, with the label.
        label: the label column, if there is one.

    Raises:
        ColumnMissing: one is not in the table; the sentence names the nearest.
        InputError: one is the label column.
    """
    limits = options.constraints
    roles = (
        ("sensitive", options.sensitive),
        ("immutable", options.immutable),
        ("constrained", (*limits.up, *limits.down, *limits.cost)),
    )
    for role, wanted in roles:
        for name in wanted:
            if name == label:
                raise InputError(
                    f"the label column {name!r} cannot be {role}", advice="Name feature columns."
                )
            require_column(name, names, role)


def require_column(name: str, names: Sequence[str], role: str) -> None:
    """Refuse a name that is not among the columns.

    Args:
        name: what the user wrote.
        names: the columns there are.
        role: what the column was named as: ``label``, ``sensitive`` or ``immutable``.

    Raises:
        ColumnMissing: with up to three near names, else the first five of the table.
    """
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    folded = [other for other in names if other.casefold() == name.casefold() and other not in near]
    if found := folded + near:
        hint = "the nearest are " + ", ".join(repr(other) for other in found[:3])
    elif names:
        more = ", ..." if len(names) > 5 else ""
        hint = "there are " + ", ".join(repr(other) for other in names[:5]) + more
    else:
        hint = "the samples are not rows of a table"
    raise ColumnMissing(f"the {role} column {name!r} is not in the data; {hint}")
