"""A server that speaks Vault's transit protocol and really signs, and a token of SoftHSM2."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import threading
import traceback
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelward.vault.keys.keyring import Keyring, RingKey
from modelward.vault.keys.signer import LocalSigner

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TOKEN = "hvs.only-a-test"  # noqa: S105 (of no server)
CURVES = {
    "ecdsa-p256": (ec.SECP256R1(), hashes.SHA256(), "sha2-256"),
    "ecdsa-p384": (ec.SECP384R1(), hashes.SHA384(), "sha2-384"),
    "ecdsa-p521": (ec.SECP521R1(), hashes.SHA512(), "sha2-512"),
}


class Refused(Exception):
    def __init__(self, status, *errors):
        self.status, self.errors = status, errors


class Transit:
    """Keys by name; each a kind and a list of versions, the oldest first."""

    def __init__(self):
        self.keys, self.asked, self.spoil = {}, [], lambda path, answer: answer

    def make(self, name, kind, versions=1, **facts):
        made = [self._new(kind) for _ in range(versions)]
        self.keys[name] = (kind, made, facts)

    def _new(self, kind):
        if kind == "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        return ec.generate_private_key(CURVES[kind][0]) if kind in CURVES else AESGCM.generate_key(256)

    def read(self, name):
        kind, versions, facts = self._named(name)
        entries = {str(i + 1): {"public_key": self._public(kind, k)} for i, k in enumerate(versions)}
        return {"type": kind, "latest_version": len(versions), "keys": entries, **facts}

    def _named(self, name):
        if name not in self.keys:
            raise Refused(404)
        return self.keys[name]

    @staticmethod
    def _public(kind, key):
        if kind == "ed25519":
            return base64.b64encode(key.public_key().public_bytes_raw()).decode()
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        if kind in CURVES:
            return key.public_key().public_bytes(serialization.Encoding.PEM, spki).decode()
        return ""

    def sign(self, name, body):
        kind, versions, _ = self._named(name)
        version = body.pop("key_version", len(versions))
        data = base64.b64decode(body.pop("input"), validate=True)
        if kind == "ed25519":
            assert body == {}  # no hash, no marshaling: Ed25519 has neither
            signature = versions[version - 1].sign(data)
        else:
            _, digest, hash_name = CURVES[kind]
            assert body == {"hash_algorithm": hash_name, "prehashed": True, "marshaling_algorithm": "asn1"}
            assert len(data) == digest.digest_size
            signature = versions[version - 1].sign(data, ec.ECDSA(utils.Prehashed(digest)))
        return {"signature": f"vault:v{version}:{base64.b64encode(signature).decode()}"}

    def encrypt(self, name, body):
        kind, versions, _ = self._named(name)
        assert kind == "aes256-gcm96"
        version = body.pop("key_version", len(versions))
        plain, bound = (
            base64.b64decode(body.pop(k), validate=True) for k in ("plaintext", "associated_data")
        )
        assert not body
        nonce = os.urandom(12)
        sealed = nonce + AESGCM(versions[version - 1]).encrypt(nonce, plain, bound)
        return {"ciphertext": f"vault:v{version}:{base64.b64encode(sealed).decode()}", "key_version": version}

    def decrypt(self, name, body):
        _, versions, _ = self._named(name)
        version, text = re.fullmatch(r"vault:v(\d+):(.*)", body["ciphertext"]).groups()
        if int(version) > len(versions):
            raise Refused(400, "ciphertext version is disallowed by policy (too new)")
        try:
            sealed, bound = (base64.b64decode(t, validate=True) for t in (text, body["associated_data"]))
            plain = AESGCM(versions[int(version) - 1]).decrypt(sealed[:12], sealed[12:], bound)
        except ValueError:
            raise Refused(400, "invalid ciphertext: could not decode base64") from None
        except InvalidTag:
            raise Refused(400, "cipher: message authentication failed") from None
        return {"plaintext": base64.b64encode(plain).decode()}

    def answer(self, method, path, headers, body):
        self.asked.append(
            (method, path, hashlib.sha256(repr(sorted((body or {}).items())).encode()).hexdigest())
        )
        if headers.get("X-Vault-Token") != TOKEN or headers.get("X-Vault-Request") != "true":
            raise Refused(403, "permission denied")
        match = re.fullmatch(r"/v1/(?:team/)?transit/(keys|sign|encrypt|decrypt)/([\w.-]+)", path)
        if match is None:
            raise Refused(404, f"no handler for route {path}")
        if match[1] == "keys":
            assert method == "GET"
            return self.read(match[2])
        assert method == "POST"
        return {"sign": self.sign, "encrypt": self.encrypt, "decrypt": self.decrypt}[match[1]](match[2], body)


def handler(engine):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words):
            del words

        def _serve(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            try:
                answer = engine.spoil(self.path, engine.answer(self.command, self.path, self.headers, body))
                status, reply = 200, answer if isinstance(answer, bytes) else {"data": answer}
            except Refused as refused:
                status, reply = refused.status, {"errors": list(refused.errors)}
            except AssertionError as wrong:
                status, reply = 500, {"errors": [f"the client asked what it should not: {wrong}"]}
            data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = _serve  # noqa: N815 (the library's name)
        do_POST = _serve  # noqa: N815 (the library's name)

    return Handler


@pytest.fixture
def vault(monkeypatch):
    """An engine at `transit` (and `team/transit`), and the environment that leads to it."""
    pytest.importorskip("hvac", reason="the extra [keys] is not installed")
    engine = Transit()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(engine))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("VAULT_NAMESPACE", "VAULT_CACERT", "VAULT_CAPATH"):
        monkeypatch.delenv(name, raising=False)
    yield engine
    server.shutdown()
    server.server_close()
    thread.join()


MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
PIN = "56 78"


def made(session, name, curve):
    from pkcs11 import Attribute, KeyType, Mechanism
    from pkcs11.util.ec import encode_named_curve_parameters

    edwards = curve == "edwards25519"
    kind = KeyType.EC_EDWARDS if edwards else KeyType.EC
    encoded = b"\x13\x0c" + curve.encode() if edwards else encode_named_curve_parameters(curve)
    domain = session.create_domain_parameters(kind, {Attribute.EC_PARAMS: encoded}, local=True)
    mechanism = Mechanism.EC_EDWARDS_KEY_PAIR_GEN if edwards else Mechanism.EC_KEY_PAIR_GEN
    return domain.generate_keypair(store=True, label=name, id=name.encode(), mechanism=mechanism)


@pytest.fixture(scope="session")
def token(tmp_path_factory):
    """A SoftHSM2 token `model keys` with one key pair of each kind; gives its module's path."""
    pkcs11 = pytest.importorskip("pkcs11", reason="the extra [keys] is not installed")
    tool, module = shutil.which("softhsm2-util"), next(filter(os.path.exists, MODULES), None)
    if tool is None or module is None:
        pytest.skip("SoftHSM2 is not installed")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    text = f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
    configuration.write_text(text, encoding="ascii")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    for label in ("model keys", "other"):
        words = ["--init-token", "--free", "--label", label, "--so-pin", "12345", "--pin", PIN]
        subprocess.run([tool, *words], check=True, capture_output=True)
    session = pkcs11.lib(module).get_token(token_label="model keys").open(user_pin=PIN, rw=True)  # noqa: S106 (a label)
    for name, curve in (
        ("p256", "secp256r1"),
        ("p384", "secp384r1"),
        ("p521", "secp521r1"),
        ("ed", "edwards25519"),
        ("k1", "secp256k1"),
        ("twice", "secp256r1"),
        ("twice", "secp256r1"),
        ("lonely", "secp256r1"),
    ):
        public, _ = made(session, name, curve)
        if name == "lonely":
            public.destroy()
    session.close()
    yield module
    del os.environ["SOFTHSM2_CONF"]


