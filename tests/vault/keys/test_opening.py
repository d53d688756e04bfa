"""Keys in files and variables: encrypted, in clear, readable by others, broken; and where passphrases come from."""

from __future__ import annotations

import logging

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import FileMissing, KeyUnusable
from modelward.vault.hazmat import asymmetric, kem
from modelward.vault.keys.opening import open_signer, read_private_pem
from modelward.vault.keys.secrets import VARIABLE, passphrase_from, read_secret_file, shielded
from modelward.vault.keys.signer import Verifier

PASSPHRASE = b"correct horse battery staple"
KEY = asymmetric.generate("ed25519")
PEM = asymmetric.private_pem(KEY, PASSPHRASE)


def in_clear(key, form=serialization.PrivateFormat.PKCS8):
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def put(path, data, mode=0o600):
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("algorithm", asymmetric.ALGORITHMS)
def test_an_encrypted_file_signs(tmp_path, algorithm):
    key, said = asymmetric.generate(algorithm), []
    file = put(tmp_path / "k.pem", asymmetric.private_pem(key, PASSPHRASE))
    signer = open_signer(file, lambda: PASSPHRASE, warn=said.append)
    Verifier(asymmetric.public_pem(key)).verify(signer.sign(b"m"), b"m")
    assert signer.public.algorithm == algorithm
    assert said == []


@pytest.mark.parametrize(
    "form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL]
)
def test_a_key_in_clear_is_accepted_with_a_warning(tmp_path, form):
    key, said = ec.generate_private_key(ec.SECP256R1()), []
    file = put(tmp_path / "k.pem", in_clear(key, form))
    signer = open_signer(file, lambda: pytest.fail("nobody needs to be asked"), warn=said.append)
    signer.public.verify(signer.sign(b"m"), b"m")
    assert len(said) == 1
    assert "in clear" in said[0]


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1), (0o644, 1), (0o620, 0)]
)
def test_a_file_that_others_read_is_warned_of(tmp_path, mode, warned):
    said = []
    open_signer(put(tmp_path / "k.pem", PEM, mode), lambda: PASSPHRASE, warn=said.append)
    assert len(said) == warned
    assert all("chmod 600" in sentence for sentence in said)


def test_a_variable_signs(monkeypatch):
    monkeypatch.setenv("SIGNING_KEY", PEM.decode())
    signer = open_signer("env:SIGNING_KEY", lambda: PASSPHRASE)
    assert signer.public.key_id == asymmetric.key_id(KEY)


@pytest.mark.parametrize("name", ["ABSENT_KEY", "", "A B", "1A", "É", "A=B", "X" * 200])
def test_variables_that_are_none(name):
    with pytest.raises(KeyUnusable, match="no environment variable"):
        open_signer(f"env:{name}", None)


def test_an_encrypted_key_by_another_program(tmp_path):
    """RFC 1423's encryption, which older programs write."""
    key = ec.generate_private_key(ec.SECP384R1())
    old = serialization.PrivateFormat.TraditionalOpenSSL
    pem = key.private_bytes(
        serialization.Encoding.PEM, old, serialization.BestAvailableEncryption(PASSPHRASE)
    )
    assert kem.is_encrypted(pem)
    assert open_signer(put(tmp_path / "k", pem), lambda: PASSPHRASE).public.algorithm == "ecdsa-p384"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no private key in PEM"),
        (b"\xff\x00" * 50, "no private key in PEM"),
        (asymmetric.public_pem(KEY), "k: is a public key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\n", "no private key in PEM"),
        (in_clear(ed448.Ed448PrivateKey.generate()), "does not sign here"),
        (
            in_clear(x25519.X25519PrivateKey.generate()),
            "k: this is a recipient's key: it opens, and does not sign$",
        ),
        (in_clear(rsa.generate_private_key(65537, 2048)), "does not sign here"),
        (in_clear(ec.generate_private_key(ec.SECP256K1())), "is not one of"),
        (b"x" * (1 << 20) + b"y", "larger than"),
    ],
)
def test_files_that_hold_no_signing_key(tmp_path, data, said):
    with pytest.raises(KeyUnusable, match=said):
        open_signer(put(tmp_path / "k", data), lambda: PASSPHRASE)


def test_the_public_half_is_not_warned_of_and_the_private_one_is_named(tmp_path):
    path, said = put(tmp_path / "k.pem.pub", asymmetric.public_pem(KEY)), []
    (tmp_path / "k.pem.pub").chmod(0o644)
    with pytest.raises(KeyUnusable, match="is a public key") as caught:
        open_signer(path, None, warn=said.append)
    assert caught.value.advice == f"Give the private one, such as {tmp_path / 'k.pem'}."
    assert said == []


