"""The vectors that docs/formats/signature.md names: what they say, and that the first ones come out again."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from modelward.errors import SealDamaged, SignatureInvalid
from modelward.vault.keys.signer import LocalSigner, Verifier
from modelward.vault.signing.checking import check_files
from modelward.vault.signing.signing import SigningOptions, sign_openssf
from modelward.vault.signing.tree_statement import sign_tree
from modelward.vault.signing.verification import verify_bundle
from modelward.vault.tree.hashing import TreeOptions, hash_tree


@pytest.fixture
def own(vectors):
    return vectors / "own"


def key(own, name):
    return Verifier((own / "keys" / f"{name}.pub").read_bytes())


@pytest.fixture
def signer():
    """The Ed25519 key whose secret is the bytes 0 to 31: of no use but for vectors."""
    return LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


@pytest.mark.parametrize(
    ("name", "keys", "root"),
    [
        ("files-sha256", ["ed25519"], "sha256"),
        ("files-blake3", ["ed25519"], "sha256"),
        ("files-blake2b", ["ed25519"], "sha256"),
        ("shards-sha256", ["ed25519"], "sha256"),
        ("two-signers", ["ecdsa-p256", "ed25519"], "sha256"),
        ("post-quantum", ["ecdsa-p256", "ml-dsa-65"], "sha256"),
        ("tree-sha256", ["ed25519"], "sha256"),
        ("tree-blake3", ["ed25519"], "blake3"),
    ],
)
def test_accepted(own, name, keys, root):
    known = [key(own, each) for each in keys]
    verified = verify_bundle((own / f"{name}.sig").read_bytes(), known, threshold=len(known))
    assert check_files(verified.statement, own / "model").root.startswith(root)


def test_one_file(own):
    verified = verify_bundle((own / "one-file.sig").read_bytes(), [key(own, "ed25519")])
    assert check_files(verified.statement, own / "model" / "a.txt").bytes == 11


def test_they_come_out_again(own, signer):
    """Ed25519 draws no random number, and the statement is canonical."""
    model = own / "model"
    made = {
        "files-sha256": sign_openssf(model, [signer]),
        "files-blake3": sign_openssf(model, [signer], SigningOptions(algorithm="blake3")),
        "files-blake2b": sign_openssf(model, [signer], SigningOptions(algorithm="blake2b")),
        "shards-sha256": sign_openssf(model, [signer], SigningOptions(method="shards", shard_size=4)),
        "one-file": sign_openssf(model / "a.txt", [signer]),
        "tree-sha256": sign_tree(hash_tree(model), [signer], name="model", listed=True),
        "tree-blake3": sign_tree(hash_tree(model, TreeOptions(algorithm="blake3")), [signer], name="model"),
    }
    for name, data in made.items():
        assert data == (own / f"{name}.sig").read_bytes(), name


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("out-of-order", "out of order"),
        ("listed-twice", "listed twice"),
        ("leaves-the-model", "unsafe path"),
        ("absolute", "unsafe path"),
        ("folding-names", "may name one file"),
        ("short-digest", "not 64"),
        ("unknown-algorithm", "hashes by 'md5'"),
        ("subject-of-others", "not that of the resources"),
        ("other-predicate", "does not say what files"),
        ("no-files", "lists no file"),
    ],
)
def test_signed_and_refused(own, name, sentence):
    verified = verify_bundle((own / "refused" / f"{name}.sig").read_bytes(), [key(own, "ed25519")])
    with pytest.raises(SealDamaged, match=sentence):
        check_files(verified.statement, own / "model")


def test_a_bad_signature(own):
    with pytest.raises(SignatureInvalid):
        verify_bundle((own / "refused" / "bad-signature.sig").read_bytes(), [key(own, "ed25519")])


def test_every_vector_is_used(own):
    text = (own.parents[4] / "docs" / "formats" / "signature.md").read_text(encoding="utf-8")
    for file in [*own.glob("*.sig"), *own.glob("refused/*.sig")]:
        assert f"`{file.stem}`" in text, file.name
