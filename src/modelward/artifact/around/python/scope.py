"""What one pass over a syntax tree collects, and the names that are visible at a place."""

from __future__ import annotations

import ast
import builtins
from typing import Final, final

import msgspec

from modelward.artifact.around.python.values import UNKNOWN, Value

KEPT: Final = "a table"
"""Path of a site that calls nothing: functions are kept there to be called later."""
_BUILTINS: Final = frozenset(dir(builtins)) | {"unicode", "xrange", "raw_input", "execfile", "reload", "file"}


class Site(msgspec.Struct, frozen=True):
    """A call, or (with `stored`) an assignment to an attribute or item.

    Attributes:
        path: dotted name of what is called or assigned to; begins with "?" when the object is unknown.
        args: positional arguments.
        named: keyword arguments.
        open: whether `*args` or `**kwargs` may add arguments.
        node: where it stands.
        owner: qualified name of the function it stands in; "" for what runs on import, "__main__" for what
            runs as a script alone.
        stored: the value assigned, or None for a call.
        receiver: the object whose method is called.
    """

    path: str
    args: list[Value]
    named: dict[str, Value]
    open: bool
    node: ast.AST
    owner: str
    stored: Value | None = None
    receiver: Value = UNKNOWN

    @property
    def line(self) -> int:
        """Line, from 1."""
        return int(getattr(self.node, "lineno", 1))

    def arg(self, position: int, name: str = "") -> Value | None:
        """An argument by position or name."""
        if name in self.named:
            return self.named[name]
        return self.args[position] if 0 <= position < len(self.args) else None


@final
class Scope:
    """Names of a function, a class body or the module."""

    __slots__ = ("kind", "names", "outer", "owner", "qualified")

    def __init__(self, outer: Scope | None, kind: str, qualified: str, owner: str) -> None:
        self.outer = outer
        self.kind = kind
        self.qualified = qualified
        self.owner = owner
        self.names: dict[str, Value] = {}

    def find(self, name: str) -> Value:
        """What a name stands for; a builtin when nothing binds it."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.names.get(name)
            if found is not None and (scope.kind != "class" or scope is self):
                return found
            scope = scope.outer
        if name == "__builtins__":
            return Value(path="builtins")
        return Value(path=f"builtins.{name}") if name in _BUILTINS else UNKNOWN

    def child(self, name: str) -> str:
        """Qualified name of a definition in this scope."""
        return f"{self.qualified}.{name}" if self.qualified else name


@final
class Seen:
    """What the pass found.

    Attributes:
        sites: calls and assignments in order.
        functions: qualified names of all functions and methods.
        edges: function ("" for the module) -> local functions and classes it mentions.
        complete: False when the tree has more than `NODES` nodes.
    """

    __slots__ = ("complete", "edges", "functions", "sites")

    def __init__(self) -> None:
        self.sites: list[Site] = []
        self.functions: set[str] = set()
        self.edges: dict[str, set[str]] = {}
        self.complete = True
