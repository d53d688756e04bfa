"""Keys in Vault's transit engine, asked over HTTP on loopback by the real client library."""

from __future__ import annotations

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import (
    ExtraMissing,
    KeyServiceFailed,
    KeyUnusable,
    ModelwardError,
    SealDamaged,
    SignatureInvalid,
)
from modelward.vault import dsse
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import Verifier
from modelward.vault.keys.transit import TransitKey, TransitSigner, TransitWrapper, parse_reference

KINDS = ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_signs_and_the_public_key_verifies(vault, kind):
    vault.make("release", kind)
    signer = TransitSigner("vault:transit/release")
    assert signer.public.algorithm == kind
    signature = signer.sign(b"a message")
    Verifier(signer.public.pem).verify(signature, b"a message")
    with pytest.raises(SignatureInvalid):
        signer.public.verify(signature, b"another message")
    assert [path for _, path, _ in vault.asked] == ["/v1/transit/keys/release", "/v1/transit/sign/release"]


def test_the_token_does_not_follow_to_another_place(vault, monkeypatch):
    """The engine would answer; whoever redirects chooses who is asked."""
    target = os.environ["VAULT_ADDR"]

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(307)
            self.send_header("Location", target + self.path)
            self.end_headers()

        def log_message(self, *words):
            del words

    vault.make("release", "ed25519")
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(KeyServiceFailed):
            TransitSigner("vault:transit/release")
        server.shutdown()
    assert vault.asked == []


def test_an_envelope_is_signed(vault):
    vault.make("release", "ecdsa-p384")
    signer = TransitSigner("vault:team/transit/release")
    envelope = dsse.sign(b"{}", [signer])
    signer.public.verify(envelope.signatures[0].sig, envelope.signed_bytes())
    assert envelope.signatures[0].keyid == signer.public.key_id


def test_large_messages_are_hashed_here(vault, monkeypatch):
    vault.make("release", "ecdsa-p256")
    signer = TransitSigner("vault:transit/release")
    message = b"x" * (5 << 20)
    signer.public.verify(signer.sign(message), message)


def test_a_version_is_kept_when_the_key_is_rotated(vault):
    vault.make("release", "ed25519")
    first = TransitSigner("vault:transit/release")
    vault.keys["release"][1].append(vault._new("ed25519"))
    first.public.verify(first.sign(b"m"), b"m")
    second = TransitSigner("vault:transit/release")
    assert second.public.key_id != first.public.key_id
    assert TransitSigner("vault:transit/release?version=1").public.key_id == first.public.key_id
    with pytest.raises(KeyUnusable, match="no version 3"):
        TransitSigner("vault:transit/release?version=3")


def test_the_hint_is_that_of_the_pem(vault):
    vault.make("release", "ed25519")
    raw = vault.keys["release"][1][0].public_key()
    assert TransitSigner("vault:transit/release").public.key_id == asymmetric.key_id(raw)


def test_a_secret_is_wrapped_and_bound_to_its_context(vault):
    vault.make("wrap", "aes256-gcm96", versions=2)
    wrapper = TransitWrapper("vault:transit/wrap")
    wrapped = wrapper.encrypt(b"\x00" * 32, b"container 1")
    assert wrapped.startswith("vault:v2:")
    assert wrapper.decrypt(wrapped, b"container 1") == b"\x00" * 32
    with pytest.raises(SealDamaged, match="does not decrypt"):
        wrapper.decrypt(wrapped, b"container 2")
    older = TransitWrapper("vault:transit/wrap?version=1").encrypt(b"s", b"")
    assert older.startswith("vault:v1:")
    assert wrapper.decrypt(older, b"") == b"s"


def test_every_altered_letter_of_a_wrapped_secret_is_refused(vault):
    vault.make("wrap", "aes256-gcm96")
    wrapper = TransitWrapper("vault:transit/wrap")
    wrapped = wrapper.encrypt(b"secret", b"c")
    for at, letter in enumerate(wrapped):
        other = wrapped[:at] + ("B" if letter != "B" else "C") + wrapped[at + 1 :]
        with pytest.raises(SealDamaged):
            wrapper.decrypt(other, b"c")


@pytest.mark.parametrize(
    "text",
    ["", "vault:v0:AAAAAAAAAAAAAAAAAAAA", "vault:v1:", "vault:v1:A A", "v1:AAAA", "vault:v1:" + "A" * 70000],
)
def test_what_is_no_ciphertext_is_never_sent(vault, text):
    vault.make("wrap", "aes256-gcm96")
    with pytest.raises(SealDamaged, match="of the form"):
        TransitWrapper("vault:transit/wrap").decrypt(text, b"")
    assert vault.asked == []


def test_a_later_version_than_the_server_knows_is_the_services_refusal(vault):
    vault.make("wrap", "aes256-gcm96")
    wrapper = TransitWrapper("vault:transit/wrap")
    wrapped = wrapper.encrypt(b"secret", b"c").replace("vault:v1:", "vault:v7:")
    with pytest.raises(KeyServiceFailed, match="too new"):
        wrapper.decrypt(wrapped, b"c")


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("vault:transit/k", TransitKey(mount="transit", name="k")),
        ("vault:a/b/c/k.1-x?version=12", TransitKey(mount="a/b/c", name="k.1-x", version=12)),
    ],
)
def test_references(reference, key):
    assert parse_reference(reference) == key


@pytest.mark.parametrize(
    "reference",
    ["vault:", "vault:k", "vault:/k", "vault:t/", "vault:t/../k", "vault:../k", "vault:t//k", "vault:t/k?version=0",
     "vault:t/k?version=x", "vault:t/k?token=s", "vault:t/k#1", "vault:t/k\n", "pkcs11:t/k", "vault:t/k%2f", "vault:t/ключ"],
)  # fmt: skip
def test_references_that_are_none(reference):
    with pytest.raises(KeyUnusable, match="not of the form"):
        parse_reference(reference)


