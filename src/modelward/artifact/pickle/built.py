"""What a file builds itself: symbolic values of code, functions, cells and classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from modelward.artifact.events import Event, Level
from modelward.artifact.pickle import rules
from modelward.artifact.pickle.values import Global, Obj, call_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelward.artifact.pickle.judge import Judge
    from modelward.artifact.pickle.values import Value

Kind: TypeAlias = Literal["code", "function", "class", "cell", "module", "descriptor", "proxy"]


class Built(msgspec.Struct):
    """What a value is that the file built.

    Attributes:
        kind: code object, function or bound method, class, cell, module, descriptor, read-only dictionary.
        word: name or text in its code that runs programs, source or the like, or None.
        methods: of a class, the methods that loading may call.
        bases: of a class, those of its bases that the file built too.
        entry: of a class, what its instances may be given.
        made: of a class, whether it has instances.
    """

    kind: Kind
    word: str | None = None
    methods: dict[str, str | None] = msgspec.field(default_factory=dict)
    bases: list[Built] = msgspec.field(default_factory=list)
    entry: rules.Entry | None = None
    made: bool = False


INSTANCE: Final = "built.instance"
"""Tag of instances of classes that the file built."""


def built(value: Value | None, *kinds: Kind) -> Built | None:
    """What a value is, if the file built it and it is of one of these kinds."""
    found = value.built if isinstance(value, Obj) else None
    return found if isinstance(found, Built) and (not kinds or found.kind in kinds) else None


def make(kind: Kind, pos: int, args: Iterable[Value], word: str | None = None) -> Obj:
    """A value that the file builds; code that calls methods on its arguments is never given it."""
    result = Obj(f"built.{kind}", pos)
    result.built = Built(kind, word)
    result.loose = True
    result.held = [arg for arg in args if not isinstance(arg, int)]
    return result


def carries_function(value: Obj) -> bool:
    """Whether a value is the result of a call that was given a function of the file: `partial(f)`."""
    return isinstance(value.callee, Global) and any(
        built(arg, "function") is not None for arg in value.args or ()
    )


def runs(judge: Judge, what: str, word: str | None, pos: int, *, call: str | None = None) -> None:
    """Loading runs code of the file: what it does is unknown, or its names tell."""
    tail = f", and that code holds {word!r}" if word else ""
    message = f"loading runs code that the file brings: {what}{tail}"
    judge.record(Event("pickle.built-call", "dangerous" if word else "unproven", message, pos, call), message)


def outside(
    judge: Judge, callee: Global, args: Sequence[Value], pos: int, *, level: Level = "unproven"
) -> Obj:
    """A call that no pickler writes."""
    text = call_text(judge.data, callee, args)
    bad = any(
        (isinstance(arg, Global) and arg.danger is not None) or (isinstance(arg, Obj) and arg.tainted)
        for arg in args
    )
    if bad or callee.module == "types" or callee.path in _GADGETS:
        level = "dangerous"
    message = f"{callee.path} is called with arguments outside its schema"
    judge.record(Event("pickle.arguments", level, message, pos, text), callee.path)
    return judge.unknown(pos, tainted=level == "dangerous")


_GADGETS: Final = frozenset({"builtins.property", "builtins.classmethod", "builtins.staticmethod"})
