"""Signed notes: text with signatures below it, and the checkpoints and cosignatures that are such notes.

Sources: C2SP signed-note v1, tlog-checkpoint v1, tlog-cosignature v1. Two kinds of signature are made and
verified here, both by Ed25519: of a log (type 0x01) and of a witness, which states a time (type 0x04). Lines
of other types, such as ML-DSA-44, are those of unknown keys and are passed over, as the specification asks.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from modelward.errors import KeyUnusable, RolledBack, SealDamaged, SignatureInvalid, SignerMissing
from modelward.ledger.checkpoint import LARGEST, Checkpoint, decode64, parse_checkpoint
from modelward.vault.keys.signer import Verifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelward.vault.keys.signer import Signer

LOG: Final = 0x01
WITNESS: Final = 0x04
MOST_BYTES: Final = 256 << 10
MOST_SIGNATURES: Final = 64
TOLERANCE: Final = 60
"""Seconds by which a witness's clock may be ahead of this one."""

_DASH: Final = "\u2014"
_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_KEY_BYTES: Final = 32
_LINE: Final = re.compile(rf"{_DASH} ([^ ]+) ([A-Za-z0-9+/=]+)")
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f]")
_UNICODE: Final = re.compile("[^\ud800-\udfff]*")
_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")
"""What comes before the 32 bytes of an Ed25519 key in SubjectPublicKeyInfo (RFC 8410, section 4)."""


class NoteKey(msgspec.Struct, frozen=True):
    """The public key of a log or a witness, with its name.

    Attributes:
        name: without spaces and plus signs; a URL without its scheme, by custom.
        kind: `LOG` or `WITNESS`.
        public: 32 bytes.
    """

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        unreadable = not self.name or "+" in self.name or _CONTROL.search(self.name)
        if unreadable or len(self.name.split()) != 1 or not _UNICODE.fullmatch(self.name):
            raise KeyUnusable(
                f"{self.name[:80]!r} is no name of a key",
                advice="Give one word without a plus sign, like example.com/log.",
            )
        if self.name != self.name.strip() or len(self.public) != _KEY_BYTES:
            raise KeyUnusable(f"the key of {self.name.strip()[:80]} is no Ed25519 key")

    @property
    def key_id(self) -> bytes:
        """Four bytes that, with the name, say which key a line is by."""
        hashed = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        return hashlib.sha256(hashed).digest()[:_ID_BYTES]

    def text(self) -> str:
        """``name+id+key``, as other implementations read it."""
        return (
            f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"
        )

    def verifier(self) -> Verifier:
        """What verifies by it."""
        der = base64.b64encode(_PREFIX + self.public).decode()
        return Verifier(f"-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n".encode())


class NoteSignature(msgspec.Struct, frozen=True):
    """One line below a note.

    Attributes:
        name: of the key.
        key_id: of the key, 4 bytes.
        value: what follows the identifier.
    """

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> str:
        """The line, with its newline."""
        return f"{_DASH} {self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


