"""Choosing which samples to look at."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from modelward.errors import InputError

if TYPE_CHECKING:
    from modelward.numeric.types import IntArray


def uniform_sample(n: int, limit: int, key: str) -> IntArray:
    """Choose at most `limit` of n positions uniformly without replacement.

    The choice depends on the key alone, so that everyone who holds the same data looks at the same samples.

    Args:
        n: positions to choose from, >= 0.
        limit: how many to choose at most, >= 1.
        key: any text; the data set's digest ties the choice to the data and to nothing else.

    Returns:
        (min(n, limit),) int64 positions in [0, n), ascending and distinct.

    Raises:
        InputError: n < 0 or limit < 1.

    Source: numpy PCG64, seeded by the first 128 bits of SHA-256 of the key; `Generator.choice` without
    replacement gives every subset the same probability (Floyd's algorithm or the tail of a shuffle).
    """
    if n < 0 or limit < 1:
        raise InputError(f"cannot choose {limit} of {n} samples")
    if limit >= n:
        return np.arange(n, dtype=np.int64)
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16])
    picked = np.random.Generator(np.random.PCG64(seed)).choice(n, limit, replace=False, shuffle=False)
    return np.sort(picked.astype(np.int64))
