"""What the targets of seal_targets.py start from: the published vectors, taken apart, and small documents made here."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import tarfile
import tempfile
from functools import cache
from pathlib import Path

import seal_targets
from seal_targets import KEY, MANIFEST, SMALL, VECTORS, described, signer

from modelward.core.canonical import canonical
from modelward.ledger.blobs import write_atomically
from modelward.vault import dsse, notes
from modelward.vault.hazmat import floe, kem
from modelward.vault.keys.editing import begin, with_key
from modelward.vault.keys.keyring import RingKey
from modelward.vault.keys.making import make_key
from modelward.vault.tree.hashing import hash_tree
from modelward.vault.tree.proofs import Prover
from modelward.vault.tree.tensors import prove_tensor

POLICY = b"""
name = "strict"
[signers]
keys = ["%s"]
threshold = 1
[audit]
max-age = "30d"
max-severity = "medium"
[scan]
verdict = "inert"
[[require]]
claim = "robust-accuracy"
at-least = 0.6
scope = { norm = "linf", eps = 0.1 }
"""


def read(*parts: str) -> list[bytes]:
    """Kept files by pattern."""
    return [path.read_bytes() for path in sorted(VECTORS.glob("/".join(parts))) if path.is_file()]


def payload(bundle: bytes) -> bytes:
    return base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"])


def own_floe(data: bytes) -> bytes:
    made = floe.Floe.encrypting(KEY, b"fuzz", SMALL)
    out = bytearray(SMALL.sealed_length(len(data)))
    out[: floe.HEADER] = made.header
    at, room, view = floe.HEADER, SMALL.room, memoryview(out)
    count = SMALL.segments(len(data))
    for index in range(count):
        piece = data[index * room : (index + 1) * room]
        at += made.encrypt_segment(index, piece, view[at:], last=index + 1 == count)
    return bytes(out)


def proofs() -> dict[str, list[bytes]]:
    """Of a file with two tensors."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "m.safetensors"
        head = json.dumps({"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
                           "__metadata__": {"a": "b"}}).encode()  # fmt: skip
        write_atomically(place, struct.pack("<Q", len(head)) + head + b"abcd")
        found = hash_tree(Path(folder))
        prover = Prover(Path(folder), found, place.name)
        return {
            "seal-tree": [canonical(found.to_json())],
            "seal-range": [prover.range(0, 8).encode()],
            "seal-tensor": [prove_tensor(prover, "w").encode()],
            "seal-safetensors": [place.read_bytes()],
        }


def archives() -> list[bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("README.md", "folder/" + 120 * "x"):
            member = tarfile.TarInfo(name)
            member.size = 7
            archive.addfile(member, io.BytesIO(b"a model"))
    return [out.getvalue()[:3072] + bytes(1024), bytes(1024)]


def logs() -> dict[str, list[bytes]]:
    log = json.loads((VECTORS / "ledger" / "log.json").read_text())
    published = json.loads((VECTORS / "ledger" / "published.json").read_text())
    texts = [text.encode() for text in strings(published)]
    proofs = [text.encode() for part in ("inclusion", "consistency") for text in strings(log[part])]
    proofs += [text for text in texts if text.startswith((b"c2sp.org/tlog-proof", b"old "))]
    checkpoint = "log.example\n1\n" + base64.b64encode(KEY).decode() + "\n"
    signed = notes.Note(
        checkpoint,
        (
            notes.sign_note(checkpoint, signer(), "log.example"),
            notes.cosign(checkpoint, signer(), "witness.example", 1_700_000_000),
        ),
    ).encode()
    state = {"format": "modelward.witness/1", "logs": {"log.example": {"size": "1", "root": base64.b64encode(KEY).decode(), "time": 5}}}  # fmt: skip
    return {
        "seal-note": [signed, *(text for text in texts if b"\n\n" in text)],
        "seal-note-key": [text for text in texts if text.count(b"+") >= 2 and b"\n" not in text],
        "seal-checkpoint": [signed],
        "seal-checkpoint-text": [checkpoint.encode()],
        "seal-inclusion": proofs,
        "seal-consistency": proofs,
        "seal-records": [b"\0\x02{}\0\0\0\x03abc", b"".join(len(r).to_bytes(4, "big") + r for r in (b"{}", b"[]", b""))],
        "seal-witness-state": [canonical(state) + b"\n"],
    }  # fmt: skip


def strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in strings(one)]


