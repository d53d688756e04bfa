"""What a call does beyond its name: of a method fetched by name, or with a pickle among its arguments.

`getattr(owner, name)` gives a bound method when the owner is an instance, so what its call does is known from
the class and the name: by the lists, or by a verb that means the same in whatever class it is found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.pickle import rules
from modelward.artifact.pickle.values import Global, Obj

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.artifact.pickle.judge import Judge
    from modelward.artifact.pickle.values import Value

WALKED: Final = 64
"""Most arguments of one file that are walked as pickles."""
LARGEST: Final = 16 << 20
"""Longest argument, in bytes, that is walked as a pickle."""
_CALLERS: Final = frozenset(
    {"builtins.map", "builtins.filter", "builtins.iter", "functools.partial", "functools.partialmethod"}
)
"""What calls its first argument, at once or later."""
_DEEP: Final = 4
"""Most pickles inside each other that are walked."""
_PICKLE: Final = re.compile(
    r"\x80[\x02-\x05].|[(\]}0-9a-zN]{0,8}(?:c|\(*i)[A-Za-z_][\w.]*\r?\n[A-Za-z_][\w.]*\r?\n", re.DOTALL
)
"""How a text or bytes begin that may be a pickle: with its protocol, or with a name."""


def does(judge: Judge, callee: Obj, args: Sequence[Value] | None) -> str | None:
    """What calling a method does that was fetched by its name; None when nothing is known of it.

    Args:
        judge: judges the file.
        callee: what is called.
        args: what it is given.
    """
    made = callee.callee
    given = callee.args or ()
    if not isinstance(made, Global) or made.path != "builtins.getattr" or len(given) < 2:
        return None
    name, owner = judge.match.text(given[1]), given[0]
    cls = owner.callee if isinstance(owner, Obj) else owner
    if name is None or not isinstance(owner, Obj | Global):
        return None
    if isinstance(cls, Global):
        path = f"{cls.name}.{name}"
        if why := rules.payload(cls.module, path) or rules.gadget(cls.module, path):
            return f"{cls.path}.{name} {why}"
    from modelward.artifact.pickle import words  # only for a call that is on no list

    why = words.method(name, judge.texts(args))
    return f"the method {name} {why}" if why else None


def handed(judge: Judge, callee: Global, args: Sequence[Value] | None) -> str | None:
    """What a method does that was fetched by name and is handed to something that calls it.

    Args:
        judge: judges the file.
        callee: what is called.
        args: what it is given, the method among it.
    """
    if callee.path not in _CALLERS or not args:
        return None
    others = list(args[1:])
    return does(judge, args[0], others) if isinstance(args[0], Obj) else None


def inner_payload(judge: Judge, text: str) -> str | None:
    """The payload of a pickle that a call which nobody knows is given, as bytes or text.

    Args:
        judge: judges the file around it.
        text: the argument; bytes as Latin-1.
    """
    if judge.inside >= _DEEP or judge.trials >= WALKED or len(text) > LARGEST or not _PICKLE.match(text):
        return None
    try:
        raw = text.encode("latin-1")
    except UnicodeEncodeError:
        return None
    from modelward.artifact.pickle.streams import walked

    judge.trials += 1
    inner = type(judge)(raw, jumps=False)
    inner.inside = judge.inside + 1
    inner.trials = judge.trials
    found = walked(raw, inner)
    judge.trials = max(judge.trials, inner.trials)
    event = next((event for event in found.events if event.level == "dangerous"), None)
    return None if event is None else f"a pickle in which {event.message}"
