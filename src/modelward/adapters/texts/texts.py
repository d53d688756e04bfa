"""Texts as samples: arrays of str objects, and what a data set of them is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from modelward.adapters.characters import are_characters
from modelward.adapters.texts.vectors import open_vectors
from modelward.core.data import Box, Dataset
from modelward.core.digest import table_digest
from modelward.core.subject import Subject, named
from modelward.errors import ConfigInvalid, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from modelward.adapters.data.labels import Labels
    from modelward.adapters.data.options import DataOptions
    from modelward.core.canonical import JSON

LONGEST: Final = 100_000
"""Characters; a longer text is a book and not a sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Texts as they were found.

    Attributes:
        name: as the user gave it.
        format: as recognised.
        column: what the texts are called.
        texts: those held.
        digest: over all texts of the file.
        rows: (n,) int64 number of each in the file.
        total: texts in the file.
        labels: of the texts held, or null.
        label_digest: over all labels of the file, or null.
    """

    name: str
    format: str
    column: str
    texts: Sequence[str]
    digest: str
    rows: NDArray[np.int64]
    total: int
    labels: Labels | None
    label_digest: str | None


def text_box() -> Box:
    """What stands where other data has a box: texts have no bounds, and are measured in edits."""
    return Box(
        lower=np.zeros(()), upper=np.zeros(()), scale=np.ones(()), unit="edits", source="the kind of data"
    )


def text_array(texts: Iterable[str]) -> NDArray[np.object_]:
    """(n,) objects; an array of fixed width would cut zero characters off the ends."""
    listed = list(texts)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def is_texts(values: object) -> bool:
    """Whether a program's samples are texts: one str each."""
    if isinstance(values, np.ndarray):
        if values.ndim != 1 or values.dtype.kind not in "OU":
            return False
        return values.dtype.kind == "U" or (len(values) > 0 and all(isinstance(v, str) for v in values))
    return isinstance(values, list | tuple) and len(values) > 0 and all(isinstance(v, str) for v in values)


def plain_texts(values: NDArray[np.generic], name: str) -> list[str]:
    """The texts of an array of fixed width; bytes are read as UTF-8.

    Raises:
        InputError: an element is no valid text.
    """
    advice = "Write the texts as UTF-8."
    if not are_characters(values):
        raise InputError(f"{name}: holds a text that is no valid Unicode", advice=advice)
    try:
        return [v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: holds a text that is no valid Unicode", advice=advice) from error


def digest_of(texts: Iterable[str]) -> str:
    """SHA-256 over the lengths and UTF-8 bytes of texts in order; lone surrogates count as they are."""
    state = hashlib.sha256(b"texts")
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        state.update(len(encoded).to_bytes(8, "little") + encoded)
    return "sha256:" + state.hexdigest()


def require_text_options(options: DataOptions) -> None:
    """Refuse what can only be said of tables and images.

    Raises:
        ConfigInvalid: the sentence names the option.
    """
    limits = options.constraints
    stated = {
        "bounds": options.bounds,
        "immutable columns": options.immutable,
        "sensitive columns": options.sensitive,
        "constraints": (limits.up, limits.down, limits.cost, limits.relations) != ((), (), {}, ()),
    }
    for what, given in stated.items():
        if given:
            raise ConfigInvalid(f"the data is texts, for which {what} mean nothing", advice="Leave them out.")


def as_texts(data: Dataset) -> Dataset | None:
    """A table read as texts, where exactly one of its columns holds any; null otherwise.

    For a model that takes texts, when nobody said which column it reads. A missing cell is an empty text.
    """
    from modelward.adapters.data.schema import MISSING  # that package reads texts with this module

    places = [place for place, column in enumerate(data.columns) if column.kind == "category"]
    if len(places) != 1:
        return None
    column = data.columns[places[0]]
    codes = np.asarray(data.x[:, places[0]], np.float64)
    words = ["" if word == MISSING else word for word in column.categories]
    details = {name: data.subject.details[name] for name in ("rows", "held") if name in data.subject.details}
    described = msgspec.structs.replace(data.subject, details={**details, "text": column.name})
    texts = text_array("" if np.isnan(code) else words[int(code)] for code in codes)
    return replace(data, subject=described, x=texts, columns=(), box=text_box(), groupings=(), relations=())


def text_dataset(found: Texts, options: DataOptions) -> Dataset:
    """A data set of texts.

    Raises:
        ConfigInvalid: an option means nothing for texts.
        InputError: a text is longer than `LONGEST` characters.
        FileMissing: the word vectors cannot be read.
        FileDamaged: they are none.
    """
    require_text_options(options)
    lengths = [len(text) for text in found.texts]
    mean, most = sum(lengths) / max(1, len(lengths)), max(lengths, default=0)
    if most > LONGEST:
        place = int(np.argmax(lengths))
        raise InputError(
            f"{found.name}: row {int(found.rows[place]) + 1} holds a text of {lengths[place]:,} characters, "
            f"over {LONGEST:,}",
            advice="Cut long texts into the pieces that the model reads.",
        )
    details: dict[str, JSON] = {
        "rows": found.total,
        "held": len(lengths),
        "text": found.column,
        "characters": {"mean": round(mean, 1), "most": most},
    }
    if found.labels is not None:
        details["classes"] = dict(found.labels.counts)
    vectors = None if options.vectors is None else open_vectors(options.vectors)
    if vectors is not None:
        details["word vectors"] = vectors.subject.digest
    digests = {"x": found.digest} | ({} if found.label_digest is None else {"y": found.label_digest})
    return Dataset(
        subject=Subject(
            kind="dataset",
            name=named(found.name),
            digest=table_digest(digests),
            format=found.format,
            details=details,
        ),
        x=text_array(found.texts),
        y=None if found.labels is None else found.labels.y,
        labels=() if found.labels is None else found.labels.texts,
        rows=found.rows,
        total=found.total,
        box=text_box(),
        vectors=vectors,
    )
