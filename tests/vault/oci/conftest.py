"""Whoever signs, and a place to write."""

import pytest

from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import LocalSigner


@pytest.fixture
def tmp_path(memory):
    """In memory: what is written here is made durable."""
    return memory


@pytest.fixture(scope="session")
def key():
    return LocalSigner(asymmetric.generate("ed25519"))