def test_no_such_file(tmp_path):
    with pytest.raises(FileMissing, match="cannot be read"):
        open_signer(str(tmp_path / "absent"), None)
    with pytest.raises(FileMissing, match="cannot be read"):
        open_signer(str(tmp_path), None)


def test_a_file_named_like_a_reference_is_reached_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "env:KEY", PEM)
    assert open_signer("./env:KEY", lambda: PASSPHRASE).public.key_id == asymmetric.key_id(KEY)


def test_sigstore_is_no_key():
    with pytest.raises(KeyUnusable, match="without a key"):
        open_signer("sigstore:", None)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (None, "no passphrase was given"),
        (lambda: b"", "empty"),
        (lambda: b"wrong", "k: .*passphrase is wrong"),
    ],
)
def test_passphrases_that_do_not_open_it(tmp_path, ask, said):
    with pytest.raises(KeyUnusable, match=said):
        open_signer(put(tmp_path / "k", PEM), ask)


SECRET = "an-unmistakable-secret"  # noqa: S105 (of nothing)


@pytest.mark.parametrize("spoilt", ["passphrase", "pem", "both"])
def test_a_crash_report_holds_no_secret(tmp_path, revealed, spoilt, caplog):
    """Even one that records the variables of every frame."""
    caplog.set_level(logging.DEBUG)
    pem = PEM if spoilt == "passphrase" else PEM.replace(b"\nMI", f"\n{SECRET}\nMI".encode(), 1)
    secret = SECRET.encode() if spoilt != "pem" else PASSPHRASE
    file = put(tmp_path / "k", pem)
    with pytest.raises(KeyUnusable) as caught:
        open_signer(file, lambda: secret)
    shown = revealed(caught.value) + caplog.text
    assert SECRET not in shown
    assert PASSPHRASE.decode() not in shown
    assert pem.splitlines()[3].decode() not in shown
    assert caught.value.__context__ is None


def test_a_clear_key_that_is_broken_is_not_in_the_report(tmp_path, revealed):
    lines = in_clear(KEY).splitlines(keepends=True)
    file = put(tmp_path / "k", lines[0] + lines[1][:-9] + b"\n" + lines[2])
    with pytest.raises(KeyUnusable) as caught:
        open_signer(file, None)
    assert lines[1][:-9].decode() not in revealed(caught.value)


def test_reprs_name_the_key_alone(tmp_path):
    signer = open_signer(put(tmp_path / "k", PEM), lambda: PASSPHRASE)
    assert repr(signer) == f"LocalSigner({signer.public.key_id[:16]})"


def test_what_shields_passes_results_and_other_errors():
    assert shielded(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        shielded(lambda: 1 // 0)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "k")
        file.write_bytes(b"-----BEGIN PRIVATE KEY-----\n" + data + b"\n-----END PRIVATE KEY-----\n")
        with pytest.raises(KeyUnusable):
            open_signer(str(file), lambda: PASSPHRASE)


def test_where_passphrases_come_from(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    said = []
    file = tmp_path / "pass"
    put(file, b"from the file\r\nand a second line\n", 0o644)
    assert passphrase_from(None, None, said.append) is None
    assert passphrase_from(None, lambda: b"asked", said.append)() == b"asked"
    monkeypatch.setenv(VARIABLE, "from the environment é")
    assert passphrase_from(None, lambda: b"asked", said.append)() == "from the environment é".encode()
    assert passphrase_from(file, lambda: b"asked", said.append)() == b"from the file"
    assert len(said) == 1


@pytest.mark.parametrize("data", [b"", b"\n", b"\nsecond"])
def test_an_empty_passphrase_file(tmp_path, data):
    file = tmp_path / "pass"
    put(file, data)
    with pytest.raises(KeyUnusable, match="empty"):
        passphrase_from(file, None, lambda _: None)()


def test_a_passphrase_from_a_pipe_is_not_warned_of():
    import os
    from pathlib import Path

    read, write = os.pipe()
    os.write(write, b"secret\n")
    os.close(write)
    said = []
    assert read_secret_file(Path(f"/dev/fd/{read}"), said.append) == b"secret\n"
    os.close(read)
    assert said == []


def test_the_pem_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNING_KEY", PEM.decode())
    assert read_private_pem("env:SIGNING_KEY") == read_private_pem(put(tmp_path / "k", PEM)) == PEM
