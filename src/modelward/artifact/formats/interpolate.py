"""Interpolations of OmegaConf: what `${...}` in the name of a target stands for.

Source: OmegaConf 2.3, "Interpolations and resolvers" (`oc.env`, `oc.select`, `oc.decode`, `oc.deprecated`).
"""

from __future__ import annotations

import re
from typing import Final

from modelward.artifact.yaml import Mapping, Node, Scalar, Sequence

UNKNOWN: Final = "?"
"""Stands for a value that the document does not hold."""
_WITHIN: Final = frozenset({"oc.select", "oc.deprecated", "oc.decode"})
"""Resolvers whose value follows from the document."""
_ROUNDS: Final = 50
_LONGEST: Final = 4096
_INNERMOST: Final = re.compile(r"\$\{([^${}]*)\}")


def resolved(text: str, root: Node, near: Mapping) -> tuple[str, str | None]:
    """The text with every interpolation replaced, the innermost first, and a resolver that asks elsewhere.

    What `oc.env` or a resolver of the user's own gives is decided where the file is read; its last argument
    stands for it. A key that the document does not hold is one of the files that it is composed with.

    Args:
        text: a name with interpolations.
        root: the document, in which absolute keys are looked up.
        near: the mapping that holds the text, in which `.key` is looked up.
    """
    asked = None
    for _ in range(_ROUNDS):
        found = _INNERMOST.search(text)
        if found is None or len(text) > _LONGEST:
            break
        inner = found[1].strip()
        resolver, colon, _ = inner.partition(":")
        if colon and resolver.strip() not in _WITHIN:
            asked = inner
        text = text[: found.start()] + _value(inner, root, near) + text[found.end() :]
    return text.replace("${", UNKNOWN), asked


def _value(inner: str, root: Node, near: Mapping) -> str:
    """One interpolation; of a resolver its last argument, as a key or as what it says."""
    _, resolver, arguments = inner.partition(":")
    key = (arguments.rsplit(",", 1)[-1] if resolver else inner).strip().strip("'\"")
    found = _lookup(key, near if key.startswith(".") else root)
    return found if found is not None else key if resolver and key else UNKNOWN


def _lookup(key: str, start: Node) -> str | None:
    node: Node | None = start
    for part in re.findall(r"[^.\[\]]+", key):
        if isinstance(node, Mapping):
            node = node.get(part)
        elif isinstance(node, Sequence) and part.isdecimal() and int(part[:6]) < len(node.items):
            node = node.items[int(part[:6])]
        else:
            return None
    return node.value if isinstance(node, Scalar) else None
