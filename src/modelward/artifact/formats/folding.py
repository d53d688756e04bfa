"""Filters and string methods of Jinja templates, on constants."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.formats.template import Constant

    Fold: TypeAlias = Callable[[list[Constant]], list[Constant]]

LONG: Final = 4096
_WIDE: Final = re.compile(r"\d{4,}|\*")
_WORDS: Final = re.compile(r"([-\s({\[<]+)")
"""Where Jinja's filter `title` parts words (`jinja2/filters.py`)."""
_FIELDS: Final = re.compile(r"(?:[^{}]|\{\d*(?::\w*)?\})*")


def _text(function: Callable[[str], Constant]) -> Fold:
    """A function of the text alone; its arguments are ignored."""
    return lambda items: [function(item)] if isinstance(item := items[0], str) else []


def _title(items: list[Constant]) -> list[Constant]:
    """The method, and the filter, which takes words as ended by spaces and opening brackets alone."""
    text = items[0]
    if not isinstance(text, str):
        return []
    words = _WORDS.split(text)
    return list(dict.fromkeys((text.title(), "".join(word[:1].upper() + word[1:].lower() for word in words))))


def _strip(items: list[Constant]) -> list[Constant]:
    text, marks = items[0], items[1] if len(items) > 1 else None
    return [text.strip(marks)] if isinstance(text, str) and (marks is None or isinstance(marks, str)) else []


def _join(items: list[Constant]) -> list[Constant]:
    between = items[1] if len(items) > 1 else ""
    return [str(between).join(map(str, items[0]))] if isinstance(items[0], str | tuple) else []


def _replace(items: list[Constant]) -> list[Constant]:
    if len(items) < 3 or not all(isinstance(item, str) for item in items[:3]):
        return []
    text, old, new = (str(item) for item in items[:3])
    return [text.replace(old, new)] if len(text) * (len(new) + 1) <= LONG else []


def _reverse(items: list[Constant]) -> list[Constant]:
    return [items[0][::-1]] if isinstance(items[0], str | tuple) else []


def _first(items: list[Constant]) -> list[Constant]:
    return [items[0][0]] if isinstance(items[0], str | tuple) and items[0] else []


def _last(items: list[Constant]) -> list[Constant]:
    return [items[0][-1]] if isinstance(items[0], str | tuple) and items[0] else []


def _list(items: list[Constant]) -> list[Constant]:
    return [tuple(items[0])] if isinstance(items[0], str | tuple) else []


def _string(items: list[Constant]) -> list[Constant]:
    return [str(items[0])] if isinstance(items[0], str | int) else []


def _split(items: list[Constant]) -> list[Constant]:
    mark = items[1] if len(items) > 1 else None
    if isinstance(items[0], str) and (mark is None or (isinstance(mark, str) and mark)):
        return [tuple(items[0].split(mark))]
    return []


def _percent(items: list[Constant]) -> list[Constant]:
    """The filter `format`: the operator % of Python."""
    text = items[0]
    if not isinstance(text, str) or _WIDE.search(text):
        return []
    try:
        return [text % tuple(items[1:])]
    except (TypeError, ValueError, OverflowError):
        return []


def _braces(items: list[Constant]) -> list[Constant]:
    """The method `format` with fields by position and no attributes."""
    text = items[0]
    if not isinstance(text, str) or _WIDE.search(text) or not _FIELDS.fullmatch(text):
        return []
    try:
        return [text.format(*items[1:])]
    except (TypeError, ValueError, IndexError, OverflowError):
        return []


FOLDS: Final[dict[str, Fold]] = {
    "join": _join,
    "reverse": _reverse,
    "replace": _replace,
    "lower": _text(str.lower),
    "upper": _text(str.upper),
    "capitalize": _text(str.capitalize),
    "title": _title,
    "swapcase": _text(str.swapcase),
    "casefold": _text(str.casefold),
    "trim": _strip,
    "strip": _strip,
    "lstrip": _strip,
    "rstrip": _strip,
    "first": _first,
    "last": _last,
    "list": _list,
    "string": _string,
    "split": _split,
    "format": _percent,
    "str_format": _braces,
}
"""Filter or method -> its values on constants; [] where it has none here."""
PASSING: Final = frozenset(
    ("default", "d", "safe", "escape", "e", "forceescape", "unique", "sort", "int", "float", "abs")
)
"""Filters that leave strings as they are."""
SELECTING: Final = frozenset(
    (
        "select", "reject", "selectattr", "rejectattr", "map", "groupby", "dictsort",
        "items", "batch", "slice", "min", "max", "random", "length", "count", "sum", "round", "wordcount",
        "filesizeformat", "list", "first", "last", "trim", "strip",
    )
)  # fmt: skip
"""Filters whose result holds strings of the input, whole, or numbers."""
