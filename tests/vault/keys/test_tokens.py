"""Keys in a token: Debian's SoftHSM2 in a folder of the test."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from modelward.errors import ExtraMissing, KeyServiceFailed, KeyUnusable
from modelward.vault import dsse
from modelward.vault.keys import tokens
from modelward.vault.keys.opening import open_signer
from modelward.vault.keys.signer import Verifier
from modelward.vault.keys.tokens import TokenSigner

PIN = b"56 78"


def uri(name, **query):
    asked = "&".join(f"{key.replace('_', '-')}={value}" for key, value in query.items())
    return f"pkcs11:token=model%20keys;object={name}?{asked}"


@pytest.fixture(autouse=True)
def no_login(token):
    """Each test logs in anew."""
    yield
    for session in tokens._SESSIONS.values():
        session.close()
    tokens._SESSIONS.clear()


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [("p256", "ecdsa-p256"), ("p384", "ecdsa-p384"), ("p521", "ecdsa-p521"), ("ed", "ed25519")],
)
def test_it_signs_and_the_public_key_verifies(token, name, algorithm):
    signer = open_signer(uri(name, module_path=token), lambda: PIN)
    assert signer.public.algorithm == algorithm
    for message in (b"", b"a message", b"x" * 100_000):
        Verifier(signer.public.pem).verify(signer.sign(message), message)
    envelope = dsse.sign(b"{}", [signer])
    signer.public.verify(envelope.signatures[0].sig, envelope.signed_bytes())


@pytest.mark.skipif(shutil.which("pkcs11-tool") is None, reason="OpenSC is not installed")
def test_another_program_reads_the_same_public_key(token, tmp_path):
    signer = open_signer(uri("p256", module_path=token), lambda: PIN)
    words = [
        "--module",
        token,
        "--token-label",
        "model keys",
        "--read-object",
        "--type",
        "pubkey",
        "--label",
        "p256",
    ]
    subprocess.run(["pkcs11-tool", *words, "-o", tmp_path / "k.der"], check=True, capture_output=True)
    words = ["openssl", "pkey", "-pubin", "-inform", "DER", "-in", tmp_path / "k.der", "-pubout"]
    assert subprocess.run(words, check=True, capture_output=True).stdout == signer.public.pem


def test_openssl_verifies_what_the_token_signed(token, tmp_path):
    signer = open_signer(uri("p384", module_path=token), lambda: PIN)
    for name, data in (("m", b"message"), ("s", signer.sign(b"message")), ("k", signer.public.pem)):
        (tmp_path / name).write_bytes(data)
    words = [
        "openssl",
        "dgst",
        "-sha384",
        "-verify",
        tmp_path / "k",
        "-signature",
        tmp_path / "s",
        tmp_path / "m",
    ]
    assert b"Verified OK" in subprocess.run(words, check=True, capture_output=True).stdout


def test_two_keys_of_one_token_share_the_login(token):
    asked = []

    def ask():
        asked.append(1)
        return PIN

    first, second = (open_signer(uri(name, module_path=token), ask) for name in ("p256", "ed"))
    for signer in (first, second, first):
        signer.public.verify(signer.sign(b"m"), b"m")
    assert len(asked) == 1


def test_the_pin_may_lie_in_a_file_or_a_variable(token, tmp_path, monkeypatch):
    file, said = tmp_path / "pin", []
    file.write_bytes(PIN + b"\n")
    file.chmod(0o640)
    signer = TokenSigner(uri("ed", module_path=token, pin_source=f"file:{file}"), None, said.append)
    signer.public.verify(signer.sign(b"m"), b"m")
    assert "chmod 600" in said[0]
    tokens._SESSIONS.popitem()[1].close()
    monkeypatch.setenv("TOKEN_PIN", PIN.decode())
    monkeypatch.setenv(tokens.MODULE, token)
    TokenSigner("pkcs11:id=ed;token=model%20keys?pin-source=env:TOKEN_PIN", None).sign(b"m")


@pytest.mark.parametrize("given", [b"0000", b"x" * 400, "пин".encode()])
def test_a_wrong_pin_is_refused_and_shown_nowhere(token, given, revealed):
    with pytest.raises(KeyUnusable, match="PIN is wrong") as caught:
        TokenSigner(uri("p256", module_path=token), lambda: given)
    assert given.decode() not in revealed(caught.value)
    TokenSigner(uri("p256", module_path=token), lambda: PIN)  # so that three wrong ones do not lock it


@pytest.mark.parametrize("ask", [None, lambda: b""])
def test_no_pin(token, ask, monkeypatch):
    with pytest.raises(KeyUnusable, match="PIN"):
        TokenSigner(uri("p256", module_path=token), ask)
    monkeypatch.delenv("TOKEN_PIN", raising=False)
    with pytest.raises(KeyUnusable, match="PIN is empty"):
        TokenSigner(uri("p256", module_path=token, pin_source="env:TOKEN_PIN"), ask)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("pkcs11:token=absent;object=p256", "no token matched"),
        ("pkcs11:object=p256;serial=0", "no token matched"),
        ("pkcs11:object=p256;model=other", "no token matched"),
        ("pkcs11:object=p256;manufacturer=other", "no token matched"),
        ("pkcs11:object=p256", "tokens matched"),
        ("pkcs11:token=model%20keys;object=absent", "no private key matched"),
        ("pkcs11:token=model%20keys;object=p256;id=ed", "no private key matched"),
        ("pkcs11:token=model%20keys;object=twice", "2 private keys matched"),
        ("pkcs11:token=model%20keys;object=lonely", "no public key matched"),
        ("pkcs11:token=model%20keys;object=k1", "none of the curves"),
    ],
)
def test_what_is_not_there(token, reference, said):
    with pytest.raises(KeyUnusable, match=said):
        TokenSigner(f"{reference}?module-path={token}", lambda: PIN)


def test_modules_that_are_none(token, tmp_path, monkeypatch):
    monkeypatch.delenv(tokens.MODULE, raising=False)
    with pytest.raises(KeyUnusable, match="no PKCS#11 module is named"):
        TokenSigner("pkcs11:object=k", lambda: PIN)
    with pytest.raises(KeyServiceFailed, match="no such PKCS#11 module"):
        TokenSigner(f"pkcs11:object=k?module-path={tmp_path}/absent.so", lambda: PIN)
    file = tmp_path / "text.so"
    file.write_text("no library", encoding="ascii")
    with pytest.raises(KeyServiceFailed, match="does not answer"):
        TokenSigner(f"pkcs11:object=k?module-path={file}", lambda: PIN)


def test_a_session_that_ended_is_the_services_failure(token):
    signer = TokenSigner(uri("p256", module_path=token), lambda: PIN)
    tokens._SESSIONS.popitem()[1].close()
    with pytest.raises(KeyServiceFailed, match="does not sign"):
        signer.sign(b"m")


def test_a_signature_by_another_key_is_not_handed_out(token):
    signer = TokenSigner(uri("p256", module_path=token), lambda: PIN)
    signer.public = TokenSigner(uri("p384", module_path=token), None).public
    with pytest.raises(KeyServiceFailed, match="not by the public key"):
        signer.sign(b"m")


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(ExtraMissing, match="python-pkcs11"):
        TokenSigner("pkcs11:object=k", lambda: PIN)


def test_its_repr_names_the_key_alone(token):
    signer = TokenSigner(uri("p256", module_path=token), lambda: PIN)
    assert repr(signer) == "TokenSigner(pkcs11:token=model%20keys;object=p256)"
