"""Looking at YAML nodes by their keys, merge keys (`<<`) included.

Source: YAML 1.1, "Merge Key Language-Independent Type".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelward.artifact import yaml

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer

_MERGED: Final = 20_000
"""Pairs of one file that merge keys may add; one alias more doubles them, so they are counted."""


def documents(data: Buffer) -> list[yaml.Node]:
    """The documents of a file, merge keys resolved.

    Raises:
        Malformed: it is no YAML, or more than is read.
    """
    found = yaml.parse(bytes(data[: yaml.LONGEST * 4 + 1]).decode("utf-8-sig", "replace"))
    left = _MERGED
    for document in found:
        # children first, so that what is merged has been merged itself
        for node in reversed(list(yaml.walk(document))):
            if isinstance(node, yaml.Mapping):
                left -= _merge(node, left)
    return found


def _merge(node: yaml.Mapping, most: int) -> int:
    """Put merged pairs before those of the mapping, of which the last counts; the number of merged ones."""
    merged: list[tuple[yaml.Node, yaml.Node]] = []
    for key, value in node.pairs:
        if isinstance(key, yaml.Scalar) and key.value == "<<" and key.plain:
            for part in reversed(items(value)):
                merged += part.pairs[: most - len(merged)] if isinstance(part, yaml.Mapping) else []
    node.pairs = merged + node.pairs
    return len(merged)


def fields(node: yaml.Node | None) -> dict[str, tuple[int, yaml.Node]]:
    """Key -> (line of the key, value) of a mapping, the last of repeated ones; empty for another node."""
    pairs = node.pairs if isinstance(node, yaml.Mapping) else []
    return {key.value: (key.line, value) for key, value in pairs if isinstance(key, yaml.Scalar)}


def at(node: yaml.Node | None, *path: str) -> yaml.Node | None:
    """The value under a path of keys, or None."""
    for key in path:
        node = node.get(key) if isinstance(node, yaml.Mapping) else None
    return node


def text(node: yaml.Node | None, *path: str) -> str:
    """The same when it is a text, else ""."""
    found = at(node, *path)
    return found.value if isinstance(found, yaml.Scalar) else ""


def true(node: yaml.Node | None, *path: str) -> bool:
    """Whether the value under a path is true."""
    return text(node, *path).lower() == "true"


def items(node: yaml.Node | None) -> list[yaml.Node]:
    """The items of a list; a node of its own when it is no list; none for None."""
    if node is None:
        return []
    return node.items if isinstance(node, yaml.Sequence) else [node]


def texts(node: yaml.Node | None) -> list[yaml.Scalar]:
    """The same, texts only."""
    return [one for one in items(node) if isinstance(one, yaml.Scalar)]


def joined(*nodes: yaml.Node | None) -> str:
    """Lists of arguments as one command line; an empty one shows as quotes."""
    return " ".join(one.value or "''" for node in nodes for one in texts(node))
