"""The formats before GGUF: `ggml`, `ggmf`, `ggjt` and adapters `ggla`.

They hold numbers and texts alone. Where the layout is that of LLaMA (`ggmf`, `ggjt`), every size is compared
with the file; the layout of the others depends on the program that wrote them.
Source: llama.cpp at commit 8183159, `llama.cpp` (`llama_file_loader`) and `convert.py`.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Final

from modelward.artifact.cursor import Cursor
from modelward.artifact.formats.gguf import MOST, TYPES
from modelward.artifact.reading import Malformed

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_VOCABULARY: Final = 1 << 24


def read(data: Buffer, into: Reading) -> None:
    """Walk the vocabulary and the tensors of LLaMA's layout."""
    into.facts["framework"] = "ggml"
    cursor = Cursor(data)
    magic = cursor.take(4)
    if magic not in {b"fmgg", b"tjgg"}:
        into.note(
            "ggml.layout", "the layout depends on the program that wrote it; its sizes were not compared"
        )
        return
    version = cursor.number("I")
    words = cursor.number("I")
    cursor.need(24)
    if not 1 <= version <= 3 or words > _VOCABULARY:
        raise Malformed(f"version {version} with {words} words")
    for _ in range(words):
        into.spend()
        cursor.need(cursor.number("I"))
        cursor.need(4)
    tensors = parameters = 0
    while cursor.left:
        into.spend()
        dims, length, kind = cursor.number("I"), cursor.number("I"), cursor.number("I")
        if not 1 <= dims <= 2 or kind not in TYPES:
            raise Malformed(f"a tensor of {dims} dimensions and type {kind}")
        shape = [cursor.number("I") for _ in range(dims)]
        cursor.need(length)
        if magic == b"tjgg":
            cursor.need(-cursor.pos % 32)
        _, block, width = TYPES[kind]
        cursor.need(prod(shape) // block * width)
        tensors, parameters = tensors + 1, parameters + prod(shape)
    into.facts["tensors"], into.facts["parameters"] = tensors, min(parameters, MOST)
    into.proven = True
