"""Sigstore bundles, version 0.3, as JSON: one DSSE envelope and what helps to verify it.

Source: sigstore protobuf-specs, sigstore_bundle.proto (`application/vnd.dev.sigstore.bundle.v0.3+json`); the
hint of the public key as OpenSSF Model Signing v1 defines it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

import msgspec

from modelward.core.canonical import JSON
from modelward.errors import SealDamaged
from modelward.vault import dsse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.vault.keys.signer import Signer

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
LARGEST: Final = 1 << 28
"""Bytes of a bundle, at most: about a million files."""

_FIELDS: Final = frozenset({"mediaType", "verificationMaterial", "dsseEnvelope"})
_MATERIAL: Final = frozenset(
    {"publicKey", "x509CertificateChain", "certificate", "tlogEntries", "timestampVerificationData"}
)
_PUBLIC: Final = frozenset({"hint", "rawBytes", "keyDetails"})
_OBJECT: Final = re.compile(rb'\s*\{\s*["}]')
"""How JSON objects begin, and models do not."""
_SIGNATURES: Final = 256
"""Signatures of one envelope, at most: each may be tried with every known key."""
_PIECES: Final = 1 << 16
"""Values of a bundle, at most. The payload is one text; small values take 30 times their bytes in memory."""


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """An envelope with the name of its first key.

    Attributes:
        envelope: the signed payload.
        hint: key id of the first signature's key; empty where a certificate or nothing names it.
        material: the verification material as it was read, for keyless signatures.
    """

    envelope: dsse.Envelope
    hint: str = ""
    material: dict[str, JSON] = {}


def make(statement: dsse.Statement, signers: Sequence[Signer]) -> bytes:
    """Sign a statement and write the bundle, UTF-8 JSON.

    Raises:
        ValueError: there is no signer.
        KeyServiceFailed: a key's token or server does not sign.
    """
    return encode(dsse.sign(statement.encode(), signers))


def encode(envelope: dsse.Envelope) -> bytes:
    """Write a bundle around an envelope whose first signature names its key."""
    value: JSON = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": envelope.signatures[0].keyid},
            "tlogEntries": [],
        },
        "dsseEnvelope": dsse.to_json(envelope),
    }
    return json.dumps(value, indent=1).encode() + b"\n"


def decode(data: bytes) -> Bundle:
    """Read a bundle. Nothing is verified yet.

    Raises:
        SealDamaged: it is no bundle of this version with a DSSE envelope.
    """
    if len(data) > LARGEST:
        raise SealDamaged(f"the bundle is larger than {LARGEST >> 20} MiB")
    if not _OBJECT.match(data):
        raise SealDamaged(
            "this is no signature: a bundle is a JSON object",
            advice="Name the model first, and its signature by --signature.",
        )
    value = dsse.load(data, "the bundle", most=_PIECES)
    if not isinstance(value, dict) or value.get("mediaType") != MEDIA_TYPE:
        raise SealDamaged(f"the bundle's media type is not {MEDIA_TYPE}")
    material = value.get("verificationMaterial")
    if not isinstance(material, dict):
        raise SealDamaged("the bundle lacks its verification material")
    public = material.get("publicKey", {})
    if not isinstance(public, dict):
        raise SealDamaged("the bundle's public key is no JSON object")
    _known("the bundle", value, _FIELDS)
    _known("the verification material", material, _MATERIAL)
    _known("the public key", public, _PUBLIC)
    hint = public.get("hint") or ""  # null is how protocol buffers leave it out
    if not isinstance(hint, str):
        raise SealDamaged("the hint at the bundle's public key is no text")
    envelope = dsse.from_json(value.get("dsseEnvelope"))
    _consistent(envelope, hint)
    return Bundle(envelope=envelope, hint=hint, material=material)


def _known(what: str, value: dict[str, JSON], fields: frozenset[str]) -> None:
    """The bundle is a protocol buffer in JSON, whose readers refuse fields that they do not know."""
    unknown = sorted(value.keys() - fields)
    if unknown:
        raise SealDamaged(f"{what} has a field {unknown[0][:80]!a} that bundles of this version do not have")


def _consistent(envelope: dsse.Envelope, hint: str) -> None:
    if len(envelope.signatures) > _SIGNATURES:
        raise SealDamaged(f"the envelope holds more than {_SIGNATURES} signatures")
    first = envelope.signatures[0].keyid
    if hint and first and hint != first:
        raise SealDamaged("the bundle names one key and its first signature another")
