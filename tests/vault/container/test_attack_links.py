"""A container whose parts are links: nothing is read from elsewhere, and nothing is written there."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelward.errors import SealRefused
from modelward.vault.container.reading import Container
from modelward.vault.container.writing import SealOptions, seal_folder
from modelward.vault.keys.signer import LocalSigner

SIGNER = LocalSigner(Ed25519PrivateKey.from_private_bytes(b"\x0d" * 32))


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(b"weights")
    seal_folder(tmp_path / "model", tmp_path / "sealed", SealOptions(signers=(SIGNER,)))
    Container.open(tmp_path / "sealed").verify([SIGNER.public])
    return tmp_path / "sealed"


@pytest.mark.parametrize(
    "name", ["signatures", "attestations", "data", "seal.json", "tree.json", "manifest.json"]
)
def test_a_part_that_is_a_link_is_refused_before_anything_is_added(sealed, tmp_path, name):
    part, elsewhere = sealed / name, tmp_path / "elsewhere"
    if part.exists():
        part.rename(elsewhere)
    else:
        elsewhere.mkdir()
    part.symlink_to(elsewhere)
    with pytest.raises(SealRefused):
        Container.open(sealed)


def test_a_container_that_is_itself_behind_a_link_is_one(sealed, tmp_path):
    (tmp_path / "latest").symlink_to(sealed)
    Container.open(tmp_path / "latest").verify([SIGNER.public])
