"""An independent computation of roots, straight from the definition in docs/formats/tree.md."""

from __future__ import annotations

import hashlib
import struct

import blake3
import pytest

MIB = 1 << 20


def reference_hash(algorithm, data):
    return {"sha256": hashlib.sha256, "blake3": blake3.blake3}[algorithm](data).digest()


def reference_mth(algorithm, leaves):
    """The recursion of RFC 6962, section 2.1, over hashes of leaves."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    left, right = reference_mth(algorithm, leaves[:k]), reference_mth(algorithm, leaves[k:])
    return reference_hash(algorithm, b"\x01" + left + right)


def reference_leaf(algorithm, path, length, index, chunk):
    name = path.encode("utf-8")
    head = struct.pack(">BI", 0, len(name)) + name + struct.pack(">QQ", length, index)
    return reference_hash(algorithm, head + chunk)


def reference_file(algorithm, path, data):
    chunks = [data[at : at + MIB] for at in range(0, len(data), MIB)] or [b""]
    leaves = [reference_leaf(algorithm, path, len(data), i, c) for i, c in enumerate(chunks)]
    return reference_mth(algorithm, leaves)


def reference_tree(algorithm, files):
    """The root over {path: bytes}; JSON is written by hand, for names without anything to escape."""
    leaves = []
    for path in sorted(files, key=lambda p: p.split("/")):
        root = reference_file(algorithm, path, files[path]).hex()
        text = '{"length":%d,"path":"%s","root":"%s"}' % (len(files[path]), path, root)  # noqa: UP031  (braces)
        leaves.append(reference_hash(algorithm, b"\x00" + text.encode("utf-8")))
    return f"{algorithm}:{reference_mth(algorithm, leaves).hex()}"


@pytest.fixture(scope="session")
def reference():
    """Roots from the definition: (algorithm, {path: bytes}) to text."""
    return reference_tree


@pytest.fixture(scope="session")
def file_root():
    """The root of one file from the definition: (algorithm, path, bytes) to 32 bytes."""
    return reference_file


@pytest.fixture
def planted(tmp_path):
    """Write {path: bytes} below a new folder."""

    def plant(files, name="model"):
        top = tmp_path / name
        top.mkdir(exist_ok=True)
        for path, data in files.items():
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_bytes(data)
        return top

    return plant