def keys() -> dict[str, list[bytes]]:
    made = [make_key(kind, lambda: b"phrase")[0] for kind in ("ecdsa-p256", "ed25519", "x25519")]
    pairs = [kem.generate("x25519"), kem.generate("mlkem768-x25519")]
    stated = json.loads((VECTORS / "recipients" / "stanzas.json").read_text())
    return {
        "seal-public-pem": [signer().public.pem, *read("signing", "own", "keys", "*.pub")],
        "seal-private-pem": [*made, *read("container", "signer.pem")],
        "seal-recipient-pem": [kem.public_pem(kem.public_of(key)) for key in pairs],
        "seal-identity": [*read("container", "identity.pem"), *(kem.private_pem(key, b"phrase") for key in pairs)],
        "seal-age-identity": [stated["identities"]["age"]["identity"].encode()],
        "seal-age-recipient": [b"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
        "seal-stanzas": [json.dumps([case["stanza"]]).encode() for case in stated["cases"]],
        "seal-uri": [b"pkcs11:token=a%20b;object=key;id=%01?module-path=/usr/lib/x.so&pin-source=file:/p", b"pkcs11:id=%01"],
        "seal-vault-reference": [b"vault:transit/release?version=3", b"vault:a/b/c"],
        "seal-database": [b"postgresql://u@[::1]:5432/d?sslmode=verify-full", b"postgresql:///x?host=/run"],
        "seal-span": [b"30d", b"12h"],
    }  # fmt: skip


def documents() -> dict[str, list[bytes]]:
    oci_index = {"schemaVersion": 2, "manifests": [described(MANIFEST, b"x")]}
    layer = described("application/octet-stream", b"a model\n")
    layer["annotations"] = {"org.opencontainers.image.title": "README.md"}
    oci = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described("application/json", b"{}"),
        "layers": [layer],
    }
    return {
        "seal-policy": [POLICY % signer().public.key_id.encode()],
        "seal-provenance": [b'[run]\ninvocation = "r1"\nbuilder = "https://example.com/ci"\n[code]\nuri = "git+https://example.com/r"\ncommit = "%s"\n[parameters]\nlr = 0.1\n' % (b"a" * 40)],
        "seal-release": [b'environments = ["ward"]\nuntil = 2030-01-01T00:00:00Z\n'],
        "seal-table": [json.dumps(json.loads(read("tables", "five.json")[0])["manifest"]).encode()],
        "seal-oci-documents": [json.dumps(oci_index).encode(), b'{"imageLayoutVersion":"1.0.0"}'],
        "seal-oci-manifest": [json.dumps(oci).encode()],
        "seal-oci-archive": archives(),
        "seal-oci-compressed": [gzip.compress(data, mtime=0) for data in archives()],
        "seal-seen": [b'{"format":"modelward.seen/1","moment":"2026-11-01T00:00:00Z","rings":{}}\n'],
        "seal-cache": [b"00\n{}"],
        "seal-json": [b'{"a": [1, 1.5e3, null, true, "\\u00e9\\ud83d\\ude00"]}'],
        "seal-base64": [b"aGVsbG8=", b"_-8="],
    }  # fmt: skip


@cache
def seeds() -> dict[str, tuple[bytes, ...]]:
    """Seeds by target, each at most 8 KiB."""
    rings = read("keyring", "*.json")
    rings = [data for data in rings if data.startswith(b'{"payload"')]
    attested = read("attest", "*.json")
    statements = [payload(data) for data in read("signing", "own", "*.sig")]
    bundles = [*read("signing", "own", "*.sig"), *read("signing", "openssf", "v1.1.0*", "*.sig")]
    certified = [data for data in read("signing", "openssf", "*", "*.sig") if b"x509CertificateChain" in data]
    found: dict[str, list[bytes]] = {
        "seal-bundle": bundles,
        "seal-verified": bundles,
        "seal-certificates": certified,
        "seal-envelope": [json.dumps(json.loads(data)["dsseEnvelope"]).encode() for data in bundles],
        "seal-openssf": [data for data in statements if b"model_signing" in data],
        "seal-tree-statement": [data for data in statements if b"tree/v1" in data],
        "seal-attestation": [payload(data) for data in attested],
        "seal-header": read("container", "*.sealed", "seal.json"),
        "seal-manifest": read("container", "plain.sealed", "manifest.json"),
        "seal-index": read("container", "*.sealed", "tree.json"),
        "seal-floe": [own_floe(b""), own_floe(b"abc"), own_floe(bytes(100))],
        "seal-keyring": rings,
        "seal-keyring-payload": [payload_of(data) for data in rings],
        "seal-keyring-signed": [own_ring(), *(payload_of(data) for data in rings)],
        **proofs(), **logs(), **keys(), **documents(),
    }  # fmt: skip
    return {name: tuple(data for data in one if len(data) <= 1 << 13) for name, one in found.items()}


def own_ring() -> bytes:
    """A keyring whose owner is the key that signs it here."""
    ring = begin([signer().public], 1, seal_targets.MOMENT, None)
    key = RingKey(
        id=signer().public.key_id,
        name="release",
        pem=signer().public.pem.decode(),
        purposes=("seal", "attest"),
        valid_from=ring.issued,
    )
    return with_key(ring, key, ring.issued).encode()


def payload_of(ring: bytes) -> bytes:
    """What the owners signed; where the kept ring is a broken one, whatever stands there."""
    try:
        return dsse.from_json(dsse.load(ring.split(b"\n")[0], "it")).payload
    except seal_targets.SealRefused:
        return b"{}"
