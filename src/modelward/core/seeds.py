"""Child seeds: every check draws its own numbers, whatever ran before it."""

from __future__ import annotations

import hashlib

MAX_SEED = 2**53
"""Seeds are below this so that JSON numbers hold them exactly."""


def child_seed(seed: int, label: str) -> int:
    """Derive the seed of one consumer.

    The first 53 bits of SHA-256 over ``"<seed>/<label>"``: unrelated labels get unrelated streams, and
    adding a check does not change what another one draws.

    Args:
        seed: the run's seed, ``0 <= seed < 2**53``.
        label: a check id, or a path below one.
    """
    raw = hashlib.sha256(f"{seed}/{label}".encode()).digest()
    return int.from_bytes(raw[:8]) >> 11
