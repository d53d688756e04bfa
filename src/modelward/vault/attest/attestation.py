"""Attestations: statements over the root of what is sealed, each a signed bundle of its own."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from modelward.core.canonical import JSON, parse
from modelward.errors import ContentChanged, KeyExpired, SealDamaged, SealRefused, SignerMissing
from modelward.vault import bundle, dsse
from modelward.vault.attest.audited import EVIDENCE, Audit, AuditEvidence, read_audit
from modelward.vault.attest.predicates import (
    BOM,
    RELEASE,
    SCAN,
    Bom,
    Release,
    Scan,
    read_bom,
    read_release,
    read_scan,
)
from modelward.vault.attest.provenance import PROVENANCE, Provenance, read_provenance, to_predicate
from modelward.vault.keys.keyring import SEALS
from modelward.vault.signing.verification import verify_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from modelward.vault.keys.keyring import Keyring
    from modelward.vault.keys.signer import Signer, Verifier

Kind: TypeAlias = Literal["evidence", "scan", "bom", "provenance", "release"]
Content: TypeAlias = Audit | Scan | Bom | Provenance | Release
Written: TypeAlias = AuditEvidence | Scan | Bom | Provenance | Release

LARGEST: Final = 16 << 20
"""Bytes of the largest attestation that is read or written."""
MOST: Final = 64
"""Files of a folder of attestations that are read."""

_READERS: Final[dict[str, tuple[Kind, Callable[[dict[str, JSON]], Content]]]] = {
    EVIDENCE: ("evidence", read_audit),
    SCAN: ("scan", read_scan),
    BOM: ("bom", read_bom),
    PROVENANCE: ("provenance", read_provenance),
    RELEASE: ("release", read_release),
}
_TYPES: Final[dict[Kind, str]] = {kind: uri for uri, (kind, _) in _READERS.items()}
_ROOT: Final = re.compile(r"(sha256|blake3):([0-9a-f]{64})")


class Attested(msgspec.Struct, frozen=True, kw_only=True):
    """One attestation that verifies.

    Attributes:
        file: name of its file.
        kind: what it is.
        signers: ids of the keys whose signature holds, sorted.
        content: what is said.
    """

    file: str
    kind: Kind
    signers: tuple[str, ...]
    content: Content


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is no attestation of what is sealed.

    Attributes:
        file: its name.
        reason: why, in one sentence.
        error: name of the error it would raise.
    """

    file: str
    reason: str
    error: str


class Attestations(msgspec.Struct, frozen=True, kw_only=True):
    """What is attested of a root.

    Attributes:
        held: those that verify, by file name.
        refused: the others, never passed over in silence.
    """

    held: tuple[Attested, ...] = ()
    refused: tuple[Refused, ...] = ()

    def of(self, kind: Kind) -> tuple[Attested, ...]:
        """Those of one kind."""
        return tuple(one for one in self.held if one.kind == kind)


def attest(content: Written, root: str, name: str, signers: Sequence[Signer]) -> bytes:
    """Sign a statement over a root.

    Args:
        content: what is said.
        root: ``sha256:<hex>`` or ``blake3:<hex>``.
        name: what the sealed is called; informative.
        signers: at least one.

    Returns:
        A bundle, to be stored as ``attestations/<kind>.json``.

    Raises:
        SealDamaged: the root is none, or the content holds what JSON cannot, or is too large.
        PolicyInvalid: a release policy or provenance that could say nothing.
        ValueError: there is no signer.
        KeyServiceFailed: a key's token or server does not sign.
    """
    algorithm, digest = _root(root)
    if isinstance(content, Release | Provenance):
        content.check()
    kind, predicate = kind_of(content), _plain(content)
    _READERS[_TYPES[kind]][1](predicate)  # what would be refused is not written
    statement = dsse.Statement(
        subjects=((name, {algorithm: digest}),), predicate_type=_TYPES[kind], predicate=predicate
    )
    try:
        made = bundle.make(statement, signers)
    except (ValueError, RecursionError) as error:
        if not signers:
            raise
        raise SealDamaged(f"the {kind} cannot be written as JSON: {str(error)[:200]}") from error
    if len(made) > LARGEST:
        raise SealDamaged(f"the {kind} takes {len(made):,} bytes, and may take {LARGEST:,}")
    return made


def kind_of(content: Content | Written) -> Kind:
    """Which kind of attestation it is."""
    if isinstance(content, Audit | AuditEvidence):
        return "evidence"
    if isinstance(content, Scan):
        return "scan"
    if isinstance(content, Bom):
        return "bom"
    return "provenance" if isinstance(content, Provenance) else "release"


