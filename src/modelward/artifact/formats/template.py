"""Jinja templates as pieces and expressions; nothing is rendered.

Source: Jinja 3.1, `jinja2/lexer.py` and `jinja2/parser.py` (delimiters, string escapes, precedence), as
transformers sets it up for chat templates (no line statements, `loopcontrols`, the tag `generation`).
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Final, TypeAlias, final

import msgspec

from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.reading import Reading

DEPTH: Final = 40
"""Deepest nesting of expressions that is read."""
CHAIN: Final = 150
"""Longest chain of attributes, subscripts, calls and filters behind one value."""

Constant: TypeAlias = "str | int | float | bool | tuple[Constant, ...] | None"


class Node(msgspec.Struct, frozen=True):
    """An expression.

    Attributes:
        kind: const, name, list, dict, attr, item, slice, call, filter, test, op or cond.
        value: the constant; the name of a name, attribute, filter or test; the operator.
        kids: parts; of a call the callee and its arguments, of a filter or test what it is applied to and
            its arguments, of a dictionary keys and values in turn.
        names: keyword of each argument, "" for those by position.
        pos: offset in the template, in characters.
    """

    kind: str
    value: Constant = None
    kids: tuple[Node, ...] = ()
    names: tuple[str, ...] = ()
    pos: int = 0


class Tag(msgspec.Struct, frozen=True):
    """A piece of a template: text, the output of an expression, or a statement.

    Attributes:
        name: "text", "print", or the name of the statement, such as `for` or `endset`.
        targets: names that are assigned; `.x` for attribute x of a namespace; of a macro its name first.
        exprs: expressions, in order; of a macro the defaults of its last parameters.
        text: of a text.
        pos: offset in the template, in characters.
    """

    name: str
    targets: tuple[str, ...] = ()
    exprs: tuple[Node, ...] = ()
    text: str = ""
    pos: int = 0


_OPEN: Final = re.compile(r"\{\{[-+]?|\{%[-+]?|\{#")
_RAW: Final = re.compile(r"\s*raw\s*[-+]?%\}(.*?)\{%[-+]?\s*endraw\s*[-+]?%\}", re.DOTALL)
_SPACE: Final = re.compile(r"\s+")
_TOKEN: Final = re.compile(
    r"""(?P<float>(?<!\.)(?:\d+_)*\d+(?:\.\d[\d_]*(?:e[+-]?\d+)?|e[+-]?\d+))"""
    r"""|(?P<int>0b[01_]+|0o[0-7_]+|0x[\da-f_]+|\d[\d_]*)(?!\w)"""
    r"""|(?P<name>\w+)"""
    r"""|(?P<string>'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*")"""
    r"""|(?P<op>//|\*\*|==|!=|>=|<=|[-+/*%~\[\](){}<>=.:|,;])""",
    re.IGNORECASE | re.DOTALL,
)
_PAIRS: Final = {")": "(", "]": "[", "}": "{"}
_PRECEDENCE: Final = (
    frozenset({"or"}),
    frozenset({"and"}),
    frozenset({"==", "!=", "<", ">", "<=", ">=", "in", "not in"}),
    frozenset({"+", "-"}),
    frozenset({"~"}),
    frozenset({"*", "/", "//", "%"}),
    frozenset({"**"}),
)
_WORDS: Final[dict[str, Constant]] = {
    "true": True, "True": True, "false": False, "False": False, "none": None, "None": None,
}  # fmt: skip

Token: TypeAlias = tuple[str, str, int]


def parse(template: str, into: Reading) -> list[Tag]:
    """The pieces of a template, in order.

    Raises:
        Malformed: it is no template that this parser can read.
        Exhausted: it is too large.
    """
    pieces: list[Tag] = []
    pos = 0
    while True:
        into.spend()
        found = _OPEN.search(template, pos)
        if found is None:
            break
        if found.start() > pos:
            pieces.append(Tag("text", text=template[pos : found.start()], pos=pos))
        pos = found.end()
        kind = found.group()[:2]
        raw = _RAW.match(template, pos) if kind == "{%" else None
        if kind == "{#":
            pos = template.find("#}", pos) + 2
            if pos == 1:
                raise Malformed("a comment has no end")
        elif raw is not None:
            pieces.append(Tag("text", text=raw[1], pos=pos))
            pos = raw.end()
        else:
            tokens, pos = _tokens(template, pos, "}}" if kind == "{{" else "%}", into)
            reader = _Expressions(tokens, found.start())
            pieces.append(reader.output() if kind == "{{" else reader.statement())
    if pos < len(template):
        pieces.append(Tag("text", text=template[pos:], pos=pos))
    return pieces


