"""Checks of the state that BUILD gives to an instance whose class has a `__setstate__` of its own.

`numpy.dtype` and `numpy.ndarray` matter most: their state is trusted by native code. A dtype that hides its
object flag, or a field that lies outside its item, would let raw bytes be taken for object pointers.

Source: numpy/_core/src/multiarray/descriptor.c (arraydescr_setstate) and methods.c (array_setstate),
numpy 2.4; joblib/numpy_pickle.py (NumpyArrayWrapper), joblib 1.6.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from modelward.artifact.pickle.values import Global, Map, Obj, Seq

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.artifact.pickle.schema import Matcher
    from modelward.artifact.pickle.values import Value

    Check: TypeAlias = "Callable[[Matcher, Obj, Value], str | None]"

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


def check_dtype(match: Matcher, target: Obj, state: Value) -> str | None:
    """The state of a dtype: sizes, offsets and flags must agree with the type it was created with."""
    before = target.state
    target.state = state
    if layout(match, target) is None:
        target.state = before
        return "the state of a numpy.dtype contradicts its type, so native code could misread memory"
    metadata = state.items[8] if isinstance(state, Seq) and len(state.items) > 8 else None
    if metadata is not None and not match.matches_one("none|tuple|dict", metadata):
        return "the metadata of a numpy.dtype is not a dictionary"
    return None


def check_array(match: Matcher, target: Obj, state: Value) -> str | None:
    """The state of an array: `(version, shape, dtype, is_fortran, bytes or list)`; objects come as a list."""
    del target
    if not isinstance(state, Seq) or len(state.items) not in {4, 5, 7}:
        return "the state of a numpy.ndarray is not a tuple of five values"
    items = state.items if len(state.items) != 4 else [state.items[0], *state.items]
    if len(items) == 7 and not match.matches_one(
        "bytes", items[5]
    ):  # numpy.ma adds the mask and the fill value
        return "the mask of a masked array is not given as bytes"
    shape, inner, raw = shape_of(match, items[1]), layout(match, items[2]), items[4]
    if shape is None or inner is None:
        return "the shape or the dtype in the state of a numpy.ndarray cannot be determined"
    if inner.objects:
        return (
            None
            if isinstance(raw, Seq) and raw.kind == "list"
            else "an array of objects is not given as a list"
        )
    return None if match.matches_one("bytes|str", raw) else "the data of an array is not given as bytes"


def check_dict(match: Matcher, target: Obj, state: Value) -> str | None:
    """Attributes: a dictionary, or a pair (dictionary or None, dictionary), with plain string keys."""
    if isinstance(state, Seq) and state.kind == "tuple" and len(state.items) == 2:
        parts = [part for part in state.items if match.scalar(part) is not None]
    else:
        parts = [state] if match.scalar(state) is not None else []
    items = target.entry.items if target.entry is not None else ""
    for part in parts:
        if not isinstance(part, Map):
            return "the state is not a dictionary"
        if not part.whole:
            return "the state has too many attributes to check"
        for key in part.keys:
            name = match.text(key)
            if name is None or (name.startswith("__") and name.endswith("__")):
                return f"the state sets {name or 'an attribute whose name is no string'}, which may be called"
            if items and name in {"append", "extend", "add", "update"}:
                return f"the state replaces the method {name}, which item opcodes call"
    return None


def check_any(match: Matcher, target: Obj, state: Value) -> str | None:
    """A reviewed `__setstate__` that stores or parses what it is given; attribute names are still checked."""
    return check_dict(match, target, state) if isinstance(state, Map) else None


def check_plain(match: Matcher, target: Obj, state: Value) -> str | None:
    """A native `__setstate__` that takes constants and containers of constants only."""
    del target
    return None if match.plain(state) else "the state holds more than plain data"


def check_data(match: Matcher, target: Obj, state: Value) -> str | None:
    """A native `__setstate__` that takes data: constants, containers and instances, but no callable."""
    del target
    return None if match.matches_one("data", state) else "the state is not data"


CHECKS: Final[dict[str, Check]] = {
    "dict": check_dict,
    "any": check_any,
    "plain": check_plain,
    "data": check_data,
    "dtype": check_dtype,
    "ndarray": check_array,
}
