"""DSSE envelopes and in-toto statements.

Sources: DSSE v1.0.2 (protocol: the pre-authentication encoding; envelope: its JSON), in-toto attestation
framework v1 (statement).
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from typing import TYPE_CHECKING, Final, Never

import msgspec

from modelward.core.canonical import JSON, canonical
from modelward.errors import SealDamaged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.vault.keys.signer import Signer

IN_TOTO: Final = "application/vnd.in-toto+json"
STATEMENT: Final = "https://in-toto.io/Statement/v1"

_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """One signature of an envelope.

    Attributes:
        sig: the raw bytes.
        keyid: a hint at the key, unauthenticated; may be empty.
    """

    sig: bytes
    keyid: str = ""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed, with its signatures.

    Attributes:
        payload: the raw bytes.
        payload_type: what they are.
        signatures: at least one.
    """

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]

    def signed_bytes(self) -> bytes:
        """What each signature is over."""
        return pae(self.payload_type, self.payload)


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """An in-toto statement: something said about subjects.

    Attributes:
        subjects: name to digests (algorithm to hexadecimal), in order.
        predicate_type: a URI.
        predicate: what is said.
    """

    subjects: tuple[tuple[str, dict[str, str]], ...]
    predicate_type: str
    predicate: dict[str, JSON]

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical(
            {
                "_type": STATEMENT,
                "subject": [{"name": name, "digest": dict(digest)} for name, digest in self.subjects],
                "predicateType": self.predicate_type,
                "predicate": self.predicate,
            }
        )


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: ``DSSEv1 SP len(type) SP type SP len(payload) SP payload``."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, signers: Sequence[Signer], *, payload_type: str = IN_TOTO) -> Envelope:
    """Sign a payload with every key given.

    Args:
        payload: any bytes.
        signers: at least one.
        payload_type: what the bytes are.

    Raises:
        ValueError: there is no signer.
        KeyServiceFailed: a key's token or server does not sign.
    """
    if not signers:
        raise ValueError("an envelope without signatures says nothing")
    message = pae(payload_type, payload)
    signatures = tuple(Signature(sig=s.sign(message), keyid=s.public.key_id) for s in signers)
    return Envelope(payload=payload, payload_type=payload_type, signatures=signatures)


def to_json(envelope: Envelope) -> dict[str, JSON]:
    """The envelope as plain JSON values, base64 with padding."""
    return {
        "payload": base64.b64encode(envelope.payload).decode(),
        "payloadType": envelope.payload_type,
        "signatures": [
            {"sig": base64.b64encode(s.sig).decode(), "keyid": s.keyid} for s in envelope.signatures
        ],
    }


def from_json(value: JSON) -> Envelope:
    """Read an envelope; standard and URL-safe base64 are both allowed, as DSSE asks.

    Raises:
        SealDamaged: it is none.
    """
    if not isinstance(value, dict) or not isinstance(value.get("signatures"), list):
        raise SealDamaged("the envelope is no JSON object with a list of signatures")
    kind, payload = value.get("payloadType"), value.get("payload")
    if not isinstance(kind, str) or not isinstance(payload, str):
        raise SealDamaged("the envelope lacks its payload or the payload's type")
    signatures = value["signatures"]
    assert isinstance(signatures, list)  # noqa: S101  (said above; the type checker forgets it)
    if not signatures:
        raise SealDamaged("the envelope holds no signature")
    return Envelope(
        payload=decode64(payload), payload_type=kind, signatures=tuple(_signature(s) for s in signatures)
    )


def statement_of(envelope: Envelope) -> Statement:
    """The in-toto statement that an envelope holds. Verify the signatures before you believe it.

    Raises:
        SealDamaged: the payload is of another type, or no statement.
    """
    if envelope.payload_type != IN_TOTO:
        raise SealDamaged(f"the envelope holds {envelope.payload_type[:80]!r}, no in-toto statement")
    value = load(envelope.payload, "the statement")
    if not isinstance(value, dict) or value.get("_type") != STATEMENT:
        raise SealDamaged("the payload is no in-toto statement of version 1")
    kind, predicate, subjects = value.get("predicateType"), value.get("predicate"), value.get("subject")
    if not isinstance(kind, str) or not isinstance(predicate, dict) or not isinstance(subjects, list):
        raise SealDamaged("the statement lacks its subject, its predicate or the predicate's type")
    return Statement(subjects=tuple(_subject(s) for s in subjects), predicate_type=kind, predicate=predicate)


def load(data: bytes, what: str, *, most: int | None = None) -> JSON:
    """Decode JSON strictly: UTF-8, no key twice, no number that is not finite, no half of a character.

    Args:
        data: the text.
        what: how the sentence of a refusal calls it.
        most: values that it may be made of, about; small ones take 30 times their bytes in memory.

    Raises:
        SealDamaged: it is not such JSON.
    """
    if most is not None and sum(map(data.count, (b"{", b"[", b","))) > most:
        raise SealDamaged(f"{what} is made of more than {most} values")
    try:
        value: JSON = json.loads(
            data.decode(), object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite
        )
        if _SURROGATE.search(data):  # a lone one is text that no UTF-8 can hold, so it could not be compared
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise SealDamaged(f"{what} is not JSON: {str(error)[:100]}") from error
    return value


def decode64(text: str) -> bytes:
    """Decode base64, standard or URL-safe, without anything that is not of its alphabet.

    Raises:
        SealDamaged: it is not base64, or not the one spelling of these bytes.
    """
    standard = text.replace("-", "+").replace("_", "/")
    if len(standard) % 4 or not _BASE64.fullmatch(standard):
        raise SealDamaged("a field is not base64")
    data = binascii.a2b_base64(standard)
    rest = data[len(data) // 3 * 3 :]
    if rest and base64.b64encode(rest).decode() != standard[-4:]:  # the last character may hold more bits
        raise SealDamaged("a field is base64 of more than its bytes")
    return data


def _signature(value: JSON) -> Signature:
    if not isinstance(value, dict) or not isinstance(value.get("sig"), str):
        raise SealDamaged("a signature of the envelope is no JSON object with a text `sig`")
    sig, keyid = value["sig"], value.get("keyid", "")
    assert isinstance(sig, str)  # noqa: S101  (said above; the type checker forgets it)
    if keyid is not None and not isinstance(keyid, str):
        raise SealDamaged("a signature's key id is no text")
    return Signature(sig=decode64(sig), keyid=keyid or "")


def _subject(value: JSON) -> tuple[str, dict[str, str]]:
    if not isinstance(value, dict):
        raise SealDamaged("a subject is no JSON object")
    name, digest = value.get("name", ""), value.get("digest")
    if not isinstance(name, str) or not isinstance(digest, dict):
        raise SealDamaged("a subject lacks its name or digest")
    if not all(isinstance(text, str) for text in digest.values()):
        raise SealDamaged("a digest is no text")
    return name, {algorithm: str(text) for algorithm, text in digest.items()}


def _once(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found = dict(pairs)
    if len(found) != len(pairs):  # two readers could each believe another one
        raise ValueError("a key stands twice in one object")
    return found


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)  # 1e999 is read as an infinity


def _refuse(text: str) -> Never:
    raise ValueError(f"{text} is no number of JSON")
