"""A second implementation, by docs/formats/container.md alone, opens what is sealed and the container that is kept.

It uses HMAC, HKDF, hashes and AES-GCM in one call; nothing of the container's own code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

import blake3
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelward.vault.container import layout
from modelward.vault.container.reading import Container
from modelward.vault.container.recipients import open_identity
from modelward.vault.keys.signer import Verifier

VECTORS = Path(__file__).parents[2] / "vectors" / "seal" / "container"
HASHES = {
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "blake3": lambda data: blake3.blake3(data).digest(),
}
CHUNK = 1 << 20


def expand(key, info, length):
    block, output, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.new(key, block + info + bytes([counter]), hashlib.sha384).digest()
        output, counter = output + block, counter + 1
    return output[:length]


def floe(key, aad, text):
    parameters = bytes(2) + (CHUNK + 32).to_bytes(4, "big") + (32).to_bytes(4, "big")
    assert text[:10] == parameters
    context = text[:42]
    assert text[42:74] == expand(key, context + b"HEADER_TAG:" + aad, 32)
    message = expand(key, context + b"MESSAGE_KEY:" + aad, 48)
    dek = AESGCM(expand(message, context + b"DEK:" + bytes(8) + aad, 32))
    out, body, position = b"", text[74:], 0
    while True:
        length = int.from_bytes(body[:4], "big")
        last = length != 0xFFFFFFFF
        size = length if last else CHUNK + 32
        out += dek.decrypt(body[4:16], body[16:size], position.to_bytes(8, "big") + bytes([last]))
        body, position = body[size:], position + 1
        if last:
            assert not body
            return out


def tree(hashes, nodes):
    if len(nodes) == 1:
        return nodes[0]
    split = 1 << ((len(nodes) - 1).bit_length() - 1)
    return hashes(b"\x01" + tree(hashes, nodes[:split]) + tree(hashes, nodes[split:]))


def file_root(hashes, path, data):
    name = path.encode()
    prefix = b"\x00" + len(name).to_bytes(4, "big") + name + len(data).to_bytes(8, "big")
    chunks = [data[at : at + CHUNK] for at in range(0, max(len(data), 1), CHUNK)]
    return tree(hashes, [hashes(prefix + i.to_bytes(8, "big") + chunk) for i, chunk in enumerate(chunks)])


def root(hashes, files):
    """Of {path: content}; paths here are ASCII, so that JSON's own order and spelling is the canonical one."""
    leaves = []
    for path in sorted(files, key=lambda path: path.split("/")):
        value = {"length": len(files[path]), "path": path, "root": file_root(hashes, path, files[path]).hex()}
        leaves.append(hashes(b"\x00" + json.dumps(value, separators=(",", ":")).encode()))
    return tree(hashes, leaves)


def opened_by_the_document(where, master):
    header = json.loads((where / "seal.json").read_bytes())
    assert header["format"] == "modelward.seal/1"
    container, name = header["container"], header["hash"]
    hashes = HASHES[name]
    mac = base64.b64decode(header["mac"])
    text = json.dumps(header | {"mac": ""}, separators=(",", ":"), sort_keys=True).encode()
    key = expand(master, f"modelward.seal/1\nheader\n{container}\n".encode(), 32)
    assert mac == hmac.new(key, text, hashlib.sha256).digest()
    key = expand(master, f"modelward.seal/1\nmanifest\n{container}\n".encode(), 32)
    aad = f"modelward.seal/1\nmanifest\n{container}\n{name}\n".encode()
    manifest = json.loads(floe(key, aad, (where / "manifest.floe").read_bytes()))
    files = {}
    for index, record in enumerate(manifest["files"]):
        aad = f"modelward.seal/1\ndata\n{container}\n{name}\n{index}\n".encode()
        stored = (where / "data" / f"{index:08d}").read_bytes()
        data = files[record["path"]] = floe(base64.b64decode(record["key"]), aad, stored)
        assert record["root"] == file_root(hashes, record["path"], data).hex()
        assert record["length"] == len(data)
    assert manifest["root"] == f"{name}:{root(hashes, files).hex()}"
    stored = {
        p.relative_to(where).as_posix(): p.read_bytes() for p in (where / "data").rglob("*") if p.is_file()
    }
    stored["manifest.floe"] = (where / "manifest.floe").read_bytes()
    signed = f"{name}:{root(hashes, stored).hex()}"
    assert json.loads((where / "tree.json").read_bytes())["root"] == signed
    for bundle in (where / "signatures").iterdir():
        envelope = json.loads(bundle.read_bytes())["dsseEnvelope"]
        assert json.loads(base64.b64decode(envelope["payload"]))["predicate"]["root"] == signed
    return files


@pytest.mark.parametrize("algorithm", ["blake3", "sha256"])
def test_a_second_implementation_opens_it(sealed, licensee, content, tmp_path, algorithm):
    where = sealed({"a": 2 * CHUNK + 5, "b/c": b"", "b/d": b"x", "b-e": CHUNK}, algorithm=algorithm)
    master = layout.master_of(Container.open(where).header, [licensee.identity])
    assert opened_by_the_document(where, master) == content(tmp_path / "model")


def test_the_container_that_is_kept_opens_by_both(tmp_path, content):
    """Containers of version 1 are opened for ever: these bytes do not change."""
    expected = json.loads((VECTORS / "expected.json").read_text())
    where = VECTORS / "m.sealed"
    private = tmp_path / "identity.pem"
    private.write_bytes((VECTORS / "identity.pem").read_bytes())
    private.chmod(0o600)
    container = Container.open(where)
    signer = Verifier((VECTORS / "signer.pem").read_bytes())
    assert container.verify([signer]).signers == (signer.key_id,)
    identity = open_identity(str(private), None)
    opened = container.unlock([identity])
    opened.extract(tmp_path / "out")
    plain = {path: text.encode() for path, text in expected["files"].items()}
    assert content(tmp_path / "out") == plain
    assert opened.tree.root == expected["plaintext root"]
    assert container.index.root == expected["signed root"]
    master = layout.master_of(container.header, [identity])
    assert master.hex() == expected["master"]
    assert opened_by_the_document(where, master) == plain


def test_the_plain_container_that_is_kept_verifies(tmp_path, content):
    expected = json.loads((VECTORS / "expected.json").read_text())
    container = Container.open(VECTORS / "plain.sealed")
    container.verify([Verifier((VECTORS / "signer.pem").read_bytes())])
    container.unlock().extract(tmp_path / "out")
    assert content(tmp_path / "out") == {path: text.encode() for path, text in expected["files"].items()}
    assert container.index.root == expected["signed root of the plain one"]
