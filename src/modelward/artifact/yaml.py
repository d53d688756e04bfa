"""YAML as nodes with tags and lines; nothing is constructed.

PyYAML's parser alone is used (events, which its loaders would turn into objects), so that the text is read as
the libraries that load it read it.

Source: YAML 1.1, as PyYAML 6.0 reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH: Final = 100
NODES: Final = 200_000
LONGEST: Final = 4 << 20
MERGED: Final = 1000
"""Most pairs that a mapping gets from others by `<<`."""


class Scalar(msgspec.Struct, frozen=True):
    """A text.

    Attributes:
        value: as written, without quotes.
        tag: an explicit tag such as `tag:yaml.org,2002:python/name:os.system`, else "".
        line: from 1.
        plain: whether it was written without quotes, so that it may mean a number, a truth value or null.
    """

    value: str
    tag: str
    line: int
    plain: bool


class Sequence(msgspec.Struct):
    """A list; `tag` and `line` as of a scalar."""

    items: list[Node]
    tag: str
    line: int


class Mapping(msgspec.Struct):
    """Pairs in order, repeated keys included; `tag` and `line` as of a scalar."""

    pairs: list[tuple[Node, Node]]
    tag: str
    line: int

    def get(self, key: str) -> Node | None:
        """Value of the last pair with this key, as loaders take it."""
        found = [value for name, value in self.pairs if isinstance(name, Scalar) and name.value == key]
        return found[-1] if found else None

    def text(self, key: str) -> str | None:
        """The same when it is a text."""
        found = self.get(key)
        return found.value if isinstance(found, Scalar) else None


Node: TypeAlias = Scalar | Sequence | Mapping


def parse(text: str) -> list[Node]:
    """The documents of a YAML text; an alias stands for the very node that it names.

    Raises:
        Malformed: it is no YAML, or longer, deeper or larger than is read.
    """
    import yaml

    if len(text) > LONGEST:
        raise Malformed(f"{len(text)} characters of YAML; {LONGEST} are read")
    documents: list[Node] = []
    stack: list[tuple[Sequence | Mapping, list[Node]]] = []
    anchors: dict[str, Node] = {}
    count = 0
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            count += 1
            if count > NODES or len(stack) > DEPTH:
                raise Malformed(f"the YAML has more than {NODES} nodes or {DEPTH} levels")
            if isinstance(event, yaml.DocumentStartEvent):
                anchors = {}
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                node, items = stack.pop()
                _fill(node, items)
            elif isinstance(event, yaml.NodeEvent):
                made = _node(event, anchors)
                (stack[-1][1] if stack else documents).append(made)
                if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent) and not isinstance(
                    made, Scalar
                ):
                    stack.append((made, []))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Malformed(f"it is no YAML: {' '.join(str(error).split())[:200]}") from error
    return documents


def _node(event: object, anchors: dict[str, Node]) -> Node:
    import yaml

    if isinstance(event, yaml.AliasEvent):
        if event.anchor not in anchors:
            raise Malformed(f"the alias *{event.anchor} names nothing")
        return anchors[event.anchor]
    made: Node
    line = 1 + (event.start_mark.line if isinstance(event, yaml.NodeEvent) and event.start_mark else 0)
    if isinstance(event, yaml.ScalarEvent):
        made = Scalar(event.value, event.tag or "", line, event.implicit[0])
    elif isinstance(event, yaml.SequenceStartEvent):
        made = Sequence([], event.tag or "", line)
    elif isinstance(event, yaml.MappingStartEvent):
        made = Mapping([], event.tag or "", line)
    else:
        raise Malformed("the YAML has an event of an unknown kind")
    if event.anchor:
        anchors[event.anchor] = made
    return made


def _fill(node: Sequence | Mapping, items: list[Node]) -> None:
    if isinstance(node, Sequence):
        node.items = items
    else:
        node.pairs = list(zip(items[::2], items[1::2], strict=True))
        _merge(node)


def _merge(node: Mapping) -> None:
    """Take the pairs of the mappings under `<<` for keys that the mapping lacks, as constructors do."""
    given = [value for key, value in node.pairs if _is_merge(key)]
    sources = [part for value in given for part in (value.items if isinstance(value, Sequence) else [value])]
    own = {key.value for key, _ in node.pairs if isinstance(key, Scalar)} if sources else set()
    for source in sources:
        for key, value in source.pairs[:MERGED] if isinstance(source, Mapping) else ():
            if isinstance(key, Scalar) and key.value not in own and len(node.pairs) < MERGED:
                own.add(key.value)
                node.pairs.append((key, value))


def _is_merge(key: Node) -> bool:
    return isinstance(key, Scalar) and key.plain and key.value == "<<"


def walk(root: Node) -> Iterator[Node]:
    """Every node once, although aliases let it stand in several places; a text once for each of them."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, Scalar):
            yield node
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, Sequence):
            stack += reversed(node.items)
        else:
            stack += [part for pair in reversed(node.pairs) for part in reversed(pair)]