class Note(msgspec.Struct, frozen=True):
    """Text with signatures.

    Attributes:
        text: ends in a newline.
        signatures: at least one.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """The note, UTF-8."""
        return (self.text + "\n" + "".join(signature.line() for signature in self.signatures)).encode()


class Cosigned(msgspec.Struct, frozen=True):
    """A witness's statement: this was the largest tree I knew of that log.

    Attributes:
        name: of the witness.
        moment: when, seconds since the epoch.
    """

    name: str
    moment: int = msgspec.field(name="time")


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """Whose signatures a checkpoint must bear.

    Attributes:
        logs: keys of the log; one of them must have signed.
        witnesses: keys of witnesses.
        threshold: how many of the witnesses must have cosigned; null: all; 0: none, they are reported alone.
        origin: what the checkpoint must call its log; null: by the name of the key that signed.
    """

    logs: tuple[NoteKey, ...]
    witnesses: tuple[NoteKey, ...] = ()
    threshold: int | None = None
    origin: str | None = None


class Opened(NamedTuple):
    """A checkpoint whose signatures were verified.

    Attributes:
        checkpoint: what was signed.
        log: the name of the key that signed it.
        witnesses: who cosigned, of those that were named.
    """

    checkpoint: Checkpoint
    log: str
    witnesses: tuple[Cosigned, ...]


def parse_key(text: str) -> NoteKey:
    """Read a public key written as ``name+id+key``.

    Raises:
        KeyUnusable: it is none, of a type that is not known here, or its identifier is not its own.
    """
    parts = text.strip().split("+", 2)
    try:
        name, stated, material = parts
        found = decode64(material)
        key = NoteKey(name, found[0], found[1:])
    except (ValueError, IndexError, SealDamaged) as error:
        raise KeyUnusable(f"{text[:80]!r} is no key of a log, which looks like name+id+key") from error
    if key.kind not in {LOG, WITNESS}:
        raise KeyUnusable(
            f"the key of {name[:80]} is of type {key.kind}; known are 1 (a log) and 4 (a witness)"
        )
    if stated != key.key_id.hex():
        raise KeyUnusable(f"the key of {name[:80]} calls itself {stated[:20]!r} and is {key.key_id.hex()}")
    return key


def key_of(verifier: Verifier, name: str, kind: int) -> NoteKey:
    """The named key of an Ed25519 key pair.

    Raises:
        KeyUnusable: it is of another algorithm, or the name is none.
    """
    if verifier.algorithm != "ed25519":
        raise KeyUnusable(
            f"{verifier.algorithm} signs no checkpoints; they are signed by Ed25519",
            advice="Make such a pair with `modelward keys new --algorithm ed25519`.",
        )
    body = b"".join(line for line in verifier.pem.splitlines() if not line.startswith(b"-"))
    return NoteKey(name, kind, base64.b64decode(body)[len(_PREFIX) :])


def parse_note(data: bytes) -> Note:
    """Read a note. Nothing of it is verified.

    Raises:
        SealDamaged: it is none.
    """
    if len(data) > MOST_BYTES:
        raise SealDamaged(f"the note has {len(data)} bytes; {MOST_BYTES} is the most")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise SealDamaged("the note is not UTF-8") from error
    text, found, below = whole.rpartition("\n\n")
    if not found or not below.endswith("\n") or not text or _CONTROL.search(whole):
        raise SealDamaged("this is no signed note: text, an empty line, and signatures, each a whole line")
    lines = below[:-1].split("\n")
    if len(lines) > MOST_SIGNATURES:
        raise SealDamaged(f"the note has {len(lines)} signatures; {MOST_SIGNATURES} is the most")
    return Note(text + "\n", tuple(_signature(line) for line in lines))


def stated(data: bytes) -> Checkpoint:
    """What a checkpoint says, whether or not anybody signed it. Nothing of it is verified.

    Raises:
        SealDamaged: it is no checkpoint, or has an empty line and no signatures below it.
    """
    if b"\n\n" in data:
        return parse_checkpoint(parse_note(data).text)
    if len(data) > MOST_BYTES or _CONTROL.search(text := data.decode("utf-8", "replace")):
        raise SealDamaged("this is no checkpoint")
    return parse_checkpoint(text)


def sign_note(text: str, signer: Signer, name: str) -> NoteSignature:
    """Sign text as a log does.

    Raises:
        KeyUnusable: the key is not Ed25519, or the name is none.
        KeyServiceFailed: the key's token or server does not sign.
    """
    return NoteSignature(name, key_of(signer.public, name, LOG).key_id, signer.sign(text.encode()))


def cosign(text: str, signer: Signer, name: str, moment: int) -> NoteSignature:
    """Sign a checkpoint's text as a witness does, once it has checked it (`modelward.vault.witness`).

    Args:
        text: of the checkpoint.
        signer: the witness's key.
        name: the witness's name.
        moment: seconds since the epoch, at least 1.

    Raises:
        KeyUnusable: the key is not Ed25519, or the name is none.
        KeyServiceFailed: the key's token or server does not sign.
    """
    key = key_of(signer.public, name, WITNESS)
    value = signer.sign(_cosigned(text, moment))
    return NoteSignature(name, key.key_id, moment.to_bytes(_TIME_BYTES, "big") + value)


def open_checkpoint(data: bytes, trust: Trust, moment: int) -> Opened:
    """Verify a checkpoint: its log's signature, and enough cosignatures.

    Args:
        data: the note.
        trust: whose signatures count.
        moment: now, seconds since the epoch.

    Raises:
        SealDamaged: it is no checkpoint.
        SignerMissing: no key of the log signed it, too few witnesses did, or it is another log's.
        SignatureInvalid: a signature by one of the keys is not over this text.
        RolledBack: a cosignature is of the future, so one of the clocks is wrong.
    """
    note = parse_note(data)
    checkpoint = parse_checkpoint(note.text)
    keys = [key for key in trust.logs if trust.origin is not None or key.name == checkpoint.origin]
    if not keys or trust.origin not in {None, checkpoint.origin}:
        wanted = (
            trust.origin or ", ".join(sorted({key.name for key in trust.logs})) or "any log that was named"
        )
        raise SignerMissing(f"the checkpoint is of {checkpoint.origin[:80]!r} and not of {wanted}")
    return Opened(checkpoint, _by_log(note, keys).name, _by_witnesses(note, trust, moment))


def _by_log(note: Note, keys: Sequence[NoteKey]) -> NoteKey:
    signed = None
    for key in keys:
        for signature in _lines_of(note, key):
            _verify(key, signature.value, note.text.encode())
            signed = signed or key
    if signed is None:
        names = ", ".join(sorted({key.name for key in keys}))
        raise SignerMissing(f"the checkpoint is not signed by the key of {names}")
    return signed


def _by_witnesses(note: Note, trust: Trust, moment: int) -> tuple[Cosigned, ...]:
    found: dict[bytes, Cosigned] = {}
    for key in trust.witnesses:
        for signature in _lines_of(note, key):
            stated = int.from_bytes(signature.value[:_TIME_BYTES], "big")
            if len(signature.value) <= _TIME_BYTES or not 0 < stated < LARGEST:
                raise SealDamaged(f"the cosignature of {key.name} states no time")
            _verify(key, signature.value[_TIME_BYTES:], _cosigned(note.text, stated))
            if stated > moment + TOLERANCE:
                raise RolledBack(
                    f"{key.name} cosigned {stated - moment} seconds after the time that it is here",
                    advice="Set this machine's clock; if it is right, the witness's is wrong.",
                )
            # By key and not by name: one key under two names is one witness.
            if key.public not in found or found[key.public].moment < stated:
                found[key.public] = Cosigned(key.name, stated)
    needed = len({key.public for key in trust.witnesses}) if trust.threshold is None else trust.threshold
    if len(found) < needed:
        cosigners = ", ".join(cosigned.name for cosigned in found.values()) or "none"
        raise SignerMissing(
            f"{len(found)} of {needed} witnesses cosigned the checkpoint ({cosigners})",
            advice="Have the other witnesses cosign it: `modelward ledger witness --help`.",
        )
    return tuple(found.values())


def _lines_of(note: Note, key: NoteKey) -> Iterable[NoteSignature]:
    return (s for s in note.signatures if s.name == key.name and s.key_id == key.key_id)


def _verify(key: NoteKey, value: bytes, message: bytes) -> None:
    try:
        key.verifier().verify(value, message)
    except SignatureInvalid as error:
        raise SignatureInvalid(f"the signature by {key.name} is not over this checkpoint") from error


def _cosigned(text: str, moment: int) -> bytes:
    """What a witness signs: the time, and the whole text of the checkpoint."""
    return f"cosignature/v1\ntime {moment}\n{text}".encode()


def _signature(line: str) -> NoteSignature:
    match = _LINE.fullmatch(line)
    if match is None or "+" in match[1] or len(match[1].split()) != 1 or match[1] != match[1].strip():
        raise SealDamaged("a line below the note is no signature")
    value = decode64(match[2])
    if len(value) <= _ID_BYTES:
        raise SealDamaged("a signature below the note is too short")
    return NoteSignature(match[1], value[:_ID_BYTES], value[_ID_BYTES:])