def frames(error):
    """The whole chain of an error, as text with the variables of every frame that is not a test's."""
    seen, parts = set(), []
    waiting = [traceback.TracebackException.from_exception(error, capture_locals=True)]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        parts.append(str(one))
        parts += [f"{f.filename} {f.locals}" for f in one.stack if "/tests/" not in f.filename]
        waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
    return "\n".join(parts)


@pytest.fixture
def revealed():
    """What a crash reporter that records variables would send away."""
    return frames


def fixed_signer(name):
    """An Ed25519 key that is the same in every run."""
    seed = hashlib.sha256(f"modelward keyring vector {name}".encode()).digest()
    return LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(seed))


@pytest.fixture(scope="session")
def signer_of():
    """A name to a signer, always the same."""
    return functools.cache(fixed_signer)


@pytest.fixture
def entry(signer_of):
    """The entry of a key in a ring; what is not said is plain."""

    def entry(name, key=None, **changes):
        public = (key or signer_of(name)).public
        facts = {"purposes": ("seal",), "valid_from": NOON, "valid_until": None, **changes}
        return RingKey(id=public.key_id, name=name, pem=public.pem.decode(), **facts)

    return entry


@pytest.fixture
def ring(signer_of, entry):
    """A ring of the owners a, b and c, of whom two sign, with the keys of anna and ben."""

    def ring(**changes):
        facts = {
            "format": "modelward.keyring/1",
            "ring": "00112233445566778899aabbccddeeff",
            "version": 1,
            "issued": NOON,
            "expires": None,
            "owners": tuple(signer_of(name).public.pem.decode() for name in "abc"),
            "threshold": 2,
            "keys": (entry("anna"), entry("ben")),
            **changes,
        }
        return Keyring(**facts)

    return ring
