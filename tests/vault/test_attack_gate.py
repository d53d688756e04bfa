"""What somebody with a key that counts could get past the gate before MLflow's stages."""

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelward.core.digest import file_digest
from modelward.errors import ContentChanged, PolicyRefused
from modelward.vault.attest.attestation import attest
from modelward.vault.attest.predicates import Release, Scan, ScannedFile
from modelward.vault.keys.signer import LocalSigner
from modelward.vault.mlflow.gate import ATTESTATIONS, FOLDER, SEAL, Gate, GateOptions, unsealed
from modelward.vault.signing.signing import SigningOptions, sign_openssf
from modelward.vault.signing.tree_statement import sign_tree
from modelward.vault.tree.hashing import TreeOptions, hash_tree

SIGNER = LocalSigner(Ed25519PrivateKey.from_private_bytes(b"\x0b" * 32))


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "model.pkl").write_bytes(b"weights")
    return folder


@pytest.fixture
def seal(model):
    """Seal the model with a scan that speaks of the files given: path to digest."""

    def seal(scanned):
        (model / FOLDER / ATTESTATIONS).mkdir(parents=True)
        tree = hash_tree(model, TreeOptions(excluded=unsealed(model)))
        (model / FOLDER / SEAL).write_bytes(sign_tree(tree, [SIGNER], name="m", listed=True))
        files = tuple(
            ScannedFile(path=path, digest=digest, format="pickle", verdict="inert")
            for path, digest in scanned.items()
        )
        scan = Scan(moment=datetime.now(UTC), scanner="modelward", files=files)
        (model / FOLDER / ATTESTATIONS / "scan.json").write_bytes(attest(scan, tree.root, "m", [SIGNER]))

    return seal


@pytest.fixture(params=["", '[scan]\nverdict = "inert"\n'], ids=["no policy", "policy"])
def gate(request, tmp_path):
    (tmp_path / "release.pub").write_bytes(SIGNER.public.pem)
    (tmp_path / "policy.toml").write_text(request.param)
    policy = "policy.toml" if request.param else None
    return Gate(GateOptions(public_keys=("release.pub",), policy=policy), tmp_path)


def digests(model):
    return {path.name: file_digest(path) for path in (model / "MLmodel", model / "model.pkl")}


def test_a_scan_of_these_files_passes(model, seal, gate):
    seal(digests(model))
    assert gate.check(model) == (SIGNER.public.key_id,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda files: {**files, "model.pkl": "sha256:" + "00" * 32}, "model.pkl is another file"),
        (lambda files: {"MLmodel": files["MLmodel"]}, "model.pkl was not scanned"),
        (lambda files: {**files, "other.onnx": files["MLmodel"]}, "other.onnx is not there"),
    ],
    ids=["other bytes", "fewer files", "another file"],
)
def test_a_scan_of_other_bytes_is_refused(model, seal, gate, change, said):
    seal(change(digests(model)))
    with pytest.raises(PolicyRefused, match=said):
        gate.check(model)


def test_what_mlflow_adds_is_one_file(model, seal, gate):
    seal(digests(model))
    (model / "registered_model_meta").write_text("model_name: m\n")
    gate.check(model)


def test_code_in_a_folder_named_like_what_mlflow_adds_is_refused(model, seal, gate):
    seal(digests(model))
    (model / "registered_model_meta").mkdir()
    (model / "registered_model_meta" / "__init__.py").write_text("print()\n")
    with pytest.raises(ContentChanged, match=r"registered_model_meta/__init__\.py: added"):
        gate.check(model)


@pytest.mark.parametrize("place", ["cache/loader.py", ".github/loader.py", ".git/loader.py"])
def test_what_an_openssf_signer_left_out_is_refused(model, tmp_path, gate_alone, place):
    (model / FOLDER).mkdir()
    seal = model / FOLDER / SEAL
    options = SigningOptions(tree=TreeOptions(excluded=(model / "cache", seal)))
    seal.write_bytes(sign_openssf(model, [SIGNER], options))
    assert gate_alone.check(model) == (SIGNER.public.key_id,)
    (model / place).parent.mkdir()
    (model / place).write_text("print()\n")
    with pytest.raises(ContentChanged, match="is there and was not signed"):
        gate_alone.check(model)


@pytest.fixture
def gate_alone(tmp_path):
    (tmp_path / "release.pub").write_bytes(SIGNER.public.pem)
    return Gate(GateOptions(public_keys=("release.pub",)), tmp_path)


def test_what_is_released_to_somebody_is_not_in_a_registry_where_everybody_reads(model, seal, gate):
    seal(digests(model))
    gate.check(model)
    root = hash_tree(model, TreeOptions(excluded=unsealed(model))).root
    limited = attest(Release(recipients=("licensee",)), root, "m", [SIGNER])
    (model / FOLDER / ATTESTATIONS / "release.json").write_bytes(limited)
    with pytest.raises(PolicyRefused, match="opened by everybody"):
        gate.check(model)
