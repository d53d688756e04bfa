"""How a seal stands: the outcome of `modelward verify`, as a value, as JSON and as text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from modelward.core.claim import Claim
from modelward.core.evidence import to_json as struct_json
from modelward.core.policy import Reason
from modelward.errors import SealRefused
from modelward.reporting.text import clean, plain, plural

if TYPE_CHECKING:
    from modelward.core.canonical import JSON

SCHEMA: Final = "modelward.verify/1"
"""Within this version fields are added, never changed or removed."""
SHOWN: Final = 20
"""Missing and unsigned files shown in the text; the others are counted."""

Kind: TypeAlias = Literal["seal", "signature", "rows"]

_COLOURS: Final = {"holds": "32", "refuted": "31", "unknown": "33"}
_MARKS: Final = {"holds": "✔ holds", "refuted": "✘ refuted", "unknown": "? unknown"}


class SignedBy(msgspec.Struct, frozen=True, kw_only=True):
    """A key whose signature is good.

    Attributes:
        key_id: SHA-256 of the public PEM, 64 hexadecimal digits.
        algorithm: what it signs by.
        name: as the keyring has it, or the file that held the public key.
    """

    key_id: str
    algorithm: str
    name: str = ""


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader could take for granted, and was not looked at.

    Attributes:
        what: the question.
        reason: why, in one sentence.
    """

    what: str
    reason: str


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """How what was verified stands.

    Attributes:
        subject: the path.
        kind: a sealed folder, a detached signature of files, or one of a table's rows.
        verified: whether every requirement holds.
        root: what was signed, ``sha256:<hex>`` or ``blake3:<hex>``; null where nothing could be verified.
        signers: keys whose signatures are good.
        files: files that were compared with what was signed.
        bytes: of these files.
        encrypted: whether the content is readable for recipients alone.
        missing: files that are signed and absent, where a partial copy is accepted.
        unsigned: files and folders that are there, were not signed and not looked at, where that is accepted.
        attestations: kinds of the attestations that verify over the root.
        claims: what the evidence says, with `Claim.status` where the policy names them.
        reasons: every requirement and how it stands, worst first.
        skipped: what was not looked at.
        refusal: name of the error that refused it; null when none did.
        advice: what to do about the refusal; null without one.
        moment: the time it was verified for, ISO 8601.
    """

    subject: str
    kind: Kind
    verified: bool
    root: str | None = None
    signers: tuple[SignedBy, ...] = ()
    files: int = 0
    bytes: int = 0
    encrypted: bool = False
    missing: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()
    attestations: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    reasons: tuple[Reason, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    refusal: str | None = None
    advice: str | None = None
    moment: str

    def __bool__(self) -> bool:
        """Whether everything holds: who asks `if verify(...)` means that."""
        return self.verified

    def enforce(self) -> None:
        """Return when everything holds.

        Raises:
            SealRefused: it does not; the message names the first requirement that is not met.
        """
        if not self.verified:
            unmet = [reason for reason in self.reasons if reason.status != "holds"]
            first = f"{unmet[0].requirement} ({unmet[0].detail})" if unmet else "nothing was shown"
            raise SealRefused(f"{self.subject}: not verified: {first}")


def verification_json(result: Verification) -> bytes:
    """The outcome as ASCII JSON, indented, ending in a newline; see `docs/formats/verify-json.md`."""
    document: JSON = {"schema": SCHEMA, **struct_json(result)}
    text = json.dumps(plain(document), ensure_ascii=True, allow_nan=False, indent=2)
    return text.replace("\x7f", "\\u007f").encode("ascii") + b"\n"


def verification_text(result: Verification, *, color: bool = False) -> str:
    """The outcome for people, ending in a newline.

    Args:
        result: the outcome.
        color: paint the marks (ANSI); the words are the same without.
    """
    head = ("32", "✔ VERIFIED") if result.verified else ("31", "✘ REFUSED")
    lines = [f"{_paint(*head, color)}  {clean(result.subject, 200)}"]
    lines += [f"  {clean(what)}" for what in _facts(result)]
    for reason in result.reasons:
        mark = _paint(_COLOURS[reason.status], f"{_MARKS[reason.status]:<9}", color)
        lines.append(f"  {mark} {clean(reason.requirement)}: {clean(reason.detail)}")
    if result.advice:
        lines.append(f"  → {clean(result.advice)}")
    if result.claims:
        lines.append(f"  {plural(len(result.claims), 'claim')} attested; --format json lists them")
    lines += [f"  not looked at: {clean(one.what)}: {clean(one.reason)}" for one in result.skipped]
    return "\n".join(lines) + "\n"


def _facts(result: Verification) -> list[str]:
    lines = [f"{result.root}"] if result.root else []
    if result.files:
        what = f"{plural(result.files, 'file')}, {result.bytes:,} bytes compared"
        lines.append(what + (", encrypted" if result.encrypted else ""))
    lines += [
        f"signed by {signer.key_id[:16]}… {signer.algorithm}" + (f" ({signer.name})" if signer.name else "")
        for signer in result.signers
    ]
    if result.attestations:
        lines.append(f"attested: {', '.join(result.attestations)}")
    for what, names in (("absent from this copy", result.missing), ("there and not signed", result.unsigned)):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            lines.append(f"{what}: {', '.join(names[:SHOWN])}{more}")
    return lines


def _paint(colour: str, text: str, on: bool) -> str:  # noqa: FBT001  (the third word of one phrase)
    return f"\x1b[{colour}m{text}\x1b[0m" if on else text