def verify_attestation(data: bytes, root: str, verifiers: Sequence[Verifier], *, file: str = "") -> Attested:
    """Read one attestation.

    Args:
        data: the bundle.
        root: what it must be about.
        verifiers: keys that may sign; at least one must have, and none of them wrongly.
        file: how the result calls it.

    Raises:
        SealDamaged: it is not as its format has it.
        SignatureInvalid: a signature that names a known key is not by it.
        SignerMissing: no known key signed it.
        ContentChanged: it is about something else.
        ProofInvalid: it is audit evidence whose record is not in its ledger.
    """
    if len(data) > LARGEST:
        raise SealDamaged(f"the attestation takes more than {LARGEST:,} bytes")
    verified = verify_bundle(data, verifiers)
    envelope, statement = bundle.decode(data).envelope, verified.statement
    if bundle.encode(envelope) != data:  # what no signature covers has one spelling only
        raise SealDamaged("the attestation is not written as `modelward` writes it")
    algorithm, digest = _root(root)
    if [dict(stated) for _, stated in statement.subjects] != [{algorithm: digest}]:
        raise ContentChanged("the attestation is about another root")
    if statement.predicate_type not in _READERS:
        raise SealDamaged(f"attestations of type {statement.predicate_type[:80]!r} are not known")
    kind, read = _READERS[statement.predicate_type]
    exact = parse(envelope.payload)  # large whole numbers as they were, so that digests can be checked
    predicate = exact["predicate"] if isinstance(exact, dict) else None
    assert isinstance(predicate, dict)  # noqa: S101  (`statement_of` said so)
    signers = tuple(sorted(verified.signers))
    return Attested(file=file, kind=kind, signers=signers, content=read(predicate))


def read_attestations(
    folder: Path,
    root: str,
    verifiers: Sequence[Verifier],
    *,
    ring: tuple[Keyring, datetime] | None = None,
) -> Attestations:
    """Read all attestations of a seal.

    Args:
        folder: ``attestations/`` of the seal; it need not exist.
        root: what they must be about.
        verifiers: keys that may sign; revoked ones too, where there is a keyring.
        ring: a keyring and the moment to judge at. Of its keys, a revoked one refuses what it signed; one
            outside its time, or whose purposes name neither ``seal`` nor the kind, does not count. Where the
            keyring has a policy for the kind, that policy must be met; where it has none and no signer's
            purposes name the kind, that for ``seal``.

    Returns:
        Those that hold, and why the others do not.
    """
    try:
        paths = sorted(folder.iterdir(), key=os.fsencode)
    except (FileNotFoundError, NotADirectoryError):
        return Attestations()
    except OSError as error:
        return Attestations(
            refused=(Refused(file=".", reason=f"cannot be read ({error.strerror})", error="SealDamaged"),)
        )
    held: list[Attested] = []
    refused: list[Refused] = []
    for place, path in enumerate(paths):
        name = os.fsencode(path.name).decode("utf-8", "backslashreplace")
        try:
            if place >= MOST:
                raise SealDamaged(f"it is not read: there are more than {MOST} attestations")
            one = verify_attestation(_read(path), root, verifiers, file=name)
            held.append(one if ring is None else _counted(one, *ring))
        except SealRefused as error:
            refused.append(Refused(file=name, reason=str(error), error=type(error).__name__))
    return Attestations(held=tuple(held), refused=tuple(refused))


def _counted(one: Attested, keyring: Keyring, moment: datetime) -> Attested:
    """The same by those of its signers that count; a key that is not in the keyring was named otherwise."""
    keys = {key.id: key for key in keyring.keys}
    counted: list[str] = []
    reason: SealRefused = SignerMissing(f"none of its signers may attest {one.kind}")
    for key_id in one.signers:
        try:
            keyring.check_key(key_id, moment)
        except SignerMissing:
            counted.append(key_id)
        except KeyExpired as error:
            reason = error
        else:
            if {SEALS, one.kind} & set(keys[key_id].purposes):
                counted.append(key_id)
    if not counted:
        raise reason
    ours = [key_id for key_id in counted if key_id in keys]
    stated = any(policy.purpose == one.kind for policy in keyring.policies)
    if stated or len(ours) == len(counted):
        named = any(one.kind in keys[key_id].purposes for key_id in ours)
        keyring.require(ours, one.kind if stated or named else SEALS)
    return msgspec.structs.replace(one, signers=tuple(counted))


def _read(path: Path) -> bytes:
    """The bytes of a regular file, through no link, no more than are allowed."""
    if path.suffix != ".json":
        raise SealDamaged("it is no attestation: its name does not end in .json")
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            regular = stat.S_ISREG(os.fstat(handle).st_mode)
            data = _content(handle) if regular else b""
        finally:
            os.close(handle)
    except OSError as error:
        raise SealDamaged(f"it cannot be read ({error.strerror})") from error
    if not regular:
        raise SealDamaged("it is no regular file")
    return data


def _content(handle: int) -> bytes:
    with os.fdopen(handle, "rb", closefd=False) as stream:
        return stream.read(min(os.fstat(handle).st_size, LARGEST) + 1)


def _root(root: str) -> tuple[str, str]:
    match = _ROOT.fullmatch(root)
    if match is None:
        raise SealDamaged(f"{root[:80]!r} is no root of a tree")
    return match[1], match[2]


def _plain(content: Written) -> dict[str, JSON]:
    if isinstance(content, Bom):
        return content.document
    if isinstance(content, Provenance):
        return to_predicate(content)
    plain: dict[str, JSON] = msgspec.to_builtins(content)
    return {key: value for key, value in plain.items() if value is not None}
