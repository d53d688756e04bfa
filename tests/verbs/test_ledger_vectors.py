"""The vectors of the published log: what is deterministic is made again, byte by byte."""

import base64
import hashlib
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelward.ledger.store import Ledger
from modelward.vault.keys.signer import LocalSigner
from modelward.vault.notes import Trust, parse_key
from modelward.vault.witness import Witness
from modelward.verbs import ledger as verb
from modelward.verbs.ledger_verify import Against, verify

VECTORS = Path(__file__).parents[1] / "vectors" / "seal" / "ledger"
VECTOR = json.loads((VECTORS / "log.json").read_text(encoding="utf-8"))


def signer(seed):
    return LocalSigner(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)))


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_the_vector_of_the_format(tmp_path):
    """Everything is deterministic, so another implementation must make these very bytes."""
    ledger = Ledger.open(tmp_path / "store")
    ledger.append(*VECTOR["records"])
    ledger.close()
    log_signer = signer(VECTOR["log"]["seed"])
    done = verb.export(tmp_path / "store", tmp_path / "log", log_signer, VECTOR["log"]["origin"])
    assert done.key == VECTOR["log"]["key"]
    assert {n: base64.b64encode(d).decode() for n, d in files(tmp_path / "log").items()} == VECTOR["files"]
    witness = Witness(signer(VECTOR["witness"]["seed"]), VECTOR["witness"]["name"], tmp_path / "seen.json")
    key = parse_key(done.key)
    line, note = verb.witness(tmp_path / "log", witness, (key,), VECTOR["witness"]["time"])
    assert line.line() == VECTOR["witness"]["line"]
    assert witness.key.text() == VECTOR["witness"]["key"]
    assert (tmp_path / "seen.json").read_text() == VECTOR["witness"]["state"]
    verb.add_cosignature(tmp_path / "log", line, note)
    assert verb.prove_record(tmp_path / "log", 4).decode() == VECTOR["inclusion"]
    assert verb.prove_since(tmp_path / "log", 3).decode() == VECTOR["consistency"]
    trust = Trust(logs=(key,), witnesses=(witness.key,))
    proof = tmp_path / "proof"
    proof.write_text(VECTOR["inclusion"])
    assert verify(proof, Against(trust=trust), VECTOR["witness"]["time"]).index == 4


def test_the_vector_of_tiles_above_and_of_long_records(tmp_path):
    vector = json.loads((VECTORS / "tiles.json").read_text())
    ledger = Ledger.open(tmp_path / "store")
    long = {vector["long"]["n"]: {"pad": vector["long"]["pad"] * vector["long"]["times"]}}
    ledger.append(*({"n": i} | long.get(i, {}) for i in range(vector["size"])))
    ledger.close()
    done = verb.export(tmp_path / "store", tmp_path / "log", signer(vector["seed"]), vector["origin"])
    assert done.key == vector["key"]
    assert (tmp_path / "log/checkpoint").read_text() == vector["checkpoint"]
    assert {n: hashlib.sha256(d).hexdigest() for n, d in files(tmp_path / "log/tile").items()} == vector[
        "tile"
    ]
