"""Which strings reach an input of a TensorFlow node: within its function, and from whoever calls it.

Sources: tensorflow/core/framework/ of TensorFlow 2.21: function.proto, op_def.proto, tensor.proto; tensor.cc
(`Helper<tstring>`: strings in `tensor_content` are their lengths, then their bytes); function.cc
(`SubstitutePlaceholders`: an attribute may be a placeholder that the caller fills).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple, final

from modelward.artifact.formats.protobuf import LONGEST, Message, varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modelward.artifact.reading import Reading

_HOPS: Final = 256
"""Most nodes that are visited to find the constants behind an input, and most strings of one constant."""
_FORWARDED: Final = frozenset(
    (
        "Const", "Placeholder", "PlaceholderV2", "PlaceholderWithDefault", "Identity", "IdentityN", "Switch",
        "Merge", "Select", "SelectV2", "StaticRegexFullMatch", "RegexFullMatch", "StringJoin", "Pack",
        "Unpack", "Concat", "ConcatV2", "ExpandDims", "Squeeze", "Reshape", "Tile", "Fill", "Slice",
        "StridedSlice", "Gather", "GatherV2", "Split", "SplitV", "Shape", "ShardedFilename",
        "ShardedFilespec", "StopGradient", "PreventGradient", "EnsureShape", "_Arg", "_Retval",
    )
)  # fmt: skip
"""Operators that hand strings on as they are, or that a saver builds its names with."""
_BUILDERS: Final = frozenset(
    (
        "AsString", "Bitcast", "DecodeBase64", "DecodeCompressed", "DecodeRaw", "EncodeBase64", "ReduceJoin",
        "RegexReplace", "Reverse", "ReverseV2", "StaticRegexReplace", "StringFormat", "StringLower",
        "StringSplit", "StringSplitV2", "StringStrip", "StringUpper", "Substr", "UnicodeEncode",
        "UnicodeTranscode", "UnsortedSegmentJoin",
    )
)  # fmt: skip
"""Operators that make a string of others which does not stand in the file."""
_LATER: Final = {
    "If": 1, "StatelessIf": 1, "Case": 1, "StatelessCase": 1, "While": 0, "StatelessWhile": 0,
    "PartitionedCall": 0, "StatefulPartitionedCall": 0,
}  # fmt: skip
"""Operator that calls a function -> the input that is the function's first argument."""


class Found(NamedTuple):
    """What may arrive at an input.

    Attributes:
        texts: the constants.
        computed: an operator or attribute that makes a string which cannot be told, or "".
        built: an operator on the way that puts strings together of parts, or "".
    """

    texts: list[str]
    computed: str
    built: str = ""


@final
class Scope:
    """The nodes of the main graph or of one function, which name each other.

    Attributes:
        name: of the function; "" is the main graph.
        nodes: in order.
        arguments: names of the function's arguments, in order.
    """

    __slots__ = ("_into", "_named", "arguments", "name", "nodes")

    def __init__(self, function: Message | None, nodes: list[Message], into: Reading) -> None:
        signature = None if function is None else function.only(1)
        self.name = "" if signature is None else signature.text(1)
        self.arguments = [] if signature is None else [part.text(1) for part in signature.each(2)]
        self.nodes = nodes
        self._into = into
        self._named: dict[str, Message] | None = None

    def node(self, name: str) -> Message | None:
        """The node of a name."""
        if self._named is None:
            self._into.spend(len(self.nodes))
            self._named = {part.text(1): part for part in self.nodes}
        return self._named.get(name)

    def inputs(self, node: Message, places: Iterable[int] | None = None) -> list[str]:
        """The nodes or arguments that some inputs of a node come from; inputs that only wait are none."""
        spans = node.places(3)
        self._into.spend(len(spans))
        chosen = spans if places is None else [spans[at] for at in places if at < len(spans)]
        names = [bytes(node.data[start : min(end, start + LONGEST)]) for start, end in chosen]
        return [
            name.decode("utf-8", "backslashreplace").split(":", 1)[0]
            for name in names
            if not name.startswith(b"^")
        ]

    def callers(self, function: str) -> Iterator[Message]:
        """Nodes that call a function, by operator or by an attribute."""
        mark = function.encode()
        for node in self.nodes:
            self._into.spend()
            if any(node.data.find(mark, *span) >= 0 for span in node.spans) and _calls(node, function):
                yield node


