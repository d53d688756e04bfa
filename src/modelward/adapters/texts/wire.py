"""Texts as arrays of plain bytes, to cross into the sandbox: no array of fixed width holds them exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelward.adapters.texts.texts import text_array
from modelward.sandbox import RawArray

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pack_texts(texts: NDArray[np.generic]) -> tuple[RawArray, RawArray]:
    """Their UTF-8 bytes one after the other, and the length of each; lone surrogates stay.

    Args:
        texts: (n,) objects that are all str.
    """
    encoded = [str(text).encode("utf-8", "surrogatepass") for text in texts]
    joined = b"".join(encoded)
    lengths = np.array([len(part) for part in encoded], "<i8")
    return RawArray("|u1", (len(joined),), joined), RawArray("<i8", lengths.shape, lengths.tobytes())


def unpack_texts(joined: RawArray, lengths: RawArray) -> NDArray[np.object_]:
    """(n,) str.

    Raises:
        ValueError: lengths and bytes do not fit each other.
    """
    content = bytes(joined.data)
    ends = np.cumsum(np.frombuffer(lengths.data, "<i8")).tolist()
    if (ends[-1] if ends else 0) != len(content) or sorted([0, *ends]) != [0, *ends]:
        raise ValueError(f"lengths of {ends[-1:]} for {len(content)} bytes of text")
    return text_array(
        content[start:end].decode("utf-8", "surrogatepass")
        for start, end in zip([0, *ends][:-1], ends, strict=True)
    )
