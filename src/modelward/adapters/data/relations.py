"""Relations between columns, from text: ``total = a + b``, ``2 * a - b <= 10``, ```gain-2` >= gain``."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from modelward.adapters.data.options import require_column
from modelward.core.data import Relation
from modelward.errors import ConfigInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.data import Column

_SHOWN = 120
_SIDES = re.compile(r"(?P<left>[^<>=]+)(?P<sign><=|>=|=)(?P<right>[^<>=]+)")
_NAME = r"[A-Za-z_]\w*|`[^`]+`"
_NUMBER = r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
_TERM = re.compile(
    rf"\s*(?P<sign>[+-])?\s*(?:(?P<weight>{_NUMBER})\s*\*\s*(?P<of>{_NAME})|(?P<name>{_NAME})|(?P<number>{_NUMBER}))\s*"
)


def relation(text: str, columns: Sequence[Column]) -> Relation:
    """Read one relation.

    Args:
        text: two sums of columns and numbers with ``=``, ``<=`` or ``>=`` between them.
        columns: of the table.

    Raises:
        ConfigInvalid: it cannot be read, or names a column that holds no numbers.
        ColumnMissing: it names a column that is not there.
    """
    match = _SIDES.fullmatch(text)
    if match is None:
        raise ConfigInvalid(f"the relation {_cut(text)} is not two sums with =, <= or >= between them")
    weights: dict[str, float] = {}
    bound, flip = 0.0, -1.0 if match["sign"] == ">=" else 1.0
    for side, sign in ((match["left"], flip), (match["right"], -flip)):
        for name, weight in _terms(side, text):
            if name is None:
                bound -= sign * weight
            else:
                weights[name] = weights.get(name, 0.0) + sign * weight
    if not all(map(math.isfinite, (bound, *weights.values()))):
        raise ConfigInvalid(f"the relation {_cut(text)} holds a number that is not finite")
    kinds = {column.name: column for column in columns}
    for name in weights:
        require_column(name, list(kinds), "related")
        if kinds[name].kind == "category" or kinds[name].onehot is not None:
            raise ConfigInvalid(f"the relation {_cut(text)} names {name!r}, which holds no amounts")
    terms = tuple((name, weight) for name, weight in weights.items() if weight != 0)
    if not terms:
        raise ConfigInvalid(f"the relation {_cut(text)} relates no columns")
    return Relation(text=text, terms=terms, equal=match["sign"] == "=", bound=bound)


def _terms(side: str, text: str) -> list[tuple[str | None, float]]:
    found: list[tuple[str | None, float]] = []
    at = 0
    while at < len(side):
        match = _TERM.match(side, at)
        if match is None or (found and match["sign"] is None):
            raise ConfigInvalid(f"the relation {_cut(text)} cannot be read at {side[at:].strip()[:30]!r}")
        sign = -1.0 if match["sign"] == "-" else 1.0
        name = match["of"] or match["name"]
        size = float(match["weight"] or match["number"] or 1.0)
        found.append((None if name is None else name.strip("`"), sign * size))
        at = match.end()
    return found


def _cut(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r} ..."
