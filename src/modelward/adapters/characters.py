"""Whether numpy's text is text: it stores code points as numbers, and files and processes may give any."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def are_characters(array: NDArray[np.generic]) -> bool:
    """False for text with a number beyond the last code point; Python breaks where it makes a str of one.

    Args:
        array: any shape and dtype; what is not of kind U is true.

    Returns:
        Source: PEP 393, which numpy's UCS-4 is turned into; the last code point is U+10FFFF.
    """
    if array.dtype.kind != "U" or not array.size:
        return True
    numbers = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
    codes = np.ascontiguousarray(array).reshape(-1).view(numbers)
    return bool(codes.max() <= sys.maxunicode)
