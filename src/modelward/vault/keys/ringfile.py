"""A keyring on the disk: versions, one a line, each signed by the owners before it and by its own.

The last line is in force. The lines before it are kept only where the owners changed, so that whoever trusts
the first owners can follow to the present ones; the rule is that of TUF's root role.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from modelward.core.canonical import canonical
from modelward.core.files import read_at_most
from modelward.errors import (
    ConfigInvalid,
    KeyUnusable,
    SealDamaged,
    SignatureInvalid,
    SignerMissing,
)
from modelward.vault import dsse
from modelward.vault.keys.keyring import Keyring, parse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from modelward.vault.keys.signer import Signer, Verifier

PAYLOAD_TYPE: Final = "application/vnd.modelward.keyring+json"
LARGEST: Final = 8 << 20  # bytes of a file
LINES: Final = 64
SIGNATURES: Final = 128  # of one line: the owners before and after


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One version with its signatures.

    Attributes:
        ring: what is signed.
        envelope: around it.
        signers: ids of the owners, before or after, whose signatures hold.
    """

    ring: Keyring
    envelope: dsse.Envelope
    signers: frozenset[str]


def read_chain(path: Path) -> tuple[Line, ...]:
    """Read every version in a file, and check each signature and each step.

    Raises:
        FileMissing: there is no such file.
        SealDamaged: it is no keyring, or its versions do not follow each other.
        SignatureInvalid: a signature does not hold.
        SignerMissing: too few owners signed a version.
    """
    return decode(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """The file's content.

    Raises:
        FileMissing: it cannot be read.
        SealDamaged: it is too large for a keyring.
    """
    return read_at_most(path, LARGEST, SealDamaged(f"a keyring of more than {LARGEST} bytes"))


def decode(data: bytes) -> tuple[Line, ...]:
    """The versions in a file's bytes, the oldest first; raises as `read_chain`."""
    texts = data.split(b"\n")
    if texts.pop() != b"" or not 1 <= len(texts) <= LINES:
        raise SealDamaged(f"the keyring has not 1 to {LINES} whole lines")
    lines: list[Line] = []
    for text in texts:
        before = lines[-1].ring if lines else None
        line = decode_line(text, before)
        missing = shortfall(line, before)
        if missing:
            raise SignerMissing(f"version {line.ring.version} of the keyring {missing}")
        lines.append(line)
    return tuple(lines)


def decode_line(text: bytes, before: Keyring | None) -> Line:
    """One version; how many owners signed is not judged.

    Args:
        text: the line without its end.
        before: the version that it follows.

    Raises:
        SealDamaged: it is no version of a keyring, or does not follow.
        SignatureInvalid: a signature is by no owner, or does not hold.
    """
    envelope = dsse.from_json(dsse.load(text, "a line of the keyring"))
    if envelope.payload_type != PAYLOAD_TYPE:
        raise SealDamaged(f"a line of the keyring is not of the type {PAYLOAD_TYPE}")
    try:
        same = canonical(dsse.to_json(envelope)) == text
    except ValueError as error:
        raise SealDamaged("a line of the keyring holds what canonical JSON cannot") from error
    if not same or len(envelope.signatures) > SIGNATURES:
        raise SealDamaged(
            f"a line of the keyring is not in canonical JSON, or has over {SIGNATURES} signatures"
        )
    ring = parse(envelope.payload)
    if before is not None:
        _check_step(ring, before)
    owners = {key.key_id: key for key in ring.owner_verifiers()}
    if before is not None:
        owners |= {key.key_id: key for key in before.owner_verifiers()}
    signers: set[str] = set()
    for signature in envelope.signatures:
        if signature.keyid not in owners or signature.keyid in signers:
            raise SignatureInvalid(
                f"a signature of version {ring.version} of the keyring is by no owner, or twice"
            )
        owners[signature.keyid].verify(signature.sig, envelope.signed_bytes())
        signers.add(signature.keyid)
    return Line(ring=ring, envelope=envelope, signers=frozenset(signers))


def shortfall(line: Line, before: Keyring | None) -> str:
    """How many signatures a version lacks, in words; empty where it has all."""
    for ring, which in ((before, "previous "), (line.ring, "")):
        if ring is not None:
            count = sum(key.key_id in line.signers for key in ring.owner_verifiers())
            if count < ring.threshold:
                return f"is signed by {count} of the {ring.threshold} {which}owners who must"
    return ""


def trusted(lines: Sequence[Line], owners: Sequence[Verifier], threshold: int | None = None) -> Keyring:
    """The version in force, if owners whom you trust signed it or an earlier one that leads to it.

    Args:
        lines: of a file, checked.
        owners: whom you trust; the same key twice counts once.
        threshold: how many of them must have signed one version; null for more than half.

    Raises:
        SignerMissing: too few did.
        ConfigInvalid: the threshold is not between 1 and the number of owners.
    """
    ids = {owner.key_id for owner in owners}
    needed = len(ids) // 2 + 1 if threshold is None else threshold
    if not 1 <= needed <= len(ids):
        raise ConfigInvalid(
            f"{needed} of {len(ids)} owners cannot be asked for", advice="Name more owners, or ask for fewer."
        )
    most = max(len(line.signers & ids) for line in lines)
    if most < needed:
        raise SignerMissing(
            f"the keyring is signed by {most} of the {len(ids)} owners that were named, and {needed} must",
            advice="Name the owners' public keys, and how many of them must have signed.",
        )
    return lines[-1].ring


def sign(ring: Keyring, signers: Sequence[Signer], before: Keyring | None) -> Line:
    """Sign a version.

    Args:
        ring: what to sign.
        signers: owners, before or after.
        before: the version that it follows.

    Raises:
        KeyUnusable: a signer is no owner.
        ConfigInvalid: the version would not be a valid one.
        SealDamaged: it does not follow.
        KeyServiceFailed: a key's token or server does not sign.
    """
    try:
        parse(ring.encode())
    except (SealDamaged, ValueError) as error:
        raise ConfigInvalid(
            f"so the keyring would not be valid: {error}",
            advice="It stays as it was; change what you asked for.",
        ) from error
    _check_owners(signers, ring, before)
    envelope = dsse.sign(ring.encode(), signers, payload_type=PAYLOAD_TYPE)
    return decode_line(canonical(dsse.to_json(envelope)), before)


def countersign(line: Line, signers: Sequence[Signer], before: Keyring | None) -> Line:
    """Add the signatures of further owners; who signed already is left as it is. Raises as `sign`."""
    _check_owners(signers, line.ring, before)
    new = [signer for signer in signers if signer.public.key_id not in line.signers]
    if not new:
        return line
    more = dsse.sign(line.envelope.payload, new, payload_type=PAYLOAD_TYPE).signatures
    envelope = msgspec.structs.replace(line.envelope, signatures=(*line.envelope.signatures, *more))
    return decode_line(canonical(dsse.to_json(envelope)), before)


def encode(lines: Sequence[Line]) -> bytes:
    """The file's bytes.

    Raises:
        ConfigInvalid: no reader would take so many.
    """
    data = b"".join(canonical(dsse.to_json(line.envelope)) + b"\n" for line in lines)
    if len(lines) > LINES or len(data) > LARGEST:
        raise ConfigInvalid(
            f"the keyring would have {len(lines)} lines and {len(data):,} bytes; it may have {LINES} and "
            f"{LARGEST:,}",
            advice="Begin a new keyring, and give it to verifiers with its owners' keys.",
        )
    return data


def appended(lines: Sequence[Line], line: Line) -> tuple[Line, ...]:
    """A file's versions with a new one, which takes the place of the last unless the owners change."""
    last = lines[-1].ring
    same = set(last.owners) == set(line.ring.owners) and last.threshold == line.ring.threshold
    enough = len(lines) == 1 or not shortfall(line, lines[-2].ring)
    return (*lines[:-1], line) if same and enough else (*lines, line)


def _check_step(ring: Keyring, before: Keyring) -> None:
    if ring.ring != before.ring:
        raise SealDamaged("a line belongs to another keyring")
    if ring.version <= before.version:
        raise SealDamaged(f"version {ring.version} of the keyring follows version {before.version}")
    if ring.issued < before.issued:
        raise SealDamaged(f"version {ring.version} of the keyring is issued before version {before.version}")


def _check_owners(signers: Sequence[Signer], ring: Keyring, before: Keyring | None) -> None:
    owners = {key.key_id for key in ring.owner_verifiers()}
    owners |= {key.key_id for key in before.owner_verifiers()} if before is not None else set()
    for signer in signers:
        if signer.public.key_id not in owners:
            raise KeyUnusable(f"key {signer.public.key_id[:16]} is no owner of the keyring")
    if len({signer.public.key_id for signer in signers}) != len(signers):
        raise KeyUnusable("one key is given twice to sign")
