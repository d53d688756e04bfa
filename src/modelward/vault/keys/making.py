"""New keys, and what a key file holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from modelward.errors import KeyUnusable
from modelward.vault.hazmat import asymmetric, kem
from modelward.vault.keys.opening import needed_passphrase, open_signer, read_private_pem
from modelward.vault.keys.secrets import named, shielded

if TYPE_CHECKING:
    from modelward.vault.keys.secrets import Ask, Warn

KINDS: Final[tuple[str, ...]] = (*asymmetric.ALGORITHMS, *kem.KINDS)
_LONGEST: Final = 1023  # bytes of a passphrase that OpenSSL takes
Use: TypeAlias = Literal["sign", "decrypt"]


class KeyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What may be said of a key.

    Attributes:
        id: SHA-256 of its public PEM, 64 hexadecimal digits.
        algorithm: one of `KINDS`.
        use: what its private half does.
        private: whether the private half is there.
        public: PEM of the public half.
    """

    id: str
    algorithm: str
    use: Use
    private: bool
    public: str


def make_key(kind: str, passphrase: Ask) -> tuple[bytes, KeyFacts]:
    """Make a key.

    Args:
        kind: one of `KINDS`.
        passphrase: gives what it is encrypted with.

    Returns:
        the private key as encrypted PKCS#8 in PEM, and what may be said of it.

    Raises:
        KeyUnusable: there is no such kind, or the passphrase is empty or longer than 1,023 bytes.
    """
    return shielded(lambda: _made(kind, passphrase))


def describe(reference: str, passphrase: Ask | None, warn: Warn) -> KeyFacts:
    """What a key file, a variable, a token or a server holds; see `open_signer` for references.

    Raises:
        FileMissing: there is no such file.
        KeyUnusable: it holds no key that is known here, or the passphrase does not fit.
        KeyServiceFailed: the token or server does not show the key.
    """
    if reference.startswith(("pkcs11:", "vault:")):
        signer = open_signer(reference, passphrase, warn=warn)
        return _facts_of_public(signer.public.pem, private=True)
    return shielded(lambda: _described(reference, passphrase, warn))


def _made(kind: str, passphrase: Ask) -> tuple[bytes, KeyFacts]:
    if kind not in KINDS:
        raise KeyUnusable(f"there are no keys of the kind {kind[:40]!r}; there are {', '.join(KINDS)}")
    given = passphrase()
    if not 1 <= len(given) <= _LONGEST:
        raise KeyUnusable(f"the passphrase has {len(given):,} bytes, not 1 to {_LONGEST:,}")
    for signing in asymmetric.ALGORITHMS:
        if signing == kind:
            key = asymmetric.generate(signing)
            pem = asymmetric.private_pem(key, given)
            return pem, _facts_of_public(asymmetric.public_pem(key), private=True)
    opening = kem.generate(next(k for k in kem.KINDS if k == kind))
    pem = kem.private_pem(opening, given)
    return pem, _facts_of_public(kem.public_pem(kem.public_of(opening)), private=True)


def _described(reference: str, passphrase: Ask | None, warn: Warn) -> KeyFacts:
    said: list[str] = []  # that others may read what holds no private key is as it should be
    pem = read_private_pem(reference, said.append)
    if b"PRIVATE KEY-----" not in pem:
        with named(reference):
            return _facts_of_public(pem, private=False)
    for sentence in said:
        warn(sentence)
    given = needed_passphrase(pem, reference, passphrase, warn)
    with named(reference):
        try:
            public = asymmetric.public_pem(asymmetric.load_private(pem, given))
        except KeyUnusable as reason:
            try:
                public = kem.public_pem(kem.public_of(kem.load_private(pem, given)))
            except KeyUnusable:
                raise reason from None
        return _facts_of_public(public, private=True)


def _facts_of_public(pem: bytes, *, private: bool) -> KeyFacts:
    try:
        signing = asymmetric.load_public(pem)
    except KeyUnusable as reason:
        try:
            opening = kem.load_public(pem)
        except KeyUnusable:
            raise reason from None
        return KeyFacts(
            id=kem.key_id(opening),
            algorithm=kem.kind_of(opening),
            use="decrypt",
            private=private,
            public=kem.public_pem(opening).decode(),
        )
    return KeyFacts(
        id=asymmetric.key_id(signing),
        algorithm=asymmetric.algorithm_of(signing),
        use="sign",
        private=private,
        public=asymmetric.public_pem(signing).decode(),
    )
