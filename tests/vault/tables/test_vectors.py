"""The published vectors, checked against the code and against hashlib alone."""

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from modelward.core.canonical import canonical
from modelward.vault.tables.manifest import GroupProof, decode, encode, manifest, verify_group

FOLDER = Path(__file__).parents[2] / "vectors" / "seal" / "tables"


@pytest.fixture(scope="module")
def vector():
    return json.loads((FOLDER / "five.json").read_text(encoding="utf-8"))


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def test_the_file_has_the_published_manifest(vector):
    pinned = decode(vector["manifest"])
    assert encode(manifest(FOLDER / "five.arrow", pinned.options)) == vector["manifest"]


def test_the_published_rows_lead_to_the_published_root(vector):
    digests = [hashlib.sha256(bytes.fromhex(row)).digest() for row in vector["rows"]]
    roots = [node(digests[0], digests[1]), node(digests[2], digests[3]), digests[4]]
    assert vector["manifest"]["groups"] == [[2, roots[0].hex()], [2, roots[1].hex()], [1, roots[2].hex()]]
    columns = hashlib.sha256(canonical(vector["manifest"]["columns"])).hexdigest()
    leaves = [
        hashlib.sha256(
            b"\0"
            + canonical(
                {"columns": columns, "first": 2 * place, "root": root.hex(), "rows": (2, 2, 1)[place]}
            )
        ).digest()
        for place, root in enumerate(roots)
    ]
    assert vector["manifest"]["root"] == "sha256:" + node(node(leaves[0], leaves[1]), leaves[2]).hex()
    assert vector["proof"]["path"] == [node(leaves[0], leaves[1]).hex()]


def test_the_published_proof_holds(vector):
    proof, pinned = msgspec.convert(vector["proof"], GroupProof), decode(vector["manifest"])
    verify_group(FOLDER / "five.arrow", proof, pinned.root, pinned.options)