@given(st.text(max_size=40).map("vault:".__add__))
def test_any_text_is_a_reference_or_refused(text):
    try:
        key = parse_reference(text)
    except KeyUnusable:
        return
    again = f"vault:{key.mount}/{key.name}" + (f"?version={key.version}" if key.version is not None else "")
    assert again == text
    assert ".." not in [*key.mount.split("/"), key.name]


@pytest.mark.parametrize(
    ("kind", "facts", "said"),
    [
        ("aes256-gcm96", {}, "kind 'aes256-gcm96'"),
        ("ed25519", {"derived": True}, "derived anew"),
    ],
)
def test_keys_that_do_not_sign(vault, kind, facts, said):
    vault.make("k", kind, **facts)
    with pytest.raises(KeyUnusable, match=said):
        TransitSigner("vault:transit/k")


def replaced(**fields):
    return lambda path, answer: {**answer, **fields}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (replaced(keys=None), "which versions"),
        (replaced(latest_version="1"), "which versions"),
        (replaced(keys={"1": {}}), "lacks its public key"),
        (replaced(keys={"1": {"public_key": "@@"}}), "base64"),
        (replaced(type="ecdsa-p256"), "PEM"),
        (lambda path, answer: b"not json", "no data"),
        (lambda path, answer: b"[]", "no data"),
        (lambda path, answer: b'{"data": 3}', "no data"),
    ],
)
def test_answers_that_make_no_sense(vault, spoil, said):
    vault.make("k", "ed25519")
    vault.spoil = spoil
    with pytest.raises((KeyServiceFailed, KeyUnusable), match=said):
        TransitSigner("vault:transit/k")


def test_a_key_of_another_kind_than_said(vault):
    vault.make("k", "ecdsa-p384")
    vault.spoil = replaced(type="ecdsa-p256")
    with pytest.raises(KeyServiceFailed, match="says that the key is ecdsa-p256, but it is ecdsa-p384"):
        TransitSigner("vault:transit/k")


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        ("vault:v1:" + "A" * 88, "not by the public key"),
        ("vault:v2:" + "A" * 88, "none of version 1"),
        ("vault:v1:", "none of version 1"),
        ("vault:v1:" + "A" * 17, "base64"),
        ("", "none of version 1"),
        (7, "lacks its signature"),
    ],
)
def test_a_signature_is_checked_before_it_is_believed(vault, signature, said):
    vault.make("k", "ed25519")
    signer = TransitSigner("vault:transit/k")
    vault.spoil = replaced(signature=signature)
    with pytest.raises(KeyServiceFailed, match=said):
        signer.sign(b"m")


def test_the_server_refuses(vault, monkeypatch):
    with pytest.raises(KeyServiceFailed):
        TransitSigner("vault:transit/absent")
    monkeypatch.setenv("VAULT_TOKEN", "another")
    with pytest.raises(KeyServiceFailed, match="permission denied"):
        TransitSigner("vault:transit/absent")


def test_nobody_answers(vault, monkeypatch):
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    with pytest.raises(KeyServiceFailed, match="cannot be reached"):
        TransitSigner("vault:transit/k")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "does not name"),
        ("ftp://127.0.0.1", "does not name"),
        ("https://", "does not name"),
        ("https://me:secret@host", "holds a name"),
        ("http://vault.example:8200", "in clear"),
    ],
)
def test_addresses_that_are_not_asked(vault, monkeypatch, address, said):
    monkeypatch.setenv("VAULT_ADDR", address)
    with pytest.raises(KeyServiceFailed, match=said) as caught:
        TransitWrapper("vault:transit/k")
    assert "secret" not in str(caught.value)


def test_the_token_may_lie_in_a_file(vault, monkeypatch, tmp_path):
    token = vault.__class__.__init__.__globals__["TOKEN"]
    monkeypatch.delenv("VAULT_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(KeyServiceFailed, match="no token"):
        TransitWrapper("vault:transit/k")
    file = tmp_path / ".vault-token"
    file.write_text(token + "\n", encoding="ascii")
    file.chmod(0o644)
    said = []
    vault.make("k", "ed25519")
    TransitSigner("vault:transit/k", said.append).sign(b"m")
    assert len(said) == 1
    assert "chmod 600" in said[0]
    file.chmod(0o600)
    TransitSigner("vault:transit/k", said.append)
    assert len(said) == 1
    file.write_bytes(b"\xff\x01 \n")
    with pytest.raises(KeyServiceFailed, match="what no token holds"):
        TransitSigner("vault:transit/k")


def test_no_traceback_holds_the_token_or_the_secret(vault, monkeypatch, revealed):
    monkeypatch.setenv("VAULT_TOKEN", "hvs.very-secret-token")
    for act in (
        lambda: TransitSigner("vault:transit/k"),
        lambda: TransitWrapper("vault:transit/k").decrypt("vault:v1:" + "A" * 40, b""),
    ):
        with pytest.raises(KeyServiceFailed) as caught:
            act()
        assert "very-secret" not in revealed(caught.value)
    assert "very-secret" not in repr(TransitWrapper("vault:transit/k"))


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "hvac", None)
    monkeypatch.setenv("VAULT_ADDR", "https://vault.example")
    with pytest.raises(ExtraMissing, match="hvac is not installed"):
        TransitWrapper("vault:transit/k")


def test_every_refusal_is_one_of_ours(vault):
    vault.make("k", "ed25519")
    vault.spoil = lambda path, answer: {"type": [], "keys": {"1": []}, "latest_version": True}
    with pytest.raises(ModelwardError):
        TransitSigner("vault:transit/k")
