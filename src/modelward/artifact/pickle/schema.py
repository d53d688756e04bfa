"""Argument schemas: which arguments an allow-listed callable may be given.

A schema is a tuple of patterns, one per argument. A pattern is a `|`-separated choice of

    none bool int float str bytes const      a constant of that kind (const: any of them)
    list tuple dict set                      a container, whatever it holds
    plain                                    constants, and containers of plain values, to any depth
    data                                     anything that is not itself a callable: plain values, containers,
                                             instances of allow-listed classes
    class                                    an allow-listed class
    pure                                     an allow-listed callable without effects
    any                                      any value (every name inside it is judged where it appears)
    =module.qualname                         exactly this name
    #tag                                     an instance known to be of this class
    'text'                                   exactly this string
    @raw                                     a well-formed numpy.dtype whose items hold no objects

followed by `?` when the argument may be absent, or `*` when it stands for all that follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from modelward.artifact.pickle.values import Global, Map, Obj, Seq, children, constant, kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.artifact.pickle.values import Buffer, Value

STEPS: Final = 2_000_000
"""How many values all checks of one stream may visit; beyond it an argument counts as not plain."""
CALLABLE_TAGS: Final = frozenset(
    {"functools.partial", "operator.itemgetter", "numpy.ufunc", "builtins.getattr"}
)
"""Instances that are themselves callables, which `data` does not cover."""
BYTES_TAGS: Final = frozenset({"builtins.bytes", "builtins.bytearray"})
"""Results that hold bytes: below protocol 3 pickle writes bytes as `_codecs.encode(text, 'latin1')`."""


@final
class Matcher:
    """Matches values of one buffer against patterns, with a shared bound on the work."""

    __slots__ = ("data", "steps")

    def __init__(self, data: Buffer) -> None:
        self.data = data
        self.steps = STEPS

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
        if isinstance(value, int):
            return self._constant_is(choice, value)
        if isinstance(value, Global):
            return _global_is(choice, value)
        if choice == "data":
            return isinstance(value, Seq | Map) or (value.tag != "" and value.tag not in CALLABLE_TAGS)
        if isinstance(value, Obj):
            if choice == "@raw":
                from modelward.artifact.pickle.state import layout

                found = layout(self, value)
                return found is not None and not found.objects
            if choice == "bytes":
                return value.tag in BYTES_TAGS
            return choice[0] == "#" and value.tag == choice[1:]
        if choice == "plain":
            return self.plain(value)
        return choice == (value.kind if isinstance(value, Seq) else "dict")

    def _constant_is(self, choice: str, pos: int) -> bool:
        if choice in {"const", "plain", "data"}:
            return True
        if choice[0] == "'":
            return self.text(pos) == choice[1:-1]
        found = kind(self.data, pos)
        return choice == found or (choice == "bytes" and (found == "bytearray" or self.data[pos] in b"STU"))

    def plain(self, value: Value) -> bool:
        """Whether a value is a constant or a container of plain values, to any depth."""
        stack = [value]
        seen: set[int] = set()
        while stack:
            item = stack.pop()
            if isinstance(item, int) or id(item) in seen:
                continue
            if not isinstance(item, Seq | Map):
                return False
            seen.add(id(item))
            inner = list(children(item))
            self.steps -= len(inner) + 1
            if self.steps < 0:
                return False
            stack += inner
        return True

    def text(self, value: Value) -> str | None:
        """The string a value is, or None."""
        found = self.scalar(value)
        return found if isinstance(found, str) else None

    def raw(self, value: Value) -> bytes | None:
        """The bytes a value is, written as a constant or as `_codecs.encode(text, 'latin1')`; else None."""
        if isinstance(value, Obj) and value.tag in BYTES_TAGS and value.args:
            first = value.args[0]
            text = constant(self.data, first, len(self.data)) if isinstance(first, int) else self.raw(first)
            return (
                text.encode("latin-1", "replace")
                if isinstance(text, str)
                else bytes(text)
                if isinstance(text, bytes)
                else None
            )
        if not isinstance(value, int) or not self._constant_is("bytes", value):
            return None
        found = constant(self.data, value, len(self.data))
        return (
            found.encode("latin-1")
            if isinstance(found, str)
            else bytes(found)
            if isinstance(found, bytes | bytearray)
            else None
        )

    def integer(self, value: Value) -> int | None:
        """The integer a value is (True is not one), or None."""
        found = self.scalar(value)
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def scalar(self, value: Value) -> object:
        """The constant a value is; the value itself when it is none, or is malformed."""
        if not isinstance(value, int):
            return value
        try:
            return constant(self.data, value)
        except ValueError:
            return value_error


value_error: Final = object()
"""Stands for a malformed constant."""


def _global_is(choice: str, value: Global) -> bool:
    if choice[0] == "=":
        return value.path == choice[1:]
    entry = value.entry
    if entry is None or value.danger is not None:
        return False
    return (choice == "class" and entry.kind == "class") or (choice == "pure" and entry.pure)
