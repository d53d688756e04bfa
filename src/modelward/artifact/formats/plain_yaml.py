"""YAML that makes no object: whether its aliases stand for more than anyone can hold.

A loader keeps an alias as a reference; whatever copies the result (OmegaConf, a JSON writer) writes it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact.reading import Malformed
from modelward.artifact.yaml import LONGEST, Mapping, Node, Sequence, parse

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

MOST: Final = 10_000_000
"""Nodes that a document may stand for once its aliases are written out."""


def read(data: Buffer, into: Reading) -> None:
    """Count what the aliases stand for."""
    if len(data) > LONGEST or data.find(b"&") < 0 or data.find(b"*") < 0:
        return
    try:
        documents = parse(bytes(data).decode("utf-8", "replace"))
    except Malformed:
        return  # no loader accepts it either
    if any(size(document, into) > MOST for document in documents):
        into.unproven("yaml.expansion", f"its aliases stand for more than {MOST:,} nodes, or for themselves")


def size(root: Node, into: Reading) -> float:
    """Nodes that a document stands for, each alias counted as what it names; infinite if one holds itself."""
    known: dict[int, float] = {}
    open_: set[int] = set()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        into.spend()
        parts = _parts(node)
        if done:
            open_.discard(id(node))
            known[id(node)] = 1.0 + sum(known[id(part)] for part in parts)
        elif id(node) in open_:
            return float("inf")
        elif id(node) not in known:
            open_.add(id(node))
            stack.append((node, True))
            stack += [(part, False) for part in parts if id(part) not in known]
    return known[id(root)]


def _parts(node: Node) -> list[Node]:
    if isinstance(node, Mapping):
        return [part for pair in node.pairs for part in pair]
    return list(node.items) if isinstance(node, Sequence) else []
