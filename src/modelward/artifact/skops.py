"""A skops file names the classes that loading it would make; they are compared with the pickle allow-list.

Source: skops/io/_persist.py and skops/io/_general.py (schema protocol 2), skops 0.16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from modelward.artifact.events import Event
from modelward.artifact.pickle import rules

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES: Final = 1_000_000
_CALLING: Final = frozenset(
    {"FunctionNode", "PartialNode", "MethodNode", "OperatorFuncNode", "TypeNode", "ReduceNode", "ObjectNode"}
)


def judge(content: bytes) -> list[Event]:
    """Events for every name in a schema that is not proven harmless.

    Args:
        content: schema.json.
    """
    try:
        tree = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        return [Event("skops.schema", "unproven", f"schema.json cannot be read: {error}", -1)]
    events: dict[str, Event] = {}
    for module, name, loader in _names(tree):
        path = f"{module}.{name}"
        danger = rules.payload(module, name) or (rules.gadget(module, name) if loader in _CALLING else None)
        if danger is not None and loader != "MethodNode":
            events[path] = Event("skops.payload", "dangerous", f"{path} {danger}", -1, f"{loader}: {path}")
        elif rules.find(module, name) is None and not _fundamental(module, name):
            message = f"{path} is not on the allow-list, so what loading it does is unknown"
            events.setdefault(path, Event("skops.unknown-name", "unproven", message, -1))
    return list(events.values())


def _fundamental(module: str, name: str) -> bool:
    return module == "builtins" and name in {
        "NoneType",
        "function",
        "method",
        "str",
        "int",
        "float",
        "bool",
        "dict",
        "list",
    }


def _names(tree: object) -> Iterator[tuple[str, str, str]]:
    """(module, name, loader) of every node, and of functions named in a node's content."""
    stack = [tree]
    for _ in range(NODES):
        if not stack:
            return
        node = stack.pop()
        if isinstance(node, dict):
            module, name = (
                node.get("__module__", node.get("module_path")),
                node.get("__class__", node.get("function")),
            )
            if isinstance(module, str) and isinstance(name, str):
                yield module, name, str(node.get("__loader__", ""))
            stack += node.values()
        elif isinstance(node, list):
            stack += node
    yield "", "more nodes than are read", ""
