"""What the values of a Jinja template can be: constants folded, otherwise the strings that flow into them.

Flow-insensitive: a name stands for everything that is ever assigned to it, a container for everything in it.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final, final

import msgspec

from modelward.artifact.formats.folding import FOLDS, PASSING, SELECTING
from modelward.artifact.formats.template import Constant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modelward.artifact.formats.template import Node, Tag
    from modelward.artifact.reading import Reading

MANY: Final = 48
"""Most constants that one value is followed as."""
LONG: Final = 4096
"""Longest constant that is folded, in characters or items."""
BOMB: Final = 50_000_000
"""Size of a value from which on a template counts as a bomb."""
ROUNDS: Final = 6


class Value(msgspec.Struct, frozen=True):
    """What an expression can be.

    Attributes:
        known: all constants that it can be; None when it can be something else.
        parts: strings of the template that flow into it.
        made: text operations were applied that were not folded.
    """

    known: tuple[Constant, ...] | None
    parts: frozenset[str] = frozenset()
    made: bool = False

    def strings(self) -> frozenset[str]:
        """The strings that it can be, containers opened."""
        return frozenset(_strings(self.known or ()))


INPUT: Final = Value(None)
"""A value that the caller of the template gives."""


def _strings(items: Iterable[Constant]) -> Iterable[str]:
    stack = list(items)
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, tuple):
            stack += item


def _const(item: Constant) -> Value:
    return Value((item,), frozenset(_strings((item,))))


def _join(values: Iterable[Value], *, made: bool = False) -> Value:
    """What can be any of the values."""
    known: dict[tuple[type, Constant], Constant] | None = {}
    parts: set[str] = set()
    for value in values:
        parts |= value.parts
        made = made or value.made
        if known is not None and value.known is not None:
            known.update({(type(item), item): item for item in value.known})
            if len(known) > MANY:
                known, made = None, True
        else:
            known = None
    return Value(tuple(known.values()) if known is not None else None, frozenset(parts), made)


def _blend(values: Iterable[Value]) -> Value:
    """A text that is made of the values in a way that is not followed."""
    mixed = _join(values, made=True)
    return Value(None, mixed.parts, bool(mixed.parts))


@final
class Values:
    """The values of the expressions of one template.

    Attributes:
        macros: names of macros.
        bombs: (size, position) of constants too large to build.
    """

    def __init__(self, into: Reading, tags: list[Tag]) -> None:
        self.into = into
        self.macros = {tag.targets[0]: tag for tag in tags if tag.name == "macro" and tag.targets}
        self.bombs: list[tuple[int, int]] = []
        self._env: dict[str, Value] = {}
        self._memo: dict[int, Value] = {}
        self._calls = [
            node
            for tag in tags
            for root in tag.exprs
            for node in _nodes(root)
            if node.kind == "call" and (node.kids[0].value in self.macros or any(node.names))
        ]
        bodies = _bodies(tags)
        for _ in range(ROUNDS):
            before = dict(self._env)
            self._memo.clear()
            for tag in tags:
                self._bind(tag)
            for names, body, chain in bodies:
                self._capture(names, body, chain)
            for call in self._calls:
                self._pass(call)
            if self._env == before:
                break
        else:
            # Not stable: what still grows is not followed as constants.
            self._env = {
                name: value if before.get(name) == value else Value(None, value.parts, made=True)
                for name, value in self._env.items()
            }
        self._memo.clear()

    def of(self, node: Node) -> Value:
        """The value of an expression."""
        found = self._memo.get(id(node))
        if found is None:
            self.into.spend()
            found = self._evaluate(node)
            self._memo[id(node)] = found
        return found

    def rounds(self, node: Node) -> int:
        """How often a loop over this expression runs, when it is a constant range; else 1."""
        if node.kind == "filter" and node.kids:
            return self.rounds(node.kids[0])
        if node.kind != "call" or node.kids[0].value != "range":
            return 1
        ends = [max(_numbers(self.of(kid)), default=1) for kid in node.kids[1:3]]
        return max(1, *ends) if ends else 1

    # --- names ---

    def _set(self, name: str, value: Value) -> None:
        known = self._env.get(name)
        self._env[name] = value if known is None else _join((known, value))

    def _bind(self, tag: Tag) -> None:
        if tag.name == "for" and tag.exprs:
            items = self._element(self.of(tag.exprs[0]))
            deeper = self._element(items) if len(tag.targets) > 1 else items
            for name in (*tag.targets, "loop()"):  # which loop.previtem and loop.nextitem are
                self._set(name, deeper)
        elif tag.name in {"set", "with"} and tag.exprs:
            if len(tag.targets) == len(tag.exprs):
                for name, expr in zip(tag.targets, tag.exprs, strict=True):
                    self._set(name, self.of(expr))
            else:
                value = self._element(_join(self.of(expr) for expr in tag.exprs))
                for name in tag.targets:
                    self._set(name, value)
        elif tag.name == "macro":
            for name, expr in zip(reversed(tag.targets), reversed(tag.exprs), strict=False):
                self._set(name, self.of(expr))
        elif tag.name == "call":
            for name in tag.targets:
                self._set(name, INPUT)

    def _pass(self, call: Node) -> None:
        """Arguments become the parameters of a macro; keywords become attributes (of namespaces)."""
        macro = self.macros.get(str(call.kids[0].value))
        parameters = macro.targets[1:] if macro is not None else ()
        for at, (keyword, kid) in enumerate(zip(call.names, call.kids[1:], strict=True)):
            value = self.of(kid)
            if keyword:
                self._set("." + keyword, value)
                if keyword in parameters:
                    self._set(keyword, value)
            elif at < len(parameters):
                self._set(parameters[at], value)
            given = _join((value, _const(keyword))) if keyword else value
            for name in ("varargs", "kwargs") if macro is not None else ():
                self._set(name, given)

    def _capture(self, names: tuple[str, ...], body: list[Tag], chain: Node | None) -> None:
        """The text that a block or macro produces, through the filters of the block."""
        plain = all(tag.name in {"text", "print"} for tag in body)
        pieces = [_const(tag.text) if tag.name == "text" else self.of(tag.exprs[0]) for tag in body]
        value = self._concatenate(pieces) if plain else _blend(pieces)
        stripped = tuple(dict.fromkeys(item.strip() for item in value.known or () if isinstance(item, str)))
        if value.known is not None:
            value = Value(stripped, value.parts, value.made)
        if chain is not None:
            value = self._filtered(chain, value)
        for name in names:
            self._set(name, value)

    def _filtered(self, chain: Node, value: Value) -> Value:
        """A chain of filters over another value than the empty text that it is written on."""
        nodes = []
        while chain.kind == "filter":
            nodes.append(chain)
            chain = chain.kids[0]
        for node in reversed(nodes):
            value = self._applied(str(node.value), node, [value, *(self.of(kid) for kid in node.kids[1:])])
        return value

    # --- expressions ---

    def _evaluate(self, node: Node) -> Value:
        if node.kind == "const":
            return _const(node.value)
        if node.kind == "name":
            return self._env.get(str(node.value), INPUT)
        if node.kind == "list":
            return self._list([self.of(kid) for kid in node.kids])
        if node.kind == "dict":
            values = [self.of(kid) for kid in node.kids]
            if all(value.known is not None for value in values[::2]):
                keys = self._list(values[::2])
                return Value(keys.known, _join(values).parts, keys.made) if keys.known else _join(values)
            return Value(None, _join(values).parts)
        if node.kind == "attr" and node.kids[0].value == "loop":
            return self._env.get("loop()", INPUT) if node.value in {"previtem", "nextitem"} else INPUT
        if node.kind == "attr":
            base = self.of(node.kids[0])
            stored = self._env.get("." + str(node.value))
            inside = Value(None, base.parts, base.made)
            return inside if stored is None else stored if not base.parts else _join((inside, stored))
        if node.kind == "item":
            return self._item(node)
        if node.kind == "op":
            return self._operator(node)
        if node.kind == "cond":
            return _join(self.of(kid) for at, kid in enumerate(node.kids) if at % 2 == 0)
        if node.kind == "filter":
            return self._applied(str(node.value), node, [self.of(kid) for kid in node.kids])
        if node.kind == "call":
            return self._call(node)
        return Value(None, _join(self.of(kid) for kid in node.kids).parts) if node.kind == "slice" else INPUT

    def _list(self, values: list[Value]) -> Value:
        parts = frozenset().union(*(value.parts for value in values))
        made = any(value.made for value in values)
        combinations = _product([value.known for value in values])
        if combinations is None:
            return Value(None, parts, made)
        return Value(tuple(tuple(items) for items in combinations), parts, made)

    def _element(self, value: Value) -> Value:
        """Something inside a value: the items of lists, the characters of nothing."""
        if value.known is None:
            return value
        items: list[Constant] = []
        for item in value.known:
            items += item if isinstance(item, tuple) else (item,)
        return _join([_const(item) for item in items]) if items else Value((), value.parts, value.made)

    def _item(self, node: Node) -> Value:
        base, key = self.of(node.kids[0]), node.kids[1]
        if key.kind == "slice":
            bounds = [self.of(kid).known for kid in key.kids]
            combinations = _product(bounds)
            if base.known is None or combinations is None:
                return Value(None, base.parts, bool(base.parts))

            def cut(item: Constant) -> list[Constant]:
                return [
                    item[slice(*bound)]  # type: ignore[arg-type]  # integers or None, as the condition says
                    for bound in combinations or ()
                    if isinstance(item, str | tuple)
                    and all(part is None or (isinstance(part, int) and part is not True) for part in bound)
                    and bound[2:] != [0]
                ]

            return self._each([base], lambda items: cut(items[0]))
        index = self.of(key).known
        stored = [self._env["." + text] for text in sorted(_strings(index or ())) if "." + text in self._env]
        if base.known is None:
            return _join([Value(None, base.parts, base.made), *stored])
        if index is not None and len(index) == 1 and isinstance(index[0], int):
            at = index[0]
            rows = [item for item in base.known if isinstance(item, str | tuple)]
            found = [row[at] for row in rows if -len(row) <= at < len(row)]
            return _join([_const(item) for item in found]) if found else Value(None, base.parts, base.made)
        texts = any(isinstance(item, str) for item in base.known)
        inside = self._element(base)
        return _join([Value(None if texts else inside.known, base.parts, base.made or texts), *stored])

    def _operator(self, node: Node) -> Value:
        values = [self.of(kid) for kid in node.kids]
        if node.value in {"or", "and"}:
            return _join(values)
        if node.value in {"~", "+"}:
            return self._concatenate(values, text=node.value == "~")
        if node.value in {"*", "%"} and len(values) == 2:
            left, right = values
            if node.value == "*":
                self._weigh(left, right, node.pos)
                return self._each(values, lambda items: _times(items[0], items[1]))
            if any(value.parts for value in values):
                return self._each([left, right], lambda items: _percent(items[0], items[1]))
        if node.value == "**" and len(values) == 2:
            big = max(_numbers(values[1]), default=0)
            if big > 1000:
                self.bombs.append((big, node.pos))
            return self._each(values, lambda items: _power(items[0], items[1]))
        if node.value == "neg" and len(values) == 1:
            return self._each(values, lambda items: [-items[0]] if isinstance(items[0], int) else [])
        return INPUT

    def _concatenate(self, values: list[Value], *, text: bool = True) -> Value:
        values = values or [_const("")]

        def glue(items: list[Constant]) -> list[Constant]:
            if text or all(isinstance(item, str) for item in items):
                whole = "".join(map(str, items))
                return [whole] if len(whole) <= LONG else []
            if all(isinstance(item, int) for item in items):
                return [sum(item for item in items if isinstance(item, int))]
            if all(isinstance(item, tuple) for item in items):
                return [tuple(itertools.chain(*(item for item in items if isinstance(item, tuple))))[:LONG]]
            return []

        return values[0] if len(values) == 1 else self._each(values, glue)

    def _weigh(self, left: Value, right: Value, pos: int) -> None:
        """Repetition of a text or list so often that memory ends."""
        for one, other in ((left, right), (right, left)):
            sizes = [len(item) for item in one.known or () if isinstance(item, str | tuple)]
            size = max(sizes, default=0) * max(_numbers(other), default=0)
            if size > BOMB:
                self.bombs.append((size, pos))

    def _each(self, values: list[Value], fold: Callable[[list[Constant]], list[Constant]]) -> Value:
        """A function of several values, on every combination of their constants; [] where it has no value."""
        parts = frozenset().union(*(value.parts for value in values))
        combinations = _product([value.known for value in values])
        if combinations is None:
            return Value(None, parts, bool(parts))
        found: list[Constant] = []
        for items in combinations:
            self.into.spend()
            result = fold(items)
            if not result:
                return Value(None, parts, bool(parts))
            found += result
        whole = _join([_const(item) for item in found])
        return Value(whole.known, parts | whole.parts)

    def _applied(self, name: str, node: Node, values: list[Value]) -> Value:
        """A filter, or a method of the same name: the value it is applied to first."""
        if name in {"center", "indent", "ljust", "rjust", "zfill"}:
            big = max((number for value in values[1:] for number in _numbers(value)), default=0)
            if big > BOMB:
                self.bombs.append((big, node.pos))
        if name in PASSING:
            return _join(values)
        if (
            name == "replace"
            and values[0] == INPUT
            and all(len(part) < 4 for v in values for part in v.parts)
        ):
            return INPUT  # the caller's text with marks exchanged
        if name == "map" and len(values) > 1 and values[1].known:
            filters = values[1].strings()
            if len(filters) == 1 and values[0].known is not None and min(filters) in FOLDS:
                inner = self._element(values[0])
                mapped = self._applied(min(filters), node, [inner, *values[2:]])
                parts = values[0].parts | mapped.parts
                return _blend(values) if mapped.known is None else Value(mapped.known, parts, made=True)
        if name in SELECTING and values[0].known is None:
            return _join(values)
        fold = FOLDS.get(name)
        return _blend(values) if fold is None else self._each(values, fold)

    def _call(self, node: Node) -> Value:
        callee, arguments = node.kids[0], [self.of(kid) for kid in node.kids[1:]]
        if callee.kind == "name":
            name = str(callee.value)
            if name in self.macros or name == "caller":
                return self._env.get(name + "()", INPUT)
            if name == "dict":
                keys = [_const(keyword) for keyword in node.names if keyword]
                whole = self._list([*keys, *(() if keys else arguments)])
                return Value(whole.known, whole.parts | _join(arguments).parts)
            if name in {"namespace", "cycler", "joiner"}:
                return Value(None, _join(arguments).parts)
            if name == "range":
                return INPUT
            return _blend([*arguments])
        if callee.kind == "attr":
            base = self.of(callee.kids[0])
            name = str(callee.value)
            if name in {"get", "pop", "setdefault", "items", "values", "keys", "copy"}:
                wanted = sorted(arguments[0].strings()) if arguments else []
                stored = [self._env["." + text] for text in wanted if "." + text in self._env]
                if name == "setdefault" and callee.kids[0].kind == "name":
                    self._set(str(callee.kids[0].value), _join([INPUT, *arguments]))
                return _join([Value(None, base.parts, base.made), *arguments[1:], *stored])
            if name in {"append", "extend", "insert", "update", "add"} and callee.kids[0].kind == "name":
                self._set(str(callee.kids[0].value), _join([INPUT, *arguments]))
                return INPUT
            if name == "join" and len(arguments) == 1:
                return self._applied("join", node, [arguments[0], base])
            return self._applied("str_format" if name == "format" else name, node, [base, *arguments])
        return Value(None, _join([self.of(callee), *arguments]).parts, made=True)


def _nodes(root: Node) -> Iterable[Node]:
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack += node.kids


def _bodies(tags: list[Tag]) -> list[tuple[tuple[str, ...], list[Tag], Node | None]]:
    """The tags inside each block whose output becomes a value, the name it becomes, and its filters."""
    opened: list[tuple[str, tuple[str, ...], list[Tag], Node | None]] = []
    found: list[tuple[tuple[str, ...], list[Tag], Node | None]] = []
    for tag in tags:
        if opened and tag.name == opened[-1][0]:
            found.append(opened.pop()[1:])
        elif tag.name == "macro":
            opened.append(("endmacro", (tag.targets[0] + "()",), [], None))
        elif (tag.name == "set" and len(tag.targets) == 1 and not tag.exprs) or (
            tag.name == "set" and tag.exprs and tag.exprs[0].kind == "filter" and _open_ended(tag)
        ):
            opened.append(("endset", tag.targets, [], tag.exprs[0] if tag.exprs else None))
        elif tag.name == "call":
            opened.append(("endcall", ("caller()",), [], None))
        for _, _, body, _ in opened:
            if tag.name not in {"macro", "call"} and (
                tag.name in {"print", "text"} or tag.name in {"if", "for"}
            ):
                body.append(tag)
    return found


def _open_ended(tag: Tag) -> bool:
    node = tag.exprs[0]
    while node.kind == "filter" and node.kids:
        node = node.kids[0]
    return node.kind == "const" and node.value == "" and node.pos == tag.pos


def _product(sets: list[tuple[Constant, ...] | None]) -> list[list[Constant]] | None:
    """Every combination of one constant of each; None when one is not known or there are too many."""
    size = 1
    for known in sets:
        size *= len(known) if known is not None else MANY + 1
        if size > MANY or len(sets) > LONG:
            return None
    return [list(items) for items in itertools.product(*(known for known in sets if known is not None))]


def _numbers(value: Value) -> list[int]:
    return [item for item in value.known or () if isinstance(item, int)]


def _times(left: Constant, right: Constant) -> list[Constant]:
    if isinstance(left, int) and isinstance(right, int):
        return [left * right] if abs(left) < 1 << 64 and abs(right) < 1 << 64 else []
    if isinstance(right, str | tuple):
        left, right = right, left
    if isinstance(left, str | tuple) and isinstance(right, int) and len(left) * max(right, 0) <= LONG:
        return [left * right]
    return []


def _power(base: Constant, exponent: Constant) -> list[Constant]:
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) < 1 << 16 and 0 <= exponent <= 64:
        return [int(base**exponent)]
    return []


_WIDE: Final = re.compile(r"\d{4,}|\*")


def _percent(left: Constant, right: Constant) -> list[Constant]:
    if not isinstance(left, str) or len(left) > LONG or _WIDE.search(left):
        return []
    try:
        return [left % right]
    except (TypeError, ValueError, OverflowError):
        return []
