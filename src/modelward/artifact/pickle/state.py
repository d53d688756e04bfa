"""Layout of numpy dtypes, as native code will take it to be.

`numpy.dtype` and `numpy.ndarray` matter most: their state is trusted by native code. A dtype that hides its
object flag, or a field that lies outside its item, would let raw bytes be taken for object pointers.

Source: the format that numpy's dtype.__reduce__ writes, and what numpy 2.4 does with others.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.pickle.values import Global, Map, Obj, Seq

if TYPE_CHECKING:
    from modelward.artifact.pickle.schema import Matcher
    from modelward.artifact.pickle.values import Value

_TYPE: Final = re.compile(r"[<>=|]?([?bBhHiIlLqQefdgFDGSaUVOMmc])(\d*)(\[[^\]]{1,24}\])?")
_ITEMSIZE: Final = {
    "?": 1, "b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "l": 8, "L": 8, "q": 8, "Q": 8, "e": 2, "f": 4,
    "d": 8, "g": 16, "F": 8, "D": 16, "G": 32, "S": 0, "a": 0, "U": 0, "V": 0, "O": 8, "M": 8, "m": 8, "c": 1,
}  # fmt: skip
_SIZED: Final = {"b": 1, "i": 8, "u": 8, "f": 16, "c": 32}
_OBJECT_FLAGS: Final = 0x07  # holds references, is pickled as a list, is a pointer
_FIELD_FLAGS: Final = 0x03  # a structure with object fields: the first two


class Layout(msgspec.Struct, frozen=True):
    """Item size in bytes of a dtype, and whether its items hold Python objects."""

    itemsize: int
    objects: bool


def layout(match: Matcher, value: Value | None) -> Layout | None:
    """Layout of a `numpy.dtype` object as its arguments and state describe it; None when they disagree.

    Args:
        match: decodes constants.
        value: the symbolic dtype.
    """
    if isinstance(value, Global):
        return _scalar_type(value)
    if not isinstance(value, Obj) or value.tag != "numpy.dtype" or not value.args:
        return None
    value.used = True
    known = match.layouts.get(id(value))
    if known is None:
        match.layouts[id(value)] = value, None  # a type inside itself has no layout
        known = match.layouts[id(value)] = value, _described(match, value)
    return known[1]


def _described(match: Matcher, value: Obj) -> Layout | None:
    if not value.args:
        return None
    head = value.args[0]
    if isinstance(head, Global):
        return _scalar_type(head)
    text = match.text(head)
    base = _parse(text) if text is not None else None
    if base is None or value.state is None:
        return base
    return _with_state(match, base, value.state)


def _scalar_type(value: Global) -> Layout | None:
    if value.path in {"numpy.object_", "builtins.object"}:
        return Layout(8, objects=True)
    if value.path == "ml_dtypes.bfloat16":
        return Layout(2, objects=False)
    if value.path in {"numpy.record", "numpy.void"}:
        return Layout(0, objects=False)
    digits = re.fullmatch(r"numpy\.(u?int|float|complex|bool|datetime|timedelta)(\d*)_?", value.path)
    if digits is None:
        return None
    return Layout(int(digits[2]) // 8 if digits[2] else 1 if digits[1] == "bool" else 8, objects=False)


def _parse(text: str) -> Layout | None:
    found = re.fullmatch(r"[<>=|]?([biufcSaUVOMm?])(\d{1,9})", text) or _TYPE.fullmatch(text)
    if found is None:
        return None
    code, digits = found[1], found[2]
    if code == "O":
        return Layout(8, objects=True)
    if code in "SaV":
        return Layout(int(digits or 0), objects=False)
    if code == "U":
        return Layout(4 * int(digits or 0), objects=False)
    if digits and code in _SIZED and int(digits) <= _SIZED[code]:
        return Layout(int(digits), objects=False)
    return Layout(_ITEMSIZE[code], objects=False) if digits in {"", "8"} and code in _ITEMSIZE else None


def _with_state(match: Matcher, base: Layout, state: Value) -> Layout | None:
    """Layout after `__setstate__((version, endian, subdtype, names, fields, elsize, align, flags, ...))`."""
    if not isinstance(state, Seq) or not state.whole or not 6 <= len(state.items) <= 9:
        return None
    items = state.items
    subdtype, names, fields = items[2], items[3], items[4]
    size = match.integer(items[5])
    flags = match.integer(items[7]) if len(items) > 7 else None
    if size is None or (len(items) > 7 and flags is None):
        return None
    itemsize = base.itemsize if size < 0 else size
    if match.scalar(fields) is not None:
        inner = _fields(match, fields, names, itemsize)
    elif match.scalar(subdtype) is not None:
        inner = _subarray(match, subdtype, itemsize)
    else:
        inner = base if size < 0 or not base.objects else None
    if inner is None:
        return None
    wanted = _OBJECT_FLAGS if base.objects else _FIELD_FLAGS if inner.objects else 0
    if flags is not None and (flags & _OBJECT_FLAGS & wanted) != wanted:
        return None
    if flags is not None and not inner.objects and flags & _OBJECT_FLAGS:
        return None
    return Layout(itemsize, objects=inner.objects)


def _fields(match: Matcher, fields: Value, names: Value, itemsize: int) -> Layout | None:
    """Every field lies inside the item, and `names` lists exactly the fields."""
    if not isinstance(fields, Map) or not fields.whole or not isinstance(names, Seq):
        return None
    listed = [match.text(name) for name in names.items]
    keys = [match.text(key) for key in fields.keys]
    if None in listed or None in keys or not set(listed) <= set(keys):
        return None
    objects = False
    for field in fields.values:
        if not isinstance(field, Seq) or len(field.items) not in {2, 3}:
            return None
        inner, offset = layout(match, field.items[0]), match.integer(field.items[1])
        if inner is None or offset is None or offset < 0 or offset + inner.itemsize > itemsize:
            return None
        objects = objects or inner.objects
    return Layout(itemsize, objects=objects)


def _subarray(match: Matcher, subdtype: Value, itemsize: int) -> Layout | None:
    if not isinstance(subdtype, Seq) or len(subdtype.items) != 2:
        return None
    inner, shape = layout(match, subdtype.items[0]), shape_of(match, subdtype.items[1])
    if inner is None or shape is None or inner.itemsize * count_of(shape) != itemsize:
        return None
    return Layout(itemsize, objects=inner.objects)


def shape_of(match: Matcher, value: Value | None) -> tuple[int, ...] | None:
    """A shape: one non-negative integer, or a tuple of them; None otherwise."""
    if isinstance(value, int):
        single = match.integer(value)
        return None if single is None or single < 0 else (single,)
    if not isinstance(value, Seq) or not value.whole:
        return None
    sizes = [_size(match, item) for item in value.items]
    return tuple(size for size in sizes if size is not None) if None not in sizes else None


def _size(match: Matcher, value: Value) -> int | None:
    """A dimension; joblib writes numpy integers, whose little-endian bytes are in the call's argument."""
    if isinstance(value, Obj) and value.tag == "numpy.scalar" and value.args and len(value.args) == 2:
        raw = match.raw(value.args[1])
        found = int.from_bytes(raw, "little", signed=True) if raw is not None else None
    else:
        found = match.integer(value)
    return found if found is not None and found >= 0 else None


def count_of(shape: tuple[int, ...]) -> int:
    """Number of items of an array of this shape."""
    count = 1
    for size in shape:
        count *= size
    return count
