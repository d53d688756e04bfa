"""The published vectors of docs/formats/keyring.md, built here a second time from the format's words alone.

Nothing of the package takes part in building: standard library and Ed25519. Run as a script, this file writes
the vectors anew.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from modelward import errors
from modelward.vault.keys.admission import admit_signers
from modelward.vault.keys.keyring import Keyring
from modelward.vault.keys.signer import Verifier

FOLDER = Path(__file__).parents[2] / "vectors" / "seal" / "keyring"
TYPE = "application/vnd.modelward.keyring+json"
START, LATER, END = "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "2027-01-01T00:00:00Z"
ROOT, BAD = "sha256:" + "11" * 32, "sha256:" + "22" * 32


def key(name):
    seed = hashlib.sha256(f"modelward keyring vector {name}".encode()).digest()
    return ed25519.Ed25519PrivateKey.from_private_bytes(seed)


def pem(name):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key(name).public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def key_id(name):
    return hashlib.sha256(pem(name).encode()).hexdigest()


def canonical(value):
    """RFC 8785 for ASCII keys, strings, small integers, lists and booleans."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def entry(name, key_name=None, **changes):
    plain = {"purposes": ["seal"], "valid_from": START, "valid_until": None}
    return {"id": key_id(key_name or name), "name": name, "pem": pem(key_name or name), **plain, **changes}


def ring(**changes):
    return {
        "format": "modelward.keyring/1",
        "ring": "000102030405060708090a0b0c0d0e0f",
        "version": 1,
        "issued": START,
        "expires": None,
        "owners": [pem("owner 1"), pem("owner 2"), pem("owner 3")],
        "threshold": 2,
        "keys": [entry("anna"), entry("ben")],
        "revoked_keys": [],
        "revoked_roots": [],
        "policies": [],
        **changes,
    }


def line(value, *signers, payload=None, kind=TYPE):
    payload = canonical(value) if payload is None else payload
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    signatures = [
        {"keyid": key_id(name), "sig": base64.b64encode(key(name).sign(message)).decode()} for name in signers
    ]
    envelope = {"payload": base64.b64encode(payload).decode(), "payloadType": kind, "signatures": signatures}
    return canonical(envelope) + b"\n"


ONE = ring()
STOLEN = {"id": key_id("anna"), "since": LATER, "reason": "laptop stolen"}
POISONED = {"root": BAD, "since": LATER, "reason": "trained on poisoned rows"}
TWO_OF = {"purpose": "seal", "threshold": 2, "names": ["anna", "ben"], "ml_dsa": False}
MOVED = ring(version=2, issued=LATER, owners=[pem("owner 4")], threshold=1)
AFTER = ring(
    version=3,
    issued=LATER,
    owners=[pem("owner 4")],
    threshold=1,
    revoked_keys=[STOLEN],
    revoked_roots=[POISONED],
)
CHAIN = (
    line(ONE, "owner 1", "owner 2") + line(MOVED, "owner 1", "owner 3", "owner 4") + line(AFTER, "owner 4")
)
BOTH = ("owner 1", "owner 2")

# Name of the file: its bytes, the error or null, the version in force.
FILES = {
    "plain": (line(ONE, *BOTH), None, 1),
    "all-owners": (line(ONE, *BOTH, "owner 3"), None, 1),
    "owners-changed": (CHAIN, None, 3),
    "revoked": (line(ring(version=4, revoked_keys=[STOLEN], revoked_roots=[POISONED]), *BOTH), None, 4),
    "threshold": (line(ring(policies=[TWO_OF]), *BOTH), None, 1),
    "expiring": (line(ring(expires=END), *BOTH), None, 1),
    "key-expiring": (line(ring(keys=[entry("anna", valid_until=LATER), entry("ben")]), *BOTH), None, 1),
    "bad-one-owner": (line(ONE, "owner 1"), "SignerMissing", None),
    "bad-other-owners": (line(ring(owners=[pem("x"), pem("y")]), "x", "y"), "SignerMissing", None),
    "bad-stranger-signs-too": (line(ONE, *BOTH, "x"), "SignatureInvalid", None),
    "bad-signed-twice": (line(ONE, "owner 1", "owner 1", "owner 2"), "SignatureInvalid", None),
    "bad-signature": (line(ONE, *BOTH).replace(b'"sig":"', b'"sig":"AAAA', 1), "SignatureInvalid", None),
    "bad-old-owners-do-not-agree": (line(ONE, *BOTH) + line(MOVED, "owner 1", "owner 4"), "SignerMissing", None),
    "bad-new-owners-do-not-agree": (line(ONE, *BOTH) + line(MOVED, "owner 1", "owner 2"), "SignerMissing", None),
    "bad-order": (line(ONE, *BOTH) + line(ONE, *BOTH), "SealDamaged", None),
    "bad-another-ring": (
        line(ONE, *BOTH) + line(ring(version=2, ring="ff" * 16), *BOTH), "SealDamaged", None
    ),
    "bad-payload-type": (line(ONE, *BOTH, kind="application/json"), "SealDamaged", None),
    "bad-not-canonical-payload": (line(ONE, *BOTH, payload=canonical(ONE) + b" "), "SealDamaged", None),
    "bad-not-canonical-line": (line(ONE, *BOTH).replace(b",", b", ", 1), "SealDamaged", None),
    "bad-no-end-of-line": (line(ONE, *BOTH)[:-1], "SealDamaged", None),
    "bad-field": (line({**ONE, "more": 1}, *BOTH), "SealDamaged", None),
    "bad-field-twice": (
        line(ONE, *BOTH, payload=canonical(ONE).replace(b'"version":1', b'"version":1,"version":1')),
        "SealDamaged", None,
    ),
    "bad-threshold": (line(ring(threshold=4), *BOTH), "SealDamaged", None),
    "bad-key-id": (line(ring(keys=[{**entry("anna"), "id": key_id("ben")}]), *BOTH), "SealDamaged", None),
    "bad-name": (line(ring(keys=[entry("an\nna", "anna")]), *BOTH), "SealDamaged", None),
    "bad-zone": (line(ring(issued="2026-01-01T01:00:00+01:00"), *BOTH), "SealDamaged", None),
}  # fmt: skip

