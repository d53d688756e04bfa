"""Word vectors that the user supplies: npz with ``words`` and ``vectors``, or a text file.

Formats: word2vec 0.1c text output (a header of two counts, then a word and its numbers a line; Mikolov et
al. 2013) and GloVe 1.2 (the same without the header; Pennington et al. 2014).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from modelward.adapters.characters import are_characters
from modelward.core.data import WordVectors
from modelward.core.digest import file_digest
from modelward.core.subject import Subject, named
from modelward.errors import FileDamaged, FileMissing

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST: Final = 500_000
"""Words that are held; files list the frequent ones first."""
_LARGEST: Final = 1 << 32


def open_vectors(path: str) -> WordVectors:
    """Read word vectors.

    Raises:
        FileMissing: the file cannot be read.
        FileDamaged: it holds no word vectors.
    """
    file = Path(path)
    digest = file_digest(file)
    try:
        with file.open("rb") as stream:
            packed = stream.read(4) == b"PK\x03\x04"
        if file.stat().st_size > _LARGEST:
            raise FileDamaged(f"{path}: is over {_LARGEST:,} bytes")
        words, vectors = _npz(file) if packed else _lines(file)
    except OSError as error:
        raise FileMissing(f"{path}: cannot be read ({error.strerror})") from error
    with np.errstate(over="ignore"):  # what is too large to have a length is left out below
        size = np.linalg.norm(vectors, axis=1)
    kept = np.isfinite(size) & (size > 0)
    first = {word: place for place, word in reversed([*enumerate(words)]) if kept[place]}
    order = sorted(first.values())
    if not order:
        raise FileDamaged(f"{path}: holds no word with a vector other than zero")
    return WordVectors(
        subject=Subject(kind="dataset", name=named(path), digest=digest, format="npz" if packed else "txt"),
        words=tuple(words[place] for place in order),
        vectors=(vectors[order] / size[order, None]).astype(np.float32),
    )


def _npz(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    from modelward.adapters.data.npy import open_npz_arrays

    words, vectors = open_npz_arrays(path, ("words", "vectors"))
    fits = words.ndim == 1 and vectors.ndim == 2 and len(words) == len(vectors)
    if not fits or words.dtype.kind != "U" or vectors.dtype.kind not in "iuf":
        raise FileDamaged(f"{path}: has no arrays words (n,) of texts and vectors (n, d) of numbers")
    if not are_characters(words):
        raise FileDamaged(f"{path}: holds a word that is no valid Unicode")
    return words[:_MOST].tolist(), vectors[:_MOST].astype(np.float64)


def _lines(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    words: list[str] = []
    rows: list[NDArray[np.float64]] = []
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            parts = line.rstrip().split(b" ")
            if number == 1 and len(parts) == 2 and all(map(bytes.isdigit, parts)):
                continue  # the header of word2vec
            if len(words) == _MOST:
                break
            try:
                words.append(parts[0].decode())
                rows.append(np.array(parts[1:], dtype=np.float64))
            except ValueError as error:
                raise FileDamaged(f"{path}: line {number:,} is not a word and its numbers") from error
            if not rows[-1].size or rows[-1].size != rows[0].size:
                raise FileDamaged(
                    f"{path}: line {number:,} has {rows[-1].size} numbers where the first has {rows[0].size}"
                )
    if not rows:
        raise FileDamaged(f"{path}: holds no word vectors")
    return words, np.stack(rows)
