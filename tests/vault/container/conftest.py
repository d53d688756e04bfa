"""A small model, a vendor who signs, a licensee and a stranger."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace

import pytest

from modelward.vault.container.recipients.hpke import HpkeIdentity, HpkeRecipient
from modelward.vault.container.writing import SealOptions, seal_folder
from modelward.vault.hazmat import asymmetric, kem
from modelward.vault.keys.signer import LocalSigner

MIB = 1 << 20
SMALL = {"config.json": b'{"layers": 2}', "empty": b"", "weights/a.bin": b"abcdefgh"}


def person():
    key = kem.generate("x25519")
    return SimpleNamespace(recipient=HpkeRecipient(kem.public_of(key)), identity=HpkeIdentity(key))


@pytest.fixture
def tmp_path(memory):
    """In memory: what is written here is made durable."""
    return memory


@pytest.fixture(scope="session")
def vendor():
    return LocalSigner(asymmetric.generate("ed25519"))


@pytest.fixture(scope="session")
def cosigner():
    return LocalSigner(asymmetric.generate("ecdsa-p256"))


@pytest.fixture(scope="session")
def licensee():
    return person()


@pytest.fixture(scope="session")
def other():
    return person()


@pytest.fixture(scope="session")
def stranger():
    return person()


@pytest.fixture(scope="session")
def people(vendor, licensee):
    return vendor, licensee


@pytest.fixture
def model(tmp_path):
    """Writes files below a folder: a dict of paths to bytes, or to a number of random bytes."""

    def write(files=SMALL, name="model"):
        folder = tmp_path / name
        shutil.rmtree(folder, ignore_errors=True)
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(os.urandom(content) if isinstance(content, int) else content)
        return folder

    return write


@pytest.fixture
def sealed(tmp_path, model, vendor, licensee, other):
    """Seals files for two recipients, signed by the vendor; gives the container's folder."""

    def seal(files=SMALL, name="m.sealed", **changes):
        wanted = {"recipients": (licensee.recipient, other.recipient), "signers": (vendor,), "replace": True}
        target = tmp_path / name
        seal_folder(model(files), target, SealOptions(**(wanted | changes)))
        return target

    return seal


@pytest.fixture
def content():
    """What lies in a folder: paths to bytes."""

    def read(folder):
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    return read