# File, names whose signatures hold, root, moment, time proven by a ledger, and the error or the admitted names.
ADMISSIONS = [
    ("plain", ["anna"], ROOT, LATER, None, ["anna"]),
    ("plain", ["anna", "ben"], ROOT, LATER, None, ["anna", "ben"]),
    ("plain", [], ROOT, LATER, None, "SignerMissing"),
    ("plain", ["anna"], ROOT, "2025-12-31T23:59:59Z", None, "KeyExpired"),
    ("revoked", ["ben"], ROOT, END, None, ["ben"]),
    ("revoked", ["anna"], ROOT, START, None, "Revoked"),
    ("revoked", ["anna", "ben"], ROOT, END, None, "Revoked"),
    ("revoked", ["anna"], ROOT, END, START, ["anna"]),
    ("revoked", ["anna"], ROOT, END, LATER, "Revoked"),
    ("revoked", ["ben"], BAD, END, START, "Revoked"),
    ("owners-changed", ["anna"], ROOT, END, None, "Revoked"),
    ("threshold", ["anna"], ROOT, LATER, None, "SignerMissing"),
    ("threshold", ["anna", "ben"], ROOT, LATER, None, ["anna", "ben"]),
    ("expiring", ["anna"], ROOT, LATER, None, ["anna"]),
    ("expiring", ["anna"], ROOT, END, None, "KeyExpired"),
    ("key-expiring", ["anna"], ROOT, LATER, None, "KeyExpired"),
    ("key-expiring", ["anna", "ben"], ROOT, LATER, None, ["ben"]),
    ("key-expiring", ["anna"], ROOT, END, START, ["anna"]),
]


def index():
    files = [
        {"file": f"{name}.json", "error": error, "version": version}
        for name, (_, error, version) in FILES.items()
    ]
    admissions = [
        {
            "file": f"{name}.json",
            "signers": [key_id(signer) for signer in signers],
            "root": root,
            "moment": moment,
            "proven_at": proven,
            "error": result if isinstance(result, str) else None,
            "admitted": result if isinstance(result, list) else None,
        }
        for name, signers, root, moment, proven, result in ADMISSIONS
    ]
    trusted = {"owners": [pem("owner 1"), pem("owner 2"), pem("owner 3")], "owners_threshold": 2}
    return json.dumps({**trusted, "files": files, "admissions": admissions}, indent=1).encode() + b"\n"


def built():
    return {"index.json": index(), **{f"{name}.json": data for name, (data, _, _) in FILES.items()}}


INDEX = (
    json.loads((FOLDER / "index.json").read_bytes()) if FOLDER.exists() else {"files": [], "admissions": []}
)


def read(name):
    owners = [Verifier(text.encode()) for text in INDEX["owners"]]
    return Keyring.read(FOLDER / name, owners, INDEX["owners_threshold"])


def test_the_files_are_what_the_format_says():
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == built()


@pytest.mark.parametrize("case", INDEX["files"], ids=lambda case: case["file"])
def test_files(case):
    if case["error"] is None:
        assert read(case["file"]).version == case["version"]
        return
    with pytest.raises(errors.SealRefused) as caught:
        read(case["file"])
    assert type(caught.value).__name__ == case["error"]


@pytest.mark.parametrize("case", INDEX["admissions"], ids=lambda case: f"{case['file']}-{case['error']}")
def test_admissions(case):
    moment = datetime.fromisoformat(case["moment"])
    proven = case["proven_at"] and datetime.fromisoformat(case["proven_at"])

    def admit():
        return admit_signers(case["signers"], case["root"], read(case["file"]), moment, proven_at=proven)

    if case["error"] is None:
        assert list(admit()) == case["admitted"]
        return
    with pytest.raises(errors.SealRefused) as caught:
        admit()
    assert type(caught.value).__name__ == case["error"]


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, data in built().items():
        (FOLDER / name).write_bytes(data)
