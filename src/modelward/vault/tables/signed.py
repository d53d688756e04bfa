"""A manifest that is signed: the predicate of an in-toto statement, in a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from modelward.errors import SealDamaged
from modelward.vault import bundle
from modelward.vault.dsse import Statement
from modelward.vault.signing.verification import verify_bundle
from modelward.vault.tables import PREDICATE
from modelward.vault.tables.manifest import TableManifest, decode, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.vault.keys.signer import Signer, Verifier


class SignedManifest(NamedTuple):
    """A manifest and who signed it.

    Attributes:
        name: of the data set; it says nothing.
        manifest: what was signed.
        signers: key ids.
    """

    name: str
    manifest: TableManifest
    signers: tuple[str, ...]


def table_statement(pinned: TableManifest, *, name: str) -> Statement:
    """What `sign_manifest` signs: the manifest, whole, over its root."""
    subject = (name, {"sha256": pinned.root.removeprefix("sha256:")})
    return Statement(subjects=(subject,), predicate_type=PREDICATE, predicate=encode(pinned))


def sign_manifest(pinned: TableManifest, signers: Sequence[Signer], *, name: str) -> bytes:
    """Sign a manifest, whole: the bundle holds it.

    Args:
        pinned: the manifest.
        signers: at least one.
        name: of the data set; it is informative.

    Returns:
        The bundle, JSON; about 90 bytes a group.

    Raises:
        ValueError: there is no signer.
        KeyServiceFailed: a key's token or server does not sign.
    """
    return bundle.make(table_statement(pinned, name=name), signers)


def read_signed(data: bytes, verifiers: Sequence[Verifier], *, threshold: int = 1) -> SignedManifest:
    """Check the signatures of a manifest and read it.

    Args:
        data: the bundle, JSON.
        verifiers: the keys that are known.
        threshold: how many of them must have signed.

    Raises:
        SealDamaged: it is no such bundle, or contradicts itself.
        SignatureInvalid: a signature is not by the key that it names.
        SignerMissing: too few known keys signed.
    """
    verified = verify_bundle(data, verifiers, threshold=threshold)
    statement = verified.statement
    if statement.predicate_type != PREDICATE or len(statement.subjects) != 1:
        raise SealDamaged("the statement is not one of a single table")
    pinned = decode(statement.predicate)
    name, digest = statement.subjects[0]
    if digest != {"sha256": pinned.root.removeprefix("sha256:")}:
        raise SealDamaged("the statement's subject is not the root of its manifest")
    return SignedManifest(name, pinned, verified.signers)