def _calls(node: Message, function: str) -> bool:
    values = attributes(node).values()
    named = (part.text(1) for value in values for part in (value.only(10), *value.only(1).each(9)))
    return node.text(2) == function or function in named


def attributes(node: Message) -> dict[str, Message]:
    """The attributes of a node: AttrValue by name."""
    return {entry.text(1): entry.only(2) for entry in node.each(5)}


def behind(node: Message, places: Iterable[int] | None, start: Scope, scopes: list[Scope]) -> Found:
    """The constants that some inputs of a node come from.

    Args:
        node: of `start`.
        places: numbers of the inputs; None is all of them.
        start: where the node stands.
        scopes: all graphs and functions.
    """
    trace = _Trace(scopes, start)
    trace.follow(node, places, start)
    while trace.waiting and len(trace.seen) < _HOPS:
        trace.visit(*trace.waiting.pop())
    return Found(
        trace.texts, trace.computed or ("a long chain of operators" if trace.waiting else ""), trace.built
    )


@final
class _Trace:
    __slots__ = ("_scopes", "built", "computed", "seen", "start", "texts", "waiting")

    def __init__(self, scopes: list[Scope], start: Scope) -> None:
        self._scopes = scopes
        self.start = start
        self.seen: set[tuple[str, str]] = set()
        self.waiting: list[tuple[str, Scope]] = []
        self.texts: list[str] = []
        self.computed = ""
        self.built = ""

    def follow(self, node: Message, places: Iterable[int] | None, scope: Scope) -> None:
        names = scope.inputs(node, places)
        self.waiting += [(name, scope) for name in names[:_HOPS]]
        if len(names) > _HOPS:
            self.computed = self.computed or f"{len(names)} inputs"

    def visit(self, name: str, scope: Scope) -> None:
        if (scope.name, name) in self.seen:
            return
        self.seen.add((scope.name, name))
        node = scope.node(name)
        if node is None:
            self._argument(name, scope)
            return
        operator = node.text(2)
        if operator == "Const":
            # A string that only a caller hands over may be anything, such as the description of a checkpoint.
            texts, known = strings(node)
            self.texts += [text for text in texts if scope is self.start or text.isprintable()]
            self.computed = self.computed or ("" if known else "an attribute of whoever calls the function")
            return
        if operator in _BUILDERS:
            self.built = self.built or f"the operator {operator}"
        if operator not in _FORWARDED:
            self.computed = self.computed or f"the operator {operator[:64]}"
        if operator == "StringJoin":
            self._join(node, scope)
        self.follow(node, None, scope)

    def _join(self, node: Message, scope: Scope) -> None:
        """The whole of a path that is put together from constants alone."""
        parts = [scope.node(name) for name in scope.inputs(node)[:_HOPS]]
        if all(part is not None and part.text(2) == "Const" for part in parts):
            texts = [strings(part)[0][:1] for part in parts if part is not None]
            separator = attributes(node).get("separator")
            between = "" if separator is None else separator.text(2)
            self.texts.append(between.join(text for each in texts for text in each))

    def _argument(self, name: str, scope: Scope) -> None:
        if name not in scope.arguments:
            return
        place = scope.arguments.index(name)
        for other in self._scopes:
            for node in other.callers(scope.name):
                operator = node.text(2)
                first = 0 if operator == scope.name else _LATER.get(operator)
                self.follow(node, None if first is None else (place + first,), other)


def strings(node: Message) -> tuple[list[str], bool]:
    """The strings of a Const, and whether they stand there (an attribute may be left to the caller)."""
    value = attributes(node).get("value")
    if value is None:
        return [], True
    tensor = value.only(8)
    found = tensor.texts(8, _HOPS)
    if tensor.number(1) == 7 and tensor.places(4):
        found += _packed(tensor)
    return found, not value.places(9)


def _packed(tensor: Message) -> list[str]:
    """Strings as their lengths, then their bytes."""
    pos, end = tensor.places(4)[-1]
    count = math.prod(max(part.number(1), 0) for part in tensor.only(2).each(2))
    sizes: list[int] = []
    for _ in range(min(count, _HOPS)):
        size, pos = varint(tensor.data, pos, end)
        sizes.append(size)
    if count > _HOPS:
        return ["\0"]
    found = []
    for size in sizes:
        found.append(bytes(tensor.data[pos : min(pos + size, end)]).decode("utf-8", "backslashreplace"))
        pos += size
    return found
