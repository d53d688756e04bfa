"""Roots are those of the definition, whatever the threads; a file that changes is refused."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import blake3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.errors import ContentUnstable, FileMissing
from modelward.vault.tree.entries import tree_of
from modelward.vault.tree.hashing import TreeOptions, hash_files, hash_shards, hash_tree
from modelward.vault.tree.leaves import FileHasher, Leaves, chunks_in
from modelward.vault.tree.walk import WalkOptions

MIB = 1 << 20
NAMES = st.text(st.sampled_from("abcxyz-_0"), min_size=1, max_size=4)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def some(size, seed=1):
    return hashlib.shake_128(b"%d" % seed).digest(size)


@pytest.mark.parametrize("algorithm", ["sha256", "blake3"])
@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 7, 17 * MIB + 5])
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_file_of_any_size(algorithm, size, jobs, planted, reference):
    files = {"weights.bin": some(size), "z/config.json": b"{}"}
    top = planted(files)
    tree = hash_tree(top, TreeOptions(algorithm=algorithm, jobs=jobs))
    assert tree.root == reference(algorithm, files)
    assert [(entry.path, entry.length) for entry in tree.entries] == [
        ("weights.bin", size),
        ("z/config.json", 2),
    ]
    assert tree.length == size + 2
    assert tree.digest == {algorithm: tree.root.split(":")[1]}
