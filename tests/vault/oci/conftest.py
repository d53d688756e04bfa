"""Whoever signs, and a place to write."""

import os
import tempfile
from pathlib import Path

import pytest

from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import LocalSigner


@pytest.fixture
def tmp_path(tmp_path):
    """In memory where there is some: layouts are made durable, which a disk takes its time for."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def key():
    return LocalSigner(asymmetric.generate("ed25519"))
