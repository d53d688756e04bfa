"""Files of bare numbers have no mark of their own: a file beside them that describes them is the proof."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.format import Format, Sniffed
from modelward.artifact.sniff import sniff
from modelward.errors import FileDamaged

if TYPE_CHECKING:
    from collections.abc import Callable

_DESCRIBED: Final[tuple[tuple[str, tuple[str, ...], frozenset[Format]], ...]] = (
    (r"(.+)\.data-\d{5}-of-\d{5}", (r"\1.index",), frozenset({"tensorflow-checkpoint"})),
    (r"(.+)\.bin", (r"\1.xml",), frozenset({"openvino"})),
    (r"(.+)(\.onnx)?[._](?:data|weights|bin)", (r"\1.onnx", r"\1"), frozenset({"onnx"})),
    (r"weight\.bin", ("../model.mlmodel", "../../model.mlmodel"), frozenset({"coreml"})),
)
"""Name of the file, names of what may describe it, and the formats that do."""


def described(found: Sniffed, name: str, beside: Callable[[str], bytes | None]) -> Sniffed:
    """What content is that no rule recognised, when a file beside it is the graph that it belongs to.

    Args:
        found: what the content alone says.
        name: name of the file.
        beside: content of a file beside it, by relative path.
    """
    leaf = name.replace("\\", "/").rsplit("/", 1)[-1]
    for pattern, partners, formats in _DESCRIBED:
        match = re.fullmatch(pattern, leaf)
        for partner in [match.expand(each) for each in partners] if match else []:
            if _is(beside(partner), formats):
                return Sniffed("raw-numbers", f"numbers that {partner} describes")
    return found


def _is(content: bytes | None, formats: frozenset[Format]) -> bool:
    try:
        return bool(content) and sniff(content or b"").format in formats
    except FileDamaged:
        return False
