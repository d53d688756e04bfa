"""Against the reference library, both ways, and against what its older versions wrote."""

import json
from pathlib import Path

import pytest

from modelward.errors import ConfigInvalid, ContentChanged, SignatureInvalid, SignerMissing
from modelward.vault.keys.signer import Verifier
from modelward.vault.signing.checking import CheckOptions, check_files
from modelward.vault.signing.signing import SigningOptions, hash_model, sign_openssf
from modelward.vault.signing.verification import verify_bundle
from modelward.vault.tree.hashing import TreeOptions

ELLIPTIC = ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521"]
TRUSTED = "signing-key-pub.pem"


class Peer:
    """The reference library with keys in files, as it wants them."""

    def __init__(self, folder):
        import model_signing.hashing
        import model_signing.signing
        import model_signing.verifying

        self.hashing = model_signing.hashing
        self._signing, self._verifying = model_signing.signing, model_signing.verifying
        self.folder = folder

    def sign(self, model, sig, *, key="ecdsa-p256", hashing=None):
        config = self._signing.Config().use_elliptic_key_signer(private_key=self.folder / f"{key}.pem")
        if hashing is not None:
            config = config.set_hashing_config(hashing)
        config.sign(model, sig)
        return sig.read_bytes()

    def verify(self, model, sig, *, key="ecdsa-p256"):
        config = self._verifying.Config().use_elliptic_key_verifier(public_key=self.folder / f"{key}.pub")
        config.verify(model, sig)


@pytest.fixture(scope="module")
def peer(signers, tmp_path_factory):
    """Importing it costs half a second."""
    from cryptography.hazmat.primitives import serialization as s

    pytest.importorskip("model_signing", reason="model-signing is not installed")
    pytest.importorskip(
        "OpenSSL", reason="pyOpenSSL, which model-signing forgets to declare, is not installed"
    )
    folder = tmp_path_factory.mktemp("keys")
    for name in ELLIPTIC:
        pem = signers[name]._key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
        (folder / f"{name}.pem").write_bytes(pem)
        (folder / f"{name}.pub").write_bytes(signers[name].public.pem)
    return Peer(folder)


@pytest.mark.parametrize("key", ELLIPTIC)
@pytest.mark.parametrize("algorithm", ["sha256", "blake3"])
def test_ours_is_verified_by_theirs(peer, signers, model, key, algorithm):
    sig = model.parent / "ours.sig"
    sig.write_bytes(sign_openssf(model, [signers[key]], SigningOptions(algorithm=algorithm)))
    peer.verify(model, sig, key=key)
    (model / "config.json").write_bytes(b"[]")
    with pytest.raises(ValueError, match=r"config\.json"):
        peer.verify(model, sig, key=key)


def test_our_shards_are_verified_by_theirs(peer, alice, model, tmp_path):
    """It stumbles over its own, whose size it writes as a number with a point."""
    sig = tmp_path / "ours.sig"
    sig.write_bytes(sign_openssf(model, [alice], SigningOptions(method="shards", shard_size=7)))
    peer.verify(model, sig)


def test_ours_of_one_file_is_verified_by_theirs(peer, alice, model, tmp_path):
    sig = tmp_path / "ours.sig"
    sig.write_bytes(sign_openssf(model / "a.bin", [alice]))
    peer.verify(model / "a.bin", sig)


def test_ours_with_the_signature_inside_is_verified_by_theirs(peer, alice, model):
    sig = model / "model.sig"
    (model / "notes").write_bytes(b"left out")
    (model / ".gitignore").write_bytes(b"left out as well")
    left_out = TreeOptions(excluded=(sig, model / "notes"))
    sig.write_bytes(sign_openssf(model, [alice], SigningOptions(tree=left_out)))
    peer.verify(model, sig)
    checked = check_files(verify_bundle(sig.read_bytes(), [alice.public]).statement, model)
    assert checked.files == 5  # what was left out is written in the statement


def test_ours_with_a_second_signature_is_verified_by_theirs(peer, alice, carol, model, tmp_path):
    sig = tmp_path / "ours.sig"
    sig.write_bytes(sign_openssf(model, [alice, carol]))
    peer.verify(model, sig)


@pytest.mark.parametrize("key", ELLIPTIC)
def test_theirs_is_verified_by_ours(peer, signers, model, tmp_path, key):
    data = peer.sign(model, tmp_path / "theirs.sig", key=key)
    verified = verify_bundle(data, [signers[key].public])
    assert verified.signers == (signers[key].public.key_id,)
    assert check_files(verified.statement, model).files == 5


@pytest.mark.parametrize("algorithm", ["sha256", "blake2", "blake3"])
@pytest.mark.parametrize("method", ["files", "shards"])
def test_what_theirs_writes_ours_verifies(peer, alice, model, algorithm, method):
    """It rejects its own blake2b, and its own shards."""
    config = peer.hashing.Config()
    if method == "files":
        config = config.use_file_serialization(hashing_algorithm=algorithm)
    else:
        config = config.use_shard_serialization(hashing_algorithm=algorithm, shard_size=9)
    sig = model.parent / "theirs.sig"
    data = peer.sign(model, sig, hashing=config)
    verified = verify_bundle(data, [alice.public])
    check_files(verified.statement, model)
    if algorithm != "blake3" and (algorithm, method) != ("sha256", "files"):
        with pytest.raises((ValueError, TypeError)):
            peer.verify(model, sig)
    (model / "deep" / "er" / "weights").write_bytes(bytes(256) * 40)
    with pytest.raises(ContentChanged, match=r"^deep/er/weights: altered$"):
        check_files(verified.statement, model)


