"""What a seal must show to be admitted: `policy.toml`."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from modelward.core.catalogue import CHECKS, CLAIMS
from modelward.core.finding import Severity
from modelward.core.policy import Threshold, check_thresholds
from modelward.errors import FileMissing, PolicyInvalid
from modelward.vault.attest.attestation import Kind
from modelward.vault.attest.moments import parse_span
from modelward.vault.attest.provenance import STATED_CLAIMS
from modelward.vault.attest.tables import decode
from modelward.vault.keys.signer import Verifier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KNOWN_CLAIMS: Final = (*(entry.id for entry in CLAIMS), *STATED_CLAIMS)
_KEY_ID: Final = re.compile(r"[0-9a-f]{64}")
_ROOT: Final = re.compile(r"(sha256|blake3):[0-9a-f]{64}")
_DATA: Final = re.compile(r"sha256:[0-9a-f]{64}")


class SignersTable(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """The table ``[signers]``: who must have signed the seal.

    Attributes:
        keys: key ids (64 hexadecimal digits) or paths of public keys in PEM; `read_admission` makes them ids.
        threshold: how many of them must have.
    """

    keys: tuple[str, ...]
    threshold: Annotated[int, msgspec.Meta(ge=1)] = 1


class AttestationsTable(
    msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True
):
    """The table ``[attestations]``.

    Attributes:
        required: kinds that must be there.
        keys: as in ``[signers]``; when stated, only attestations signed by one of them count.
    """

    required: tuple[Kind, ...] = ()
    keys: tuple[str, ...] = ()


class AuditTable(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """The table ``[audit]``: what the newest audit that is attested must show.

    Attributes:
        max_age: the oldest it may be, like ``30d``.
        max_severity: the worst finding that is accepted.
        grace: how long a worse finding is accepted after it was first seen.
        required_checks: dotted prefixes of checks that must have run whole.
        data: digests of the only data sets that may have been used, as the audit's report has them.
        unsafe_unaudited: paths of models that need no audit of their own beside the audited ones.
    """

    max_age: str | None = None
    max_severity: Severity | None = None
    grace: str | None = None
    required_checks: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    unsafe_unaudited: tuple[str, ...] = ()


class ScanTable(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """The table ``[scan]``: what the newest scan that is attested must show.

    Attributes:
        verdict: ``inert``: no file does anything but build data when it is loaded.
        max_severity: the worst finding that is accepted.
        max_age: the oldest it may be.
    """

    verdict: Literal["inert"] | None = None
    max_severity: Severity | None = None
    max_age: str | None = None


class ReleaseTable(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """The table ``[release]``: a release policy must be attested and allow this place.

    Attributes:
        environment: what this place is called.
    """

    environment: str


class Admission(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """What a seal must show.

    Attributes:
        name: how reports call it.
        roots: the only roots that are admitted; empty admits any.
        signers: who must have signed it.
        attestations: what must be attested.
        audit: what the audit must show.
        scan: what the scan must show.
        release: where this is.
        require: thresholds over claims.
    """

    name: str = "stated"
    roots: tuple[str, ...] = ()
    signers: SignersTable | None = None
    attestations: AttestationsTable = AttestationsTable()
    audit: AuditTable = AuditTable()
    scan: ScanTable = ScanTable()
    release: ReleaseTable | None = None
    require: tuple[Threshold, ...] = ()


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """A policy as it was read.

    Attributes:
        policy: the policy, its keys by id.
        pems: the public keys that ``[signers]`` names by path, each once: whoever wrote the policy trusts
            them to seal.
        auditors: those that ``[attestations]`` names by path: trusted to attest, and not to seal.
    """

    policy: Admission
    pems: tuple[bytes, ...] = ()
    auditors: tuple[bytes, ...] = ()


def read_admission(path: Path) -> Admission:
    """Read a `policy.toml`; paths of keys in it are relative to its folder.

    Raises:
        FileMissing: it, or a key that it names, cannot be read.
        ConfigInvalid: it is not TOML, has an unknown key (the nearest known one is named) or a bad value.
        PolicyInvalid: it would admit everything, or nothing.
        KeyUnusable: a file that it names holds no public key in PEM.
    """
    return read_with_keys(path).policy


def read_with_keys(path: Path) -> Read:
    """The same, with the public keys that the policy names by path; for who has no other keys.

    Raises:
        FileMissing, ConfigInvalid, PolicyInvalid, KeyUnusable: as `read_admission` does.
    """
    stated = decode(path, Admission)
    sealing: dict[str, bytes] = {}
    attesting: dict[str, bytes] = {}
    signers = stated.signers and msgspec.structs.replace(
        stated.signers, keys=_ids(stated.signers.keys, path.parent, sealing)
    )
    attestations = msgspec.structs.replace(
        stated.attestations, keys=_ids(stated.attestations.keys, path.parent, attesting)
    )
    policy = msgspec.structs.replace(stated, signers=signers, attestations=attestations)
    validate_admission(policy)
    return Read(policy=policy, pems=tuple(sealing.values()), auditors=tuple(attesting.values()))


def validate_admission(policy: Admission) -> None:
    """Refuse a policy that could never refuse, or never admit.

    Args:
        policy: its keys by id.

    Raises:
        PolicyInvalid: it states no requirement; contradicts itself; names what is not known.
    """
    if not _states_something(policy):
        raise PolicyInvalid(
            f"policy {policy.name!r} states no requirement, so it would admit everything",
            advice="State [signers], [attestations], [audit], [scan], [release] or [[require]].",
        )
    for root in policy.roots:
        if not _ROOT.fullmatch(root):
            raise PolicyInvalid(f"{root[:80]!r} is no root", advice="Write sha256: or blake3: and 64 digits.")
    if policy.signers is not None:
        _check_keys("signers", policy.signers.keys)
        if policy.signers.threshold > len(policy.signers.keys):
            raise PolicyInvalid(
                f"{policy.signers.threshold} signers are asked of {len(policy.signers.keys)} keys: "
                "nothing could be admitted"
            )
    if policy.attestations.keys:
        _check_keys("attestations", policy.attestations.keys)
    for span in (policy.audit.max_age, policy.audit.grace, policy.scan.max_age):
        if span is not None:
            parse_span(span)
    if policy.audit.grace is not None and policy.audit.max_severity in {None, "critical"}:
        raise PolicyInvalid("[audit] states a grace, and no max-severity that a finding could exceed")
    for prefix in policy.audit.required_checks:
        _check_prefix(prefix)
    for digest in policy.audit.data:
        if not _DATA.fullmatch(digest):
            raise PolicyInvalid(
                f"{digest[:80]!r} is no digest of data", advice="Write sha256: and 64 digits."
            )
    if policy.release is not None and not policy.release.environment:
        raise PolicyInvalid("[release] names no environment")
    check_thresholds(policy.require, KNOWN_CLAIMS)
    _check_crossing(policy.require)


def _states_something(policy: Admission) -> bool:
    audit, scan = policy.audit, policy.scan
    severities = {audit.max_severity, scan.max_severity} - {None, "critical"}
    return bool(
        policy.roots
        or policy.signers
        or policy.attestations.required
        or policy.release
        or policy.require
        or severities
        or audit.max_age
        or audit.required_checks
        or audit.data
        or scan.verdict
        or scan.max_age
    )


def _check_keys(table: str, keys: Sequence[str]) -> None:
    if not keys:
        raise PolicyInvalid(f"[{table}] names no key")
    if len(set(keys)) != len(keys):
        raise PolicyInvalid(f"[{table}] names one key twice, which would count for two signers")


def _check_prefix(prefix: str) -> None:
    names = sorted({entry.id for entry in CHECKS} | {entry.id.split(".")[0] for entry in CHECKS})
    if not any(entry.id == prefix or entry.id.startswith(prefix + ".") for entry in CHECKS):
        near = get_close_matches(prefix, names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise PolicyInvalid(f"no check is called {prefix!r}{hint}", advice=f"Checks: {', '.join(names)}.")


def _check_crossing(thresholds: Sequence[Threshold]) -> None:
    """Two thresholds on one claim that no value meets are a slip, and would refuse everything."""
    for one in thresholds:
        for other in thresholds:
            if (
                one.claim == other.claim
                and one.scope == other.scope
                and one.at_least is not None
                and other.at_most is not None
                and one.at_least > other.at_most
            ):
                raise PolicyInvalid(
                    f"no value of {one.claim!r} is at least {one.at_least:g} and at most {other.at_most:g}"
                )


def _ids(keys: Sequence[str], folder: Path, found: dict[str, bytes]) -> tuple[str, ...]:
    ids: list[str] = []
    for key in keys:
        if _KEY_ID.fullmatch(key):
            ids.append(key)
            continue
        try:
            verifier = Verifier.read(folder / key)
        except (FileMissing, ValueError) as error:
            raise FileMissing(
                f"{key[:120]!r} cannot be read in {folder}, and is no key's id",
                advice="A policy names keys by 64 hexadecimal digits or by the path of a PEM file.",
            ) from error
        found[verifier.key_id] = verifier.pem
        ids.append(verifier.key_id)
    return tuple(ids)
