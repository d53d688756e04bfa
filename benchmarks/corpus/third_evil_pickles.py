# ruff: noqa: E501 - tables of what others write
"""Plain pickles of the third malicious corpus: every call in a spelling of its own, and the machine's own tricks."""

from __future__ import annotations

import random

import third_evil_calls as calls
import third_evil_libraries as libraries
import third_evil_machine as machine
from third_asm import Item, Style, dump

FILES = (
    "model.pkl",
    "weights.pickle",
    "classifier.pkl",
    "features.p",
    "encoder.pkl",
    "model.dat",
    "state.pk",
)
CALLS = {
    "process": calls.processes,
    "evaluated": calls.evaluated,
    "indirect": calls.indirect,
    "effect": calls.effects,
    "unusual": calls.unusual,
}
CALLS |= libraries.GROUPS
STREAMS = {
    "opcodes": machine.opcodes,
    "state": machine.states,
    "legacy": machine.legacy,
    "broken": machine.broken,
    "carrier": machine.carriers,
}


def dotted(node):
    """Whether some name of the tree has a dot, which only protocol 4 can look up."""
    if hasattr(node, "module"):
        return "." in node.name
    if hasattr(node, "func"):
        return any(dotted(part) for part in (node.func, node.args, node.state, node.extra))
    if isinstance(node, dict):
        return any(dotted(part) for part in [*node, *node.values()])
    return isinstance(node, tuple | list) and any(dotted(part) for part in node)


def has(node, how):
    if hasattr(node, "func"):
        return node.how == how or any(has(part, how) for part in (node.func, node.args, node.state))
    return isinstance(node, tuple | list) and any(has(part, how) for part in node)


def dressed(node, rng):
    """The call alone, or where a model file would hold it."""
    return rng.choice(
        [
            node,
            {"version": "1.2.0", "model": node},
            [0.25, "relu", node],
            {"params": {"C": 1.0, "kernel": "rbf"}, "fitted": (node, 17)},
        ]
    )


def items(seed):
    rng = random.Random(seed + 31)
    for group, table in CALLS.items():
        for name, node, *proof in table():
            low = 4 if dotted(node) or has(node, "newobj_ex") else 2 if has(node, "newobj") else 0
            style = Style(
                rng.randint(low, 5),
                rng.randrange(1 << 30),
                rng.choice(["none", "put", "memoize"]),
                mixed=rng.random() < 0.25,
            )
            data = dump(dressed(node, rng), style)
            yield Item(f"pickle-{group}", name, rng.choice(FILES), data, "pickle", (proof or ["mark"])[0])
    for group, table in STREAMS.items():
        for name, data, *check in table():
            yield Item(f"pickle-{group}", name, rng.choice(FILES), data, (check or ["pickle"])[0])