def _tokens(template: str, pos: int, close: str, into: Reading) -> tuple[list[Token], int]:
    """The tokens up to the end of the tag, and where the text goes on."""
    found: list[Token] = []
    stack: list[str] = []
    while True:
        into.spend()
        space = _SPACE.match(template, pos)
        pos = space.end() if space else pos
        if not stack:
            for mark in (close, "-" + close, "+" + close):
                if template.startswith(mark, pos):
                    return found, pos + len(mark)
        match = _TOKEN.match(template, pos)
        if match is None or match.lastgroup is None:
            raise Malformed(f"character {pos} of the template starts no token")
        text = match.group()
        if match.lastgroup == "op":
            if text in "([{":
                stack.append(text)
            elif text in _PAIRS and (not stack or stack.pop() != _PAIRS[text]):
                raise Malformed(f"a bracket at character {pos} of the template closes none")
        found.append((match.lastgroup, text, pos))
        pos = match.end()


def _unescape(text: str) -> str:
    """The value of a string literal, as the lexer of Jinja decodes it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unknown escapes such as \d stay as they are
            return text[1:-1].encode("ascii", "backslashreplace").decode("unicode-escape")
    except UnicodeDecodeError as error:
        raise Malformed("a string of the template has an escape that is none") from error


@final
class _Expressions:
    """A recursive-descent parser over the tokens of one tag; its depth is bounded."""

    def __init__(self, tokens: list[Token], pos: int) -> None:
        self.tokens = tokens
        self.pos = pos
        self.at = 0
        self.depth = 0

    # --- tokens ---

    def peek(self, offset: int = 0) -> str:
        """Text of a name or operator ahead; "" for constants and behind the end."""
        at = self.at + offset
        if at < len(self.tokens) and self.tokens[at][0] in {"name", "op"}:
            return self.tokens[at][1]
        return ""

    def done(self) -> bool:
        return self.at >= len(self.tokens)

    def next(self) -> Token:
        if self.done():
            raise Malformed(f"the tag at character {self.pos} of the template ends early")
        self.at += 1
        return self.tokens[self.at - 1]

    def accept(self, text: str) -> bool:
        if self.peek() == text:
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise Malformed(f"{text!r} is missing in the tag at character {self.pos} of the template")

    def name(self) -> str:
        kind, text, pos = self.next()
        if kind != "name" or not text.isidentifier():
            raise Malformed(f"a name is missing at character {pos} of the template")
        return text

    def end(self) -> None:
        if not self.done():
            raise Malformed(f"the tag at character {self.pos} of the template has more than it can mean")

    # --- statements ---

    def output(self) -> Tag:
        tag = Tag("print", (), (self.tuple_(),), pos=self.pos)
        self.end()
        return tag

    def statement(self) -> Tag:
        name = self.name()
        targets: list[str] = []
        exprs: list[Node] = []
        if name == "for":
            targets = self.targets("in")
            exprs.append(self.tuple_(conditional=False))
            if self.accept("if"):
                exprs.append(self.expression())
            self.accept("recursive")
        elif name in {"set", "with"}:
            self.assign(name, targets, exprs)
        elif name in {"macro", "call"}:
            self.signature(name, targets, exprs)
        elif name in {"if", "elif", "print", "do", "autoescape"}:
            exprs.append(self.tuple_())
        elif name == "filter":
            exprs.append(self.filters(Node("const", "", pos=self.pos), first=True))
        elif name in {"include", "import", "extends", "from"}:
            exprs.append(self.expression())
            self.at = len(self.tokens)  # what is imported, and as what, changes nothing about the file
        else:
            self.at = len(self.tokens)
        self.end()
        return Tag(name, tuple(targets), tuple(exprs), pos=self.pos)

    def targets(self, until: str) -> list[str]:
        found: list[str] = []
        while not self.accept(until):
            if self.accept("(") or self.accept(")") or self.accept(","):
                continue
            name = self.name()
            found.append("." + self.name() if self.accept(".") else name)
        return found

    def assign(self, name: str, targets: list[str], exprs: list[Node]) -> None:
        if name == "with":
            while not self.done():
                targets.append(self.name())
                self.expect("=")
                exprs.append(self.expression())
                self.accept(",")
            return
        marks = [text for kind, text, _ in self.tokens if kind == "op" and text in {"=", "|"}]
        if marks[:1] == ["="]:
            targets += self.targets("=")
            exprs.append(self.tuple_())
            return
        targets.append(self.name())
        if self.accept("."):
            targets[0] = "." + self.name()
        if not self.done():
            exprs.append(self.filters(Node("const", "", pos=self.pos)))

    def signature(self, name: str, targets: list[str], exprs: list[Node]) -> None:
        if name == "macro":
            targets.append(self.name())
            self.expect("(")
        if name == "macro" or self.accept("("):
            while not self.accept(")"):
                targets.append(self.name())
                if self.accept("="):
                    exprs.append(self.expression())
                if self.peek() != ")":
                    self.expect(",")
        if name == "call":
            exprs.append(self.expression())

    # --- expressions ---

    def tuple_(self, *, conditional: bool = True) -> Node:
        """One expression, or several with commas."""
        pos = self.pos
        items = [self.expression(conditional=conditional)]
        comma = False
        while self.accept(","):
            comma = True
            if self.done() or self.peek() in {")", "in", "if"}:
                break
            items.append(self.expression(conditional=conditional))
        return Node("list", kids=tuple(items), pos=pos) if comma else items[0]

    def expression(self, *, conditional: bool = True) -> Node:
        self.depth += 1
        if self.depth > DEPTH:
            raise Malformed(f"expressions are nested deeper than {DEPTH} levels")
        node = self.binary(0)
        if conditional:
            parts = [node]
            while self.accept("if"):
                parts.append(self.binary(0))
                if not self.accept("else"):
                    break
                parts.append(self.binary(0))
            node = Node("cond", kids=tuple(parts), pos=node.pos) if len(parts) > 1 else node
        self.depth -= 1
        return node

    def binary(self, level: int) -> Node:
        if level == len(_PRECEDENCE):
            return self.unary()
        if level == 2 and self.peek() == "not":
            return self.negation()
        node = self.binary(level + 1)
        while True:
            operator = self.peek()
            if operator == "not" and self.peek(1) == "in":
                operator = "not in"
            if operator not in _PRECEDENCE[level]:
                return node
            self.at += 2 if operator == "not in" else 1
            # After `and` and `or` a `not` may follow; level 2 sees to it.
            right = self.binary(level + 1)
            kids = (
                (*node.kids, right) if node.kind == "op" and node.value == operator and level != 6 else None
            )
            node = Node("op", operator, kids or (node, right), pos=node.pos)

    def negation(self) -> Node:
        count = 0
        while self.accept("not"):
            count += 1
        return Node("op", "not", (self.binary(2),), pos=self.pos)

    def unary(self, *, filters: bool = True) -> Node:
        signs = 0
        negative = False
        while self.peek() in {"-", "+"}:
            negative ^= self.next()[1] == "-"
            signs += 1
        node = self.postfix(self.primary())
        if negative:
            number = node.kind == "const" and isinstance(node.value, int | float)
            node = (
                Node("const", -node.value, pos=node.pos)
                if number and isinstance(node.value, int | float)
                else Node("op", "neg", (node,), pos=node.pos)
            )
        return self.filters(node) if filters else node

    def primary(self) -> Node:
        kind, text, pos = self.next()
        if kind == "name":
            if text in _WORDS:
                return Node("const", _WORDS[text], pos=pos)
            if not text.isidentifier():
                raise Malformed(f"a name is malformed at character {pos} of the template")
            return Node("name", text, pos=pos)
        if kind == "string":
            value = _unescape(text)
            while not self.done() and self.tokens[self.at][0] == "string":
                value += _unescape(self.next()[1])
            return Node("const", value, pos=pos)
        if kind in {"int", "float"}:
            return Node("const", _number(text, kind), pos=pos)
        if text == "(":
            node = Node("list", pos=pos) if self.peek() == ")" else self.tuple_()
            self.expect(")")
            return node
        if text == "[":
            return Node("list", kids=self.items("]"), pos=pos)
        if text == "{":
            return Node("dict", kids=self.items("}"), pos=pos)
        raise Malformed(f"an expression is missing at character {pos} of the template")

    def items(self, close: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self.accept(close):
            found.append(self.expression())
            if close == "}":
                self.expect(":")
                found.append(self.expression())
            if self.peek() != close:
                self.expect(",")
        return tuple(found)

    def postfix(self, node: Node) -> Node:
        for _ in range(CHAIN):
            if self.accept("."):
                kind, text, pos = self.next()
                if kind == "int":
                    node = Node("item", kids=(node, Node("const", _number(text, kind), pos=pos)), pos=pos)
                elif kind == "name":
                    node = Node("attr", text, (node,), pos=pos)
                else:
                    raise Malformed(f"an attribute is missing at character {pos} of the template")
            elif self.accept("["):
                node = Node("item", kids=(node, self.subscript()), pos=node.pos)
            elif self.accept("("):
                kids, names = self.arguments()
                node = Node("call", kids=(node, *kids), names=names, pos=node.pos)
            else:
                return node
        raise Malformed(f"a value has more than {CHAIN} attributes, subscripts or calls")

    def subscript(self) -> Node:
        """One index, a slice, or several with commas."""
        parts: list[Node] = []
        none = Node("const", None, pos=self.pos)
        current, sliced = none, False
        while not self.accept("]"):
            if self.accept(":") or self.accept(","):
                sliced = sliced or self.tokens[self.at - 1][1] == ":"
                parts.append(current)
                current = none
            else:
                current = self.expression()
        if sliced:
            return Node("slice", kids=(*parts, current, none, none)[:3], pos=self.pos)
        return Node("list", kids=(*parts, current), pos=self.pos) if parts else current

    def arguments(self) -> tuple[tuple[Node, ...], tuple[str, ...]]:
        kids: list[Node] = []
        names: list[str] = []
        while not self.accept(")"):
            star = self.accept("*") or self.accept("**")
            keyword = ""
            if not star and self.peek(1) == "=" and self.tokens[self.at][0] == "name":
                keyword = self.name()
                self.at += 1
            kids.append(self.expression())
            names.append(keyword)
            if self.peek() != ")":
                self.expect(",")
        return tuple(kids), tuple(names)

    def filters(self, node: Node, *, first: bool = False) -> Node:
        for _ in range(CHAIN):
            if first or self.accept("|"):
                first = False
                node = self.applied("filter", node)
            elif self.peek() == "is":
                self.at += 1
                self.accept("not")
                node = self.applied("test", node)
            elif self.peek() == "(" and node.kind in {"filter", "test"}:
                self.at += 1
                kids, names = self.arguments()
                node = Node("call", kids=(node, *kids), names=names, pos=node.pos)
            else:
                return node
        raise Malformed(f"a value has more than {CHAIN} filters")

    def applied(self, kind: str, node: Node) -> Node:
        pos = self.tokens[self.at][2] if not self.done() else self.pos
        name = self.name()
        while self.accept("."):
            name += "." + self.name()
        kids: tuple[Node, ...] = ()
        names: tuple[str, ...] = ()
        if self.accept("("):
            kids, names = self.arguments()
        elif kind == "test" and self._starts_argument():
            kids, names = (self.postfix(self.primary()),), ("",)
        return Node(kind, name, (node, *kids), names, pos)

    def _starts_argument(self) -> bool:
        """A test takes one argument without brackets, unless an operator of words follows."""
        if self.done():
            return False
        kind, text, _ = self.tokens[self.at]
        if kind == "op":
            return text in {"[", "{"}
        return kind != "name" or text not in {"else", "or", "and", "is", "if", "in", "not"}


def _number(text: str, kind: str) -> int | float:
    plain = text.replace("_", "")
    try:
        return (
            float(plain)
            if kind == "float"
            else int(plain, 0 if plain[:2].lower() in {"0x", "0b", "0o"} else 10)
        )
    except ValueError as error:
        raise Malformed("a number of the template is none") from error
