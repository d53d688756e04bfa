"""A secret under a passphrase: Argon2id, then AES-256-GCM.

Sources: RFC 9106 (Argon2id; section 4 gives the parameters that are the default and the least),
NIST SP 800-38D.
"""

from __future__ import annotations

from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from modelward.errors import SealDamaged

SALT: Final = 16  # bytes, as RFC 9106 section 4 has it
_KEY: Final = 32
_NONCE: Final = 12


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What one guess at the passphrase costs.

    Attributes:
        memory: KiB.
        passes: over that memory.
        lanes: computed in parallel.
    """

    memory: int = 64 * 1024
    passes: int = 3
    lanes: int = 4


# Below the least, guessing is cheap; above the most, whoever alters a header chooses how long opening takes.
MEMORY: Final = (64 * 1024, 1024 * 1024)
PASSES: Final = (1, 16)
LANES: Final = (1, 16)
WORK: Final = (3 * 64 * 1024, 4 * 1024 * 1024)  # memory x passes, KiB


def check(costs: Costs) -> None:
    """Refuse costs that are out of bounds, before anything is computed.

    Raises:
        SealDamaged: guessing would be too cheap, or opening too dear.
    """
    stated = {
        "memory": (costs.memory, MEMORY),
        "passes": (costs.passes, PASSES),
        "lanes": (costs.lanes, LANES),
        "memory times passes": (costs.memory * costs.passes, WORK),
    }
    for name, (value, (least, most)) in stated.items():
        if not least <= value <= most:
            raise SealDamaged(f"Argon2id with {name} = {value} is refused: {least} to {most} is allowed")


def seal(passphrase: bytes, secret: bytes, *, salt: bytes, costs: Costs, bound: bytes) -> bytes:
    """Encrypt a secret.

    Args:
        passphrase: UTF-8.
        secret: what.
        salt: `SALT` random bytes, never used before: key and nonce both come from it.
        costs: of each guess.
        bound: must be given again to open.

    Returns:
        Ciphertext and tag of 16 bytes.

    Raises:
        SealDamaged: the costs are out of bounds.
    """
    key, nonce = _derive(passphrase, salt, costs)
    return AESGCM(key).encrypt(nonce, secret, bound)


def unseal(passphrase: bytes, sealed: bytes, *, salt: bytes, costs: Costs, bound: bytes) -> bytes | None:
    """Decrypt a secret.

    Returns:
        The secret; null when the passphrase is another one or something was altered: they look the same.

    Raises:
        SealDamaged: the costs are out of bounds.
    """
    key, nonce = _derive(passphrase, salt, costs)
    try:
        return AESGCM(key).decrypt(nonce, sealed, bound)
    except InvalidTag:
        return None


def _derive(passphrase: bytes, salt: bytes, costs: Costs) -> tuple[bytes, bytes]:
    check(costs)
    if len(salt) != SALT:
        raise SealDamaged(f"a salt of {len(salt)} bytes is refused: {SALT} are asked")
    kdf = Argon2id(
        salt=salt,
        length=_KEY + _NONCE,
        iterations=costs.passes,
        lanes=costs.lanes,
        memory_cost=costs.memory,
    )
    out = kdf.derive(passphrase)
    return out[:_KEY], out[_KEY:]
