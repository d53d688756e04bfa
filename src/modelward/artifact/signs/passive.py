"""Data beside models that no loader runs: indices of vectors, word vectors, tokenizers, stores of arrays.

Asked last, after everything that can carry code. A mark alone is weak, so the fields behind it must hold too.

Sources: faiss 1.15, faiss/impl/index_write.cpp (`write_index_header`); annoy 1.17, src/annoylib.h (nodes);
fastText 0.9, src/fasttext.cc (`signModel`); word2vec, word2vec.c (binary vectors); kenlm,
lm/binary_format.cc; sentencepiece 0.2, src/sentencepiece_model.proto; CTranslate2 4.8,
python/ctranslate2/specs/model_spec.py; tensorstore 0.1,
tensorstore/kvstore/ocdbt/format (manifests and nodes of B+trees).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelward.artifact.format import Sniffed
from modelward.artifact.formats.protobuf import BYTES
from modelward.artifact.reading import Malformed
from modelward.artifact.signs.graphs import top

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer

_FASTTEXT: Final = re.compile(rb"\xba\x16\x4f\x2f[\x0b\x0c]\0\0\0")
_KENLM: Final = b"mmap lm http://kheafield.com/code format version "
_OCDBT: Final = {
    b"\x0c\xdb\x3a\x2a": "the manifest of a store of arrays",
    b"\x0c\xdb\x20\xde": "a node of a store of arrays",
    b"\x0c\xdb\x12\x34": "a version node of a store of arrays",
}
_SPEC: Final = re.compile(rb"[\x01-\x14]\0\0\0(..)([A-Za-z]\w{2,60})\0", re.DOTALL)
_VECTORS: Final = re.compile(rb"(\d{1,9}) (\d{1,5})\n")
_WORD: Final = re.compile(rb"\n?[^\0-\x20\x7f][^\0-\x20\x7f]{0,200} ")
_SAMPLES: Final = 64


def sign(data: Buffer, head: bytes) -> Sniffed | None:
    """Format of the content, or None when no rule of this group applies.

    Args:
        data: the whole content.
        head: its first 64 KiB.
    """
    if _faiss(data, head):
        return Sniffed("vector-index", "the header of an index of faiss")
    if _FASTTEXT.match(head):
        return Sniffed("word-vectors", "the magic number of fastText")
    if head.startswith(_KENLM):
        return Sniffed("word-vectors", "the mark of a language model of KenLM")
    if head[:4] in _OCDBT and 16 <= int.from_bytes(head[4:12], "little") <= len(data):
        return Sniffed("array-store", _OCDBT[head[:4]])
    spec = _SPEC.match(head)
    if spec and int.from_bytes(spec[1], "little") == len(spec[2]) + 1 and spec[2].endswith(b"Spec"):
        return Sniffed("ctranslate2", "the name of a model of CTranslate2")
    if _words(data, head):
        return Sniffed("word-vectors", "words with vectors, as word2vec writes them")
    if head[:1] == b"\n" and _pieces(data):
        return Sniffed("tokenizer-model", "the pieces of a tokenizer of SentencePiece")
    if _annoy(data, head):
        return Sniffed("vector-index", "nodes of equal size, as annoy writes them")
    return None


def _faiss(data: Buffer, head: bytes) -> bool:
    """A code of four letters, then dimension, count and two constants; binary indices have a code size."""
    if not re.match(rb"I[A-Za-z][A-Za-z0-9]{2}", head) or len(data) < 37:
        return False
    dimension = int.from_bytes(head[4:8], "little")
    if head[1:2] == b"B":
        return 8 <= dimension <= 1 << 20 and dimension == 8 * int.from_bytes(head[8:12], "little")
    return 0 < dimension <= 1 << 20 and head[16:32] == (1 << 20).to_bytes(8, "little") * 2


def _words(data: Buffer, head: bytes) -> bool:
    """The sizes as text, and words in front of vectors of that size wherever the next should stand."""
    first = _VECTORS.match(head)
    if first is None or not int(first[1]) or not int(first[2]):
        return False
    pos = first.end()
    for _ in range(min(int(first[1]), _SAMPLES)):
        word = _WORD.match(bytes(data[pos : pos + 256]))
        if word is None:
            return False
        pos += word.end() + 4 * int(first[2])
    return pos <= len(data)


_TOP: Final = frozenset(range(1, 6))


def _pieces(data: Buffer) -> bool:
    """ModelProto: pieces of a text, a score and a kind; what follows are the four specifications."""
    try:
        found = list(top(data, (0, len(data)), _SAMPLES))
    except Malformed:
        return False
    if not found or any(
        number not in _TOP or wire != BYTES or end > len(data) for number, wire, _, end in found
    ):
        return False
    parts = [_piece(bytes(data[start:end])) for number, _, start, end in found if number == 1]
    return len(parts) >= min(len(found), 3) and all(parts)


def _piece(raw: bytes) -> bool:
    size = raw[1] if len(raw) > 1 else 0
    rest = raw[2 + size :]
    return (
        raw[:1] == b"\n" and 0 < size < 0x80 and rest[:1] == b"\x15" and len(rest) in {5, 7}
        and (len(rest) == 5 or (rest[5:6] == b"\x18" and rest[6] <= 6))
    )  # fmt: skip


def _annoy(data: Buffer, head: bytes) -> bool:
    """Nodes of one size: items with one descendant each, then splits, of which the last are the roots.

    Each node starts with the number of its descendants, which no root has more of than there are items.
    """
    if head[:4] != b"\1\0\0\0" or len(data) > 1 << 36 or len(data) % 4:
        return False
    second = head.find(b"\1\0\0\0", 12)
    while 0 < second <= 1 << 15:
        if second % 4 == 0 and len(data) % second == 0 and _nodes(data, second):
            return True
        second = head.find(b"\1\0\0\0", second + 1)
    return False


def _nodes(data: Buffer, size: int) -> bool:
    count = len(data) // size
    step = max(1, count // _SAMPLES)
    kinds = [
        int.from_bytes(data[at * size : at * size + 4], "little")
        for at in [*range(0, count, step), count - 1]
    ]
    return count > 3 and kinds[-1] > 1 and all(1 <= kind <= count for kind in kinds)
