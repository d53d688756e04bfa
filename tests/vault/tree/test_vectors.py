"""The published vectors: those of the definition, and those that this implementation gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelward.errors import ProofInvalid, SealDamaged
from modelward.vault.tree.hashing import TreeOptions, hash_tree
from modelward.vault.tree.proofs import parse_range, verify_range

HERE = Path(__file__).resolve().parents[2] / "vectors" / "seal" / "tree" / "vectors.json"
VECTORS = json.loads(HERE.read_text(encoding="utf-8"))
LAST = VECTORS["trees"][-1]["files"]
PROOFS = VECTORS["proofs of the last tree"]
EXPECTED = {"proof invalid": ProofInvalid, "damaged": SealDamaged}


def content(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def test_the_file_holds_what_is_known_here():
    """An unknown key would be a vector that nobody checks."""
    assert VECTORS.keys() == {"schema", "content", "trees", "proofs of the last tree"}
    assert VECTORS["schema"] == "modelward.vectors.tree/1"
    assert all(case.keys() == {"name", "files", "sha256", "blake3"} for case in VECTORS["trees"])
    assert all(case.keys() == {"name", "root", "start", "stop", "proof", "expect"} for case in PROOFS)
    assert {case["expect"] for case in PROOFS} == {"success", *EXPECTED}


@pytest.mark.parametrize("case", VECTORS["trees"], ids=lambda case: case["name"])
@pytest.mark.parametrize("algorithm", ["sha256", "blake3"])
def test_trees(case, algorithm, planted, reference):
    files = {path: content(size) for path, size in case["files"]}
    root = f"{algorithm}:{case[algorithm]}"
    assert reference(algorithm, files) == root
    assert hash_tree(planted(files), TreeOptions(algorithm=algorithm)).root == root


@pytest.mark.parametrize("case", PROOFS, ids=lambda case: case["name"])
def test_proofs(case):
    size = dict(LAST)["model-00001.safetensors"]
    data = content(size)[case["start"] : case["stop"]]
    if case["expect"] == "success":
        assert verify_range(parse_range(case["proof"].encode()), case["root"], data) == data
    else:
        with pytest.raises(EXPECTED[case["expect"]]):
            verify_range(parse_range(case["proof"].encode()), case["root"], data)


def test_the_trees_of_the_proofs_are_the_last_one():
    assert {case["root"] for case in PROOFS} >= {
        f"{name}:{VECTORS['trees'][-1][name]}" for name in ("sha256", "blake3")
    }
