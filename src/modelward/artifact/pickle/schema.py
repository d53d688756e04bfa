"""Argument schemas: which arguments an allow-listed callable may be given.

A schema is a tuple of patterns, one per argument. A pattern is a `|`-separated choice of

    none bool int float str bytes const      a constant of that kind (const: any of them)
    list tuple dict set                      a container, whatever it holds
    plain                                    constants, and containers of plain values, to any depth
    data                                     plain values, containers and instances of allow-listed classes,
                                             to any depth, none of which holds a callable of the file or names
                                             a time zone file: a method called on it is the library's own
    @dict                                    a dictionary of `data` with text as keys
    @keys                                    a list or tuple of values that may be hashed and compared
    @pairs                                   a list or tuple of pairs whose first values are such keys
    @zone                                    the name of a time zone as IANA writes it
    @empty                                   the shape (0,)
    @values                                  a list or tuple of `value` and `data`
    value                                    an allow-listed name that may be referred to, never called
    pure                                     an allow-listed callable without effects, or a partial of one
    hint                                     what a type hint is made of: listed classes, values, and hints
    function                                 a function that the file built
    any                                      any value (every name inside it is judged where it appears)
    =module.qualname                         exactly this name
    #tag                                     an instance known to be of this class
    @crs                                     a coordinate system by its number, EPSG:4326
    'text'                                   exactly this string
    @raw                                     a well-formed numpy.dtype whose items hold no objects

followed by `?` when the argument may be absent, or `*` when it stands for all that follow.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

from modelward.artifact.pickle.values import (
    Global,
    Inert,
    Map,
    Obj,
    Seq,
    children,
    constant,
    flat,
    holds,
    kind,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelward.artifact.pickle.state import Layout
    from modelward.artifact.pickle.values import Buffer, Value

STEPS: Final = 2_000_000
"""Values that all checks of one buffer may visit besides two per byte; beyond it an argument is not plain."""
READ: Final = 256
"""Texts that are kept once they were decoded."""
CALLABLE_TAGS: Final = frozenset(
    {
        "functools.partial",
        "operator.itemgetter",
        "operator.attrgetter",
        "operator.methodcaller",
        "numpy.ufunc",
        "builtins.getattr",
        "builtins.map",
        "builtins.filter",
    }
)
"""Instances that are callables, or call one when they are walked, which `data` does not cover."""
BYTES_TAGS: Final = frozenset({"builtins.bytes", "builtins.bytearray"})
"""Results that hold bytes: below protocol 3 pickle writes bytes as `_codecs.encode(text, 'latin1')`."""
TENSOR_TAGS: Final = frozenset({"torch.Tensor", "torch.storage"})
"""Results whose arguments their schemas judged; they hold numbers and an ignored dictionary of hooks."""
HINT_TAGS: Final = frozenset({"typing.hint", "types.GenericAlias", "builtins.type", "built.class"})
"""Results that are type hints."""
NATIVE_TAGS: Final = frozenset({"numpy.dtype", "numpy.ndarray"})
"""Instances whose memory layout native code relies on once it has seen them."""
_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}")
_CRS: Final = re.compile(r"(?:EPSG|epsg|OGC|ESRI|IGNF):\w{1,12}")
_TEXT: Final = frozenset(b"SUTVX\x8c\x8d")
_ESCAPED: Final = frozenset(b"SV")
"""Opcodes that push text, and those that write it with escapes."""
_ENCODINGS: Final = frozenset({"latin1", "latin-1", "utf-8", "ascii"})
"""Encodings of texts that stand for bytes, as `_codecs.encode` may be given them."""
_ZONE_FILES: Final = ("dateutil/", "tzlocal()")
"""Text with which pandas makes dateutil open a file of the given name as a time zone."""


@final
class Matcher:
    """Matches values of one buffer against patterns, with a shared bound on the work."""

    __slots__ = ("_read", "_zones", "data", "decoded", "layouts", "steps")

    def __init__(self, data: Buffer) -> None:
        self.data = data
        self.steps = STEPS + 2 * len(data)
        self.layouts: dict[int, tuple[Obj, Layout | None]] = {}
        self._zones: bool | None = None
        self.decoded = -1
        self._read: dict[int, str] = {}

    def matches(self, schemas: tuple[tuple[str, ...], ...], args: Sequence[Value]) -> bool:
        """Whether the arguments satisfy one of the schemas."""
        return any(self._fits(schema, args) for schema in schemas)

    def _fits(self, schema: tuple[str, ...], args: Sequence[Value]) -> bool:
        count = 0
        for pattern in schema:
            if pattern.endswith("*"):
                return all(self.matches_one(pattern[:-1], item) for item in args[count:])
            if count >= len(args):
                if pattern.endswith("?"):
                    continue
                return False
            if not self.matches_one(pattern.removesuffix("?"), args[count]):
                return False
            count += 1
        return count == len(args)

    def matches_one(self, pattern: str, value: Value) -> bool:
        """Whether one value satisfies one pattern (without `?` or `*`)."""
        return any(self._is(choice, value) for choice in pattern.split("|"))

    def _is(self, choice: str, value: Value) -> bool:
        if choice == "any":
            return True
        if choice in {"data", "@dict"}:
            return self._data(value) if choice == "data" else self.fields(value)
        if choice in {"@keys", "@pairs"}:
            return self._hashed(value, pairs=choice == "@pairs")
        if choice == "hint":
            return self._hint(value)
        if isinstance(value, int):
            return self._constant_is(choice, value)
        if choice == "factory":
            return self._factory(value)
        if isinstance(value, Global):
            return _global_is(choice, value)
        if isinstance(value, Obj):
            value.used = value.used or value.tag in NATIVE_TAGS
            if choice == "@raw":
                from modelward.artifact.pickle.state import layout

                found = layout(self, value)
                return found is not None and not found.objects
            if choice == "bytes":
                return value.tag in BYTES_TAGS
            if choice == "pure":
                return self._pure_partial(value)
            if choice == "function":
                return value.tag == "built.function"
            return choice[0] == "#" and value.tag == choice[1:]
        if choice == "plain":
            return self.plain(value)
        if isinstance(value, Inert):
            return False
        if choice == "@values":
            return isinstance(value, Seq) and all(
                self.matches_one("value|data", item) for item in value.items
            )
        if choice == "@empty":
            shape = value.items if isinstance(value, Seq) and value.kind == "tuple" else []
            return len(shape) == 1 and self.integer(shape[0]) == 0
        return choice == (value.kind if isinstance(value, Seq) else "dict")

    def _pure_partial(self, value: Value, depth: int = 8) -> bool:
        """Whether a value is a `functools.partial` of a pure callable, by its arguments and by its state.

        A `defaultdict` is pure once it has a factory that is: what it is then called with is only copied.
        """
        if isinstance(value, Global):
            return value.entry is not None and value.danger is None and value.entry.pure
        if not isinstance(value, Obj) or value.tag != "functools.partial" or not value.args or depth == 0:
            return False
        function, given, others = value.args[0], list(value.args[1:]), []
        if isinstance(value.state, Seq) and len(value.state.items) > 1:
            function, positional, *others = value.state.items
            given += positional.items if isinstance(positional, Seq) else [positional]
        if isinstance(function, Global) and function.path == "collections.defaultdict":
            if not given or not self._pure_partial(given[0], depth - 1):
                return False
            function, given = given[0], given[1:]
        return all(self._data(part) for part in [*given, *others]) and self._pure_partial(function, depth - 1)

    def _factory(self, value: Value) -> bool:
        """Whether calling a value without arguments is allowed: what a `defaultdict` does for a missing key.

        A `functools.partial` counts as long as nothing was set on it and what it keeps cannot change.
        """
        given: list[Value] = []
        if isinstance(value, Obj) and value.tag == "functools.partial" and value.args and value.state is None:
            value, *given = value.args
            if isinstance(value, Global) and value.path == "collections.defaultdict":
                return False  # with a factory of its own it is pure, or it is nothing
        if not isinstance(value, Global) or value.entry is None or value.danger is not None:
            return False
        return all(isinstance(item, int) for item in given) and self.matches(value.entry.call or (), given)

    def _hint(self, value: Value) -> bool:
        todo = [value]
        for _ in range(4096):
            if not todo:
                return True
            item = todo.pop()
            if isinstance(item, Seq):
                todo += item.items
            elif isinstance(item, Global):
                if item.entry is None or item.danger is not None or item.entry.kind == "function":
                    return False
            elif isinstance(item, Map) or (isinstance(item, Obj) and item.tag not in HINT_TAGS):
                return False
        return False

    def _constant_is(self, choice: str, pos: int) -> bool:
        if choice in {"const", "plain"}:
            return True
        if choice == "@crs":
            return _CRS.fullmatch(self.text(pos) or "") is not None
        if choice == "@zone":
            return _ZONE.fullmatch(self.text(pos) or "") is not None
        if choice[0] == "'":
            return self.text(pos) == choice[1:-1]
        found = kind(self.data, pos)
        return choice == found or (choice == "bytes" and (found == "bytearray" or self.data[pos] in b"STU"))

    def references(self, root: Value) -> Iterator[Global]:
        """Functions that a finished object keeps as values; they were judged for calls in the file only."""
        stack, seen = [root], set[int]()
        while stack:
            item = stack.pop()
            if isinstance(item, int) or id(item) in seen:
                continue
            seen.add(id(item))
            if isinstance(item, Global):
                if item.entry is not None and item.entry.kind == "function":
                    yield item
            elif isinstance(item, Obj) and item.tag not in CALLABLE_TAGS:
                stack += [
                    part for part in children(item) if not isinstance(part, Global) or part is item.state
                ]
            else:
                stack += children(item)

    def plain(self, value: Value) -> bool:
        """Whether a value is a constant or a container of plain values, to any depth."""
        stack = [value]
        seen: set[int] = set()
        while stack:
            item = stack.pop()
            if isinstance(item, int) or id(item) in seen:
                continue
            if not isinstance(item, Seq | Map | Inert):
                return False
            seen.add(id(item))
            inner = list(children(item))
            self.steps -= len(inner) + 1
            if self.steps < 0:
                return False
            stack += inner
        return True

    def fields(self, value: Value) -> bool:
        """Whether a value is a dictionary with text as keys and `data` as values."""
        if not isinstance(value, Map) or not value.whole:
            return False
        return all(self.text(key) is not None for key in value.keys) and self._data(value)

    def hashable(self, value: Value) -> bool:
        """Whether hashing and comparing a value calls nothing of the file; it may be unhashable."""
        stack, seen = [value], set[int]()
        while stack:
            item = stack.pop()
            if isinstance(item, Obj) and not self._data(item):
                return False
            if isinstance(item, Seq) and item.kind in {"tuple", "frozenset"} and id(item) not in seen:
                seen.add(id(item))
                self.steps -= len(item.items)
                if self.steps < 0:
                    return False
                stack += item.items
        return True

    def _hashed(self, value: Value, *, pairs: bool) -> bool:
        if not isinstance(value, Seq) or value.kind not in {"list", "tuple"}:
            return False
        if not pairs:
            return all(self.hashable(item) for item in value.items)
        return all(
            isinstance(item, Seq) and len(item.items) == 2 and self.hashable(item.items[0])
            for item in flat(value.items)
        )

    def _data(self, value: Value) -> bool:
        stack = [value]
        seen: set[int] = set()
        while stack:
            item = stack.pop()
            if isinstance(item, int):
                if not self._quiet(item):
                    return False
                continue
            if id(item) in seen:
                continue
            seen.add(id(item))
            if not self._is_data(item):
                return False
            if isinstance(item, Inert) and self._names_zones():
                item.values()  # to read its text
            if isinstance(item, Obj) and item.tag in TENSOR_TAGS | {"numpy.dtype"}:
                continue
            inner = [
                part for part in children(item) if not (isinstance(part, Global) and isinstance(item, Obj))
            ]
            self.steps -= len(inner) + 1
            if self.steps < 0:
                return False
            stack += inner  # a name given to a call was judged by its schema
        return True

    def _is_data(self, item: Global | Seq | Map | Obj | Inert) -> bool:
        """Whether a value is data as far as itself is concerned."""
        if isinstance(item, Global):
            return item.path in {"pandas.NA", "pandas._libs.missing.NA"} or (
                item.entry is not None and item.entry.pure
            )
        if not isinstance(item, Obj):
            return True
        item.used = item.used or item.tag in NATIVE_TAGS
        if item.built is not None or item.tag == "built.instance":
            return False  # its methods are the file's own
        if item.loose or item.tainted or item.tag in CALLABLE_TAGS or item.tag in {"", "builtins.str"}:
            return False
        if item.tag != "numpy.scalar" or not item.args:
            return True
        text = self.raw(item.args[-1])
        return text is not None and not any(
            word in text.replace(b"\0", b"").decode("latin-1") for word in _ZONE_FILES
        )

    def _quiet(self, pos: int) -> bool:
        """Whether a constant does not name a file through a time zone."""
        code = self.data[pos]
        if code not in _TEXT or (code not in _ESCAPED and not self._names_zones()):
            return True
        text = self.text(pos)
        return text is not None and not any(word in text for word in _ZONE_FILES)

    def _names_zones(self) -> bool:
        if self._zones is None:
            self._zones = holds(self.data, tuple(word.encode() for word in _ZONE_FILES))
        return self._zones

    def text(self, value: Value) -> str | None:
        """The string a value is, or None."""
        found = self.scalar(value)
        return found if isinstance(found, str) else None

    def raw(self, value: Value) -> bytes | None:
        """The bytes a value is, written as a constant or as `_codecs.encode(text, 'latin1')`; else None."""
        if isinstance(value, Obj) and value.tag in BYTES_TAGS and value.args:
            first = value.args[0]
            self.decoded = max(self.decoded, first if isinstance(first, int) else -1)
            text = constant(self.data, first, len(self.data)) if isinstance(first, int) else self.raw(first)
            if isinstance(text, str):
                return self._encoded(text, value.args[1:])
            return bytes(text) if isinstance(text, bytes) else None
        if not isinstance(value, int) or not self._constant_is("bytes", value):
            return None
        self.decoded = max(self.decoded, value)
        found = constant(self.data, value, len(self.data))
        return (
            found.encode("latin-1")
            if isinstance(found, str)
            else bytes(found)
            if isinstance(found, bytes | bytearray)
            else None
        )

    def _encoded(self, text: str, given: Sequence[Value]) -> bytes | None:
        """A text as bytes by the encoding that the call names; None when loading would fail."""
        name = self.text(given[0]) if len(given) == 1 else None
        if name not in _ENCODINGS:
            return None
        try:
            return text.encode(name)
        except UnicodeEncodeError:
            return None

    def integer(self, value: Value) -> int | None:
        """The integer a value is (True is not one), or None."""
        found = self.scalar(value)
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def scalar(self, value: Value) -> object:
        """The constant a value is; the value itself when it is none, or is malformed."""
        if not isinstance(value, int):
            return value
        if (known := self._read.get(value)) is not None:
            return known
        self.decoded = max(self.decoded, value)
        try:
            found = constant(self.data, value)
        except ValueError:
            return value_error
        if isinstance(found, str) and len(self._read) < READ:
            self._read[value] = found  # names of attributes are read again with each object
        return found


value_error: Final = object()
"""Stands for a malformed constant."""


def _global_is(choice: str, value: Global) -> bool:
    if choice[0] == "=":
        return value.path == choice[1:]
    entry = value.entry
    if entry is None or value.danger is not None:
        return False
    return entry.kind == choice if choice in {"class", "value"} else choice == "pure" and entry.pure
