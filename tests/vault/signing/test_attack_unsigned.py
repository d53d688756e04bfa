"""Files that nobody signed, in a folder that verifies: they are named, or it does not verify."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelward.errors import ContentChanged
from modelward.vault.keys.signer import LocalSigner
from modelward.vault.signing.checking import CheckOptions, check_files
from modelward.vault.signing.signing import SigningOptions, sign_openssf
from modelward.vault.signing.tree_statement import sign_tree
from modelward.vault.signing.verification import verify_bundle
from modelward.vault.tree.hashing import TreeOptions, hash_tree

SIGNER = LocalSigner(Ed25519PrivateKey.from_private_bytes(b"\x0c" * 32))


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture(params=["openssf", "tree"])
def statement(request, model):
    """What was signed, where `cache` was left out if that can be said."""
    if request.param == "openssf":
        options = SigningOptions(tree=TreeOptions(excluded=(model / "cache",)))
        data = sign_openssf(model, [SIGNER], options)
    else:
        data = sign_tree(hash_tree(model), [SIGNER], name="m", listed=True)
    return verify_bundle(data, [SIGNER.public]).statement


def put(model, *names):
    for name in names:
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text("print()\n")


def left_out(statement):
    return "serialization" in statement.predicate


def test_what_the_signer_left_out_is_named_when_it_is_there(model, statement):
    assert check_files(statement, model).unsigned == ()
    put(model, "cache/loader.py", ".github/loader.py", ".gitignore")
    if left_out(statement):
        assert check_files(statement, model).unsigned == (".github", ".gitignore", "cache")
    else:
        with pytest.raises(ContentChanged, match="added"):
            check_files(statement, model)


def test_what_the_caller_leaves_out_is_not_said_again(model, statement):
    put(model, "cache/loader.py")
    options = CheckOptions(tree=TreeOptions(excluded=(model / "cache",)))
    assert check_files(statement, model, options).unsigned == ()


def test_what_the_caller_accepts_is_named(model, statement):
    put(model, "pytorch_model.bin", "sub/modeling.py")
    with pytest.raises(ContentChanged, match="added"):
        check_files(statement, model)
    found = check_files(statement, model, CheckOptions(unsigned=True))
    assert found.unsigned == ("pytorch_model.bin", "sub/modeling.py")
    assert found.files == 1


def test_a_dangling_link_that_was_left_out_is_named(model, statement):
    (model / "cache").symlink_to("nowhere")
    if left_out(statement):
        assert check_files(statement, model).unsigned == ("cache",)


def test_an_empty_file_that_shards_do_not_cover_is_named(model):
    """Whoever stores the model could add an empty module that hides another of its name."""
    options = SigningOptions(method="shards", shard_size=4)
    said = verify_bundle(sign_openssf(model, [SIGNER], options), [SIGNER.public]).statement
    assert check_files(said, model).unsigned == ()
    (model / "safetensors").mkdir()
    (model / "safetensors" / "__init__.py").touch()
    assert check_files(said, model).unsigned == ("safetensors/__init__.py",)
