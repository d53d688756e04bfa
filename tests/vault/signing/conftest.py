"""Keys and a small model that the tests of signatures share."""

import json
from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import LocalSigner


@pytest.fixture(scope="session")
def vectors():
    return Path(__file__).parents[2] / "vectors" / "seal" / "signing"


@pytest.fixture(scope="session")
def signers():
    """One signer of each algorithm, by its name."""
    return {name: LocalSigner(asymmetric.generate(name)) for name in asymmetric.ALGORITHMS}


@pytest.fixture(scope="session")
def alice(signers):
    return signers["ecdsa-p256"]


@pytest.fixture(scope="session")
def bob(signers):
    return signers["ed25519"]


@pytest.fixture(scope="session")
def carol(signers):
    return signers["ml-dsa-65"]


@pytest.fixture
def model(tmp_path):
    """A folder with names that sort differently by parts and as text, an empty file and a nested one."""
    root = tmp_path / "model"
    (root / "a").mkdir(parents=True)
    (root / "deep" / "er").mkdir(parents=True)
    (root / "a" / "z").write_bytes(b"z")
    (root / "a.bin").write_bytes(b"0123456789" * 5)
    (root / "config.json").write_bytes(b"{}")
    (root / "deep" / "er" / "weights").write_bytes(bytes(range(256)) * 40)
    (root / "empty").write_bytes(b"")
    return root


@pytest.fixture(scope="session")
def rewrite():
    """Change a bundle as JSON without signing it again."""

    def change(data, edit):
        value = json.loads(data)
        edit(value)
        return json.dumps(value).encode()

    return change


@pytest.fixture(scope="session")
def payload_of():
    def read(data):
        return json.loads(b64decode(json.loads(data)["dsseEnvelope"]["payload"]))

    return read


@pytest.fixture(scope="session")
def bundle_of():
    """Sign any JSON value as the payload of a bundle, with whatever the signer would never say."""

    def make(value, signer, *, keyid=None, hint=None, payload_type="application/vnd.in-toto+json"):
        payload = value if isinstance(value, bytes) else json.dumps(value).encode()
        message = b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)
        name = signer.public.key_id
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": {
                    "publicKey": {"hint": name if hint is None else hint},
                    "tlogEntries": [],
                },
                "dsseEnvelope": {
                    "payload": b64encode(payload).decode(),
                    "payloadType": payload_type,
                    "signatures": [
                        {
                            "sig": b64encode(signer.sign(message)).decode(),
                            "keyid": name if keyid is None else keyid,
                        }
                    ],
                },
            }
        ).encode()

    return make