@pytest.mark.parametrize("method", ["files", "shards"])
def test_both_libraries_say_the_same(peer, alice, model, payload_of, method):
    config = peer.hashing.Config()
    if method == "shards":
        config = config.use_shard_serialization(shard_size=100)
    theirs = payload_of(peer.sign(model, model.parent / "s", hashing=config))
    ours = payload_of(sign_openssf(model, [alice], SigningOptions(method=method, shard_size=100)))
    for value in (theirs, ours):
        value["predicate"]["serialization"]["ignore_paths"].sort()
    assert ours == theirs


def test_theirs_with_links_is_verified_by_ours(peer, alice, model, tmp_path):
    (model / "link").symlink_to("a.bin")
    config = peer.hashing.Config().set_allow_symlinks(True)
    data = peer.sign(model, tmp_path / "s", hashing=config)
    assert check_files(verify_bundle(data, [alice.public]).statement, model).files == 6


def test_theirs_of_one_file_is_verified_by_ours(peer, alice, model, tmp_path):
    for path in (model / "a.bin", model / "empty"):
        data = peer.sign(path, tmp_path / "s")
        statement = verify_bundle(data, [alice.public]).statement
        assert check_files(statement, path).files == 1
        with pytest.raises(ContentChanged, match="is a folder, and the signature is over one file"):
            check_files(statement, model)


def test_another_key_than_theirs_named(peer, alice, bob, model, tmp_path):
    data = peer.sign(model, tmp_path / "s")
    with pytest.raises(SignerMissing, match=f"others that signed: {alice.public.key_id[:16]}"):
        verify_bundle(data, [bob.public])


def excluded_in(folder):
    return CheckOptions(tree=TreeOptions(excluded=(folder / "model.sig", folder / "ignore-me")))


@pytest.mark.parametrize("version", ["v0.3.1", "v1.0.0", "v1.0.1", "v1.1.0"])
def test_published_signatures_by_key(vectors, version):
    folder = vectors / "openssf" / f"{version}-elliptic-key"
    known = Verifier((vectors / "openssf" / "keys" / TRUSTED).read_bytes())
    assert known.algorithm == "ecdsa-p384"
    verified = verify_bundle((folder / "model.sig").read_bytes(), [known])
    alone = not (folder / "signme-2").exists()
    checked = check_files(verified.statement, folder / "signme-1" if alone else folder, excluded_in(folder))
    assert checked.files == (1 if alone else 2)
    digest = payload_digest(folder / "model.sig")
    assert checked.root == f"sha256:{digest}"


def payload_digest(path):
    from base64 import b64decode

    payload = json.loads(b64decode(json.loads(path.read_bytes())["dsseEnvelope"]["payload"]))
    return payload["subject"][0]["digest"]["sha256"]


@pytest.mark.parametrize("version", ["v0.3.1", "v1.0.0", "v1.0.1", "v1.1.0"])
def test_published_signatures_are_over_their_files_alone(vectors, version, tmp_path):
    folder = vectors / "openssf" / f"{version}-elliptic-key"
    known = Verifier((vectors / "openssf" / "keys" / TRUSTED).read_bytes())
    statement = verify_bundle((folder / "model.sig").read_bytes(), [known]).statement
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "signme-1").write_bytes(b"something else")
    where = tmp_path if (folder / "signme-2").exists() else tmp_path / "signme-1"
    with pytest.raises(ContentChanged, match="altered"):
        check_files(statement, where, excluded_in(tmp_path))


@pytest.mark.parametrize("version", ["v0.2.0", "v0.3.1", "v1.0.0", "v1.0.1", "v1.1.0"])
def test_published_signatures_by_certificate(vectors, version):
    folder = vectors / "openssf" / f"{version}-certificate"
    authority = (vectors / "openssf" / "keys" / "ca-cert.pem").read_bytes()
    verified = verify_bundle((folder / "model.sig").read_bytes(), [], authorities=authority)
    holder = Verifier((vectors / "openssf" / "keys" / TRUSTED).read_bytes())
    assert verified.signers == (holder.key_id,)
    assert check_files(verified.statement, folder, excluded_in(folder)).files == 2


def test_the_earliest_encoding_is_taken_from_its_writer_alone(vectors, rewrite):
    """Version 0.2 signed Python's spelling of the payload; with a key id it is no bundle of that version."""
    folder = vectors / "openssf" / "v0.2.0-certificate"
    known = Verifier((vectors / "openssf" / "keys" / TRUSTED).read_bytes())
    data = (folder / "model.sig").read_bytes()
    assert verify_bundle(data, [known]).signers == (known.key_id,)
    named = rewrite(data, lambda b: b["dsseEnvelope"]["signatures"][0].update(keyid=known.key_id))
    with pytest.raises(SignatureInvalid):
        verify_bundle(named, [known])


def test_shards_by_blake3_are_not_written(model):
    with pytest.raises(ConfigInvalid, match="no shards by BLAKE3"):
        hash_model(model, SigningOptions(method="shards", algorithm="blake3"))


def test_their_command_verifies_ours(peer, alice, model, tmp_path):
    from click.testing import CliRunner
    from model_signing._cli import main

    sig = model / "model.sig"
    sig.write_bytes(sign_openssf(model, [alice], SigningOptions(tree=TreeOptions(excluded=(sig,)))))
    arguments = [
        "verify", "key", str(model), "--signature", str(sig), "--public_key", str(peer.folder / "ecdsa-p256.pub")
    ]  # fmt: skip
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 0, answer.output
    Path(model / "added").write_bytes(b"")
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 1
    assert "added" in answer.output
