"""A second reader, by docs/formats alone: from a recipient's key to the plaintext, from a log's key to the records.

Nothing of src is used to read: hashes, HMAC, AES-GCM in one call, X25519 and Argon2id, verification of signatures,
and canonical JSON are other people's. Trees by their recursive definition, proofs as RFC 9162 verifies them.
"""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import blake3
import pytest
import rfc8785
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

import modelward
from modelward.ledger.store import Ledger
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys.signer import LocalSigner
from modelward.vault.notes import parse_key
from modelward.vault.witness import Witness
from modelward.verbs import ledger as verb
from modelward.verbs.talk import Talk

VECTORS = Path(__file__).parents[1] / "vectors" / "seal"
MIB = 1 << 20
SEGMENT = MIB + 32
PHRASE = b"correct horse battery staple"
IN_TOTO = b"application/vnd.in-toto+json"


def sha256(data):
    return hashlib.sha256(data).digest()


HASHES = {"sha256": sha256, "blake3": lambda data: blake3.blake3(data).digest()}


def parsed(data):
    """JSON; a whole number of 2^53 or more was written from a float."""
    return json.loads(data, parse_int=lambda text: int(text) if abs(int(text)) < 2**53 else float(text))


def document(data):
    value = parsed(data)
    assert rfc8785.dumps(value) == data
    return value


def u16(number):
    return number.to_bytes(2, "big")


def u32(number):
    return number.to_bytes(4, "big")


def u64(number):
    return number.to_bytes(8, "big")


# tree.md


def merkle(h, leaves):
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return h(b"\x01" + merkle(h, leaves[:split]) + merkle(h, leaves[split:]))


def leaf(h, path, length, index, chunk):
    name = path.encode()
    return h(b"\x00" + u32(len(name)) + name + u64(length) + u64(index) + chunk)


def chunks(data):
    return [data[at : at + MIB] for at in range(0, max(1, len(data)), MIB)]


def entry(h, path, data):
    leaves = [leaf(h, path, len(data), i, chunk) for i, chunk in enumerate(chunks(data))]
    return {"length": len(data), "path": path, "root": merkle(h, leaves).hex()}


def root(name, entries):
    assert [e["path"] for e in entries] == sorted(
        (e["path"] for e in entries), key=lambda path: path.split("/")
    )
    h = HASHES[name]
    return f"{name}:" + merkle(h, [h(b"\x00" + rfc8785.dumps(e)) for e in entries]).hex()


# signature.md


def verify(pem, signature, message):
    key = serialization.load_pem_public_key(pem)
    if isinstance(key, ec.EllipticCurvePublicKey):
        names = {256: hashes.SHA256, 384: hashes.SHA384, 521: hashes.SHA512}
        key.verify(signature, message, ec.ECDSA(names[key.curve.key_size]()))
    else:
        key.verify(signature, message)


def statement(data, pems):
    """The statement of a bundle, and the ids of the known keys that signed it."""
    bundle = json.loads(data)
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    message = b"DSSEv1 %d %s %d %s" % (len(IN_TOTO), IN_TOTO, len(payload), payload)
    known = {hashlib.sha256(pem).hexdigest(): pem for pem in pems}
    signed = {one["keyid"] for one in envelope["signatures"]} & known.keys()
    for one in envelope["signatures"]:
        if one["keyid"] in known:
            verify(known[one["keyid"]], base64.b64decode(one["sig"]), message)
    assert bundle["verificationMaterial"]["publicKey"]["hint"] == envelope["signatures"][0]["keyid"]
    return parsed(payload), signed


# recipients.md


def expand(name, key, info, length):
    block, out, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.new(key, block + info + bytes([counter]), name).digest()
        out, counter = out + block, counter + 1
    return out[:length]


def hpke_open(secret, wrapped, info):
    """RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, one message."""
    kem, suite = b"KEM" + u16(0x20), b"HPKE" + u16(0x20) + u16(1) + u16(2)

    def extracted(of, salt, label, material):
        return hmac.new(salt or bytes(32), b"HPKE-v1" + of + label + material, "sha256").digest()

    def expanded(of, key, label, context, length):
        return expand("sha256", key, u16(length) + b"HPKE-v1" + of + label + context, length)

    sent, ciphertext = wrapped[:32], wrapped[32:]
    shared = secret.exchange(x25519.X25519PublicKey.from_public_bytes(sent))
    both = sent + secret.public_key().public_bytes_raw()
    shared = expanded(kem, extracted(kem, b"", b"eae_prk", shared), b"shared_secret", both, 32)
    context = b"\x00" + extracted(suite, b"", b"psk_id_hash", b"") + extracted(suite, b"", b"info_hash", info)
    key = extracted(suite, shared, b"secret", b"")
    nonce = expanded(suite, key, b"base_nonce", context, 12)
    return AESGCM(expanded(suite, key, b"key", context, 32)).decrypt(nonce, ciphertext, b"")


def master(header, identity):
    """The container's master key, by a recipient's secret key or a passphrase."""
    where = bytes.fromhex(header["container"])
    for stanza in header["recipients"]:
        bound = b"modelward.seal/1 recipient " + stanza["kind"].encode() + b"\x00" + where
        wrapped = base64.b64decode(stanza["wrapped"])
        if stanza["kind"] == "x25519" and not isinstance(identity, bytes):
            assert stanza["key"] == hashlib.sha256(public_pem(identity)).hexdigest()
            return hpke_open(identity, wrapped, bound)
        if stanza["kind"] == "passphrase" and isinstance(identity, bytes):
            salt = base64.b64decode(stanza["salt"])
            cost = {"iterations": stanza["passes"], "lanes": stanza["lanes"], "memory_cost": stanza["memory"]}
            made = Argon2id(salt=salt, length=44, **cost).derive(identity)
            return AESGCM(made[:32]).decrypt(made[32:], wrapped, bound)
    raise AssertionError("no recipient")


def public_pem(key):
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, spki)


# container.md


def floe(key, aad, data):
    """The segments of a ciphertext."""
    context = data[:42]
    assert data[:10] == b"\x00\x00" + u32(SEGMENT) + u32(32)
    assert data[42:74] == expand("sha384", key, context + b"HEADER_TAG:" + aad, 32)
    message = expand("sha384", key, context + b"MESSAGE_KEY:" + aad, 48)
    body = [data[at : at + SEGMENT] for at in range(74, len(data), SEGMENT)]
    for index, segment in enumerate(body):
        last = index == len(body) - 1
        assert segment[:4] == (u32(len(segment)) if last else b"\xff" * 4)
        place = u64(index >> 20 << 20)
        aes = AESGCM(expand("sha384", message, context + b"DEK:" + place + aad, 32))
        yield aes.decrypt(segment[4:16], segment[16:], u64(index) + bytes([last]))


def stored(where, manifest):
    """What storage holds, without any key: path to content."""
    held = {p.relative_to(where).as_posix(): p.read_bytes() for p in where.rglob("*") if p.is_file()}
    return {path: data for path, data in held.items() if path == manifest or path.startswith("data/")}


def checked(where, pems):
    """Header and manifest's file of a container that all of these keys signed and that storage kept whole."""
    header = document((where / "seal.json").read_bytes())
    assert header["format"] == "modelward.seal/1"
    manifest = "manifest.json" if header["encryption"] == "none" else "manifest.floe"
    h, held = HASHES[header["hash"]], stored(where, manifest)
    entries = sorted(
        (entry(h, path, data) for path, data in held.items()), key=lambda e: e["path"].split("/")
    )
    tree = {"algorithm": header["hash"], "entries": entries, "root": root(header["hash"], entries)}
    assert document((where / "tree.json").read_bytes()) == tree
    signers = set()
    for path in (where / "signatures").iterdir():
        said, signed = statement(path.read_bytes(), pems)
        signers |= signed
        assert said["predicateType"] == "https://modelward.dev/tree/v1"
        assert [subject["digest"] for subject in said["subject"]] == [dict([tree["root"].split(":")])]
        assert said["predicate"] == {
            "algorithm": header["hash"],
            "root": tree["root"],
            "files": len(entries),
            "bytes": sum(one["length"] for one in entries),
            "container": {
                "encryption": header["encryption"],
                "format": "modelward.seal/1",
                "id": header["container"],
                "manifest": next(one["root"] for one in entries if one["path"] == manifest),
            },
        }
    assert len(signers) == len(pems)
    return header, held[manifest]


def opened(where, pems, identity=None):
    """Path to plaintext."""
    header, raw = checked(where, pems)
    name, container = header["hash"], header["container"]
    secret = header["encryption"] != "none"

    def derived(purpose):
        return expand("sha384", key, f"modelward.seal/1\n{purpose}\n{container}\n".encode(), 32)

    def bound(*parts):
        return "".join(f"{p}\n" for p in ("modelward.seal/1", parts[0], container, name, *parts[1:])).encode()

    if secret:
        key = master(header, identity)
        text = rfc8785.dumps(header | {"mac": ""})
        assert base64.b64decode(header["mac"]) == hmac.new(derived("header"), text, "sha256").digest()
        raw = b"".join(floe(derived("manifest"), bound("manifest"), raw))
    manifest, h, files = document(raw), HASHES[name], {}
    assert manifest.keys() == {"container", "files", "format", "hash", "root"}
    assert (manifest["container"], manifest["format"], manifest["hash"]) == (
        container,
        header["format"],
        name,
    )
    for index, file in enumerate(manifest["files"]):
        path = where / "data" / (f"{index:08d}" if secret else file["path"])
        if secret:
            parts = list(floe(base64.b64decode(file["key"]), bound("data", index), path.read_bytes()))
        else:
            parts = chunks(path.read_bytes())
        leaves = [leaf(h, file["path"], file["length"], i, part) for i, part in enumerate(parts)]
        assert ("leaves" in file) == (len(parts) > 1)
        assert b"".join(leaves) == base64.b64decode(file.get("leaves", "")) or len(parts) == 1
        assert merkle(h, leaves).hex() == file["root"]
        files[file["path"]] = b"".join(parts)
    assert manifest["root"] == root(name, [entry(h, path, data) for path, data in files.items()])
    return files


# attestation.md


def attestation(data, pems, sealed):
    """The statement of an attestation, which has one spelling."""
    said, signed = statement(data, pems)
    bundle = json.loads(data)
    signatures = [{"sig": one["sig"], "keyid": one["keyid"]} for one in bundle["dsseEnvelope"]["signatures"]]
    spelled = {
        "mediaType": bundle["mediaType"],
        "verificationMaterial": {"publicKey": {"hint": signatures[0]["keyid"]}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": bundle["dsseEnvelope"]["payload"],
            "payloadType": IN_TOTO.decode(),
            "signatures": signatures,
        },
    }
    assert data == (json.dumps(spelled, indent=1) + "\n").encode()
    assert signed
    assert [subject["digest"] for subject in said["subject"]] == [dict([sealed.split(":")])]
    return said


# log.md


def climbed(node, index, size, path):
    """RFC 9162, section 2.1.3.2."""
    place, last = index, size - 1
    for sibling in path:
        assert last
        if place & 1 or place == last:
            node = sha256(b"\x01" + sibling + node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = sha256(b"\x01" + node + sibling)
        place, last = place >> 1, last >> 1
    assert not last
    return node


def continues(old, new, path):
    """RFC 9162, section 2.1.4.2; the older log is smaller and not empty."""
    (first, before), (second, after) = old, new
    path = path if first & (first - 1) else [before, *path]
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    one = two = path[0]
    for sibling in path[1:]:
        assert last
        if place & 1 or place == last:
            one, two = sha256(b"\x01" + sibling + one), sha256(b"\x01" + sibling + two)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            two = sha256(b"\x01" + two + sibling)
        place, last = place >> 1, last >> 1
    return (one, two, last) == (before, after, 0)


def checkpoint(data, log, witness=None):
    """Size, root and the witness's time; `log` and `witness` are keys as they are written."""
    text, _, lines = data.decode().partition("\n\n")
    origin, size, top = text.split("\n")
    found = {}
    for written in filter(None, (log, witness)):
        name, ident, material = written.split("+", 2)
        kind, public = base64.b64decode(material)[:1], base64.b64decode(material)[1:]
        assert hashlib.sha256(name.encode() + b"\n" + kind + public).hexdigest()[:8] == ident
        for line in lines.splitlines():
            dash, by, value = line.split(" ")
            value = base64.b64decode(value)
            if (dash, by, value[:4].hex()) == ("\u2014", name, ident):
                time = int.from_bytes(value[4:-64], "big")
                said = b"cosignature/v1\ntime %d\n" % time if kind == b"\x04" else b""
                key = ed25519.Ed25519PublicKey.from_public_bytes(public)
                key.verify(value[-64:], said + text.encode() + b"\n")
                found[kind] = time
    assert origin == log.split("+")[0]
    assert len(found) == 1 + (witness is not None)
    return int(size), base64.b64decode(top), found.get(b"\x04")


def tile(log, kind, index, width):
    """One tile or bundle of a log of fewer than 256,000 records; null where there is none."""
    names = [f"{index:03d}.p/{width}", f"{index:03d}"]
    paths = [log / "tile" / str(kind) / name for name in (names if width < 256 else names[1:])]
    return next((path.read_bytes() for path in paths if path.is_file()), None)


def entries(bundle, prefix):
    found, at = [], 0
    while at < len(bundle):
        length = int.from_bytes(bundle[at : at + prefix], "big")
        found.append(bundle[at + prefix : at + prefix + length])
        at += prefix + length
    return found


def records(log, key, witness=None):
    """Every record of a published log, and the time of its witness."""
    size, top, time = checkpoint((log / "checkpoint").read_bytes(), key, witness)
    found, full = [], []
    for index in range(-(-size // 256)):
        width = min(256, size - 256 * index)
        short = tile(log, "entries", index, width)
        got = entries(short, 2) if short is not None else entries(tile(log, "records", index, width), 4)
        leaves = [sha256(b"\x00" + one) for one in got[:width]]
        assert tile(log, 0, index, width)[: 32 * width] == b"".join(leaves)
        found += got[:width]
        full += [merkle(sha256, leaves)] * (width == 256)
    assert not full or tile(log, 1, 0, len(full)) == b"".join(full)
    assert merkle(sha256, [sha256(b"\x00" + one) for one in found]) == top
    return found, time


def proof_of_record(data, key):
    """Index and record."""
    head, _, note = data.partition(b"\n\n")
    version, extra, index, *path = head.decode().split("\n")
    assert version == "c2sp.org/tlog-proof@v1"
    size, top, _ = checkpoint(note, key)
    place, record = int(index.removeprefix("index ")), base64.b64decode(extra.removeprefix("extra "))
    assert climbed(sha256(b"\x00" + record), place, size, [base64.b64decode(one) for one in path]) == top
    return place, record


# What this implementation writes is read.


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A private signing key's path and its public PEM, by algorithm."""
    folder = tmp_path_factory.mktemp("keys")

    def write(algorithm):
        private = asymmetric.generate(algorithm)
        path = folder / f"{algorithm}.pem"
        path.write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        path.chmod(0o600)
        return path, public_pem(private)

    return {algorithm: write(algorithm) for algorithm in ("ecdsa-p256", "ecdsa-p384", "ed25519", "ml-dsa-65")}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "model"
    content = {
        "empty": b"",
        "weights.bin": bytes(range(256)) * (MIB // 128) + b"rest",
        "sub/one": bytes(MIB),
        "sub.b": b"b",
        "s\u00fcb/\u00e9.txt": b"text",
    }
    for path, data in content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder, content


@pytest.mark.parametrize("name", ["blake3", "sha256"])
def test_a_recipient_opens_what_was_sealed(model, pair, tmp_path, name):
    folder, content = model
    identity = x25519.X25519PrivateKey.generate()
    (tmp_path / "reader.pub").write_bytes(public_pem(identity))
    keys = [pair["ecdsa-p256"], pair["ml-dsa-65"]]
    recipients = (str(tmp_path / "reader.pub"), "passphrase")
    options = modelward.SealOptions(
        keys=tuple(str(path) for path, _ in keys), recipients=recipients, hash=name, scan=False
    )
    modelward.seal(folder, tmp_path / "m.sealed", options, Talk(chosen=lambda: PHRASE))
    pems = [pem for _, pem in keys]
    assert opened(tmp_path / "m.sealed", pems, identity) == content
    assert opened(tmp_path / "m.sealed", pems, PHRASE) == content
    with pytest.raises(InvalidTag):
        opened(tmp_path / "m.sealed", pems, PHRASE + b"!")


def test_storage_and_everybody_read_what_is_not_encrypted(model, pair, tmp_path):
    folder, content = model
    path, pem = pair["ed25519"]
    modelward.seal(folder, tmp_path / "m.sealed", modelward.SealOptions(keys=(str(path),)))
    assert opened(tmp_path / "m.sealed", [pem]) == content
    signed = json.loads((tmp_path / "m.sealed/tree.json").read_bytes())["root"]
    scan = attestation((tmp_path / "m.sealed/attestations/scan.json").read_bytes(), [pem], signed)
    digests = {file["path"]: file["digest"] for file in scan["predicate"]["files"]}
    assert digests == {p: f"sha256:{hashlib.sha256(d).hexdigest()}" for p, d in content.items()}
    altered = tmp_path / "m.sealed/data/sub.b"
    altered.write_bytes(b"c")
    with pytest.raises(AssertionError):
        opened(tmp_path / "m.sealed", [pem])
    with pytest.raises(InvalidSignature):
        verify(pem, bytes(64), b"")


def test_what_is_kept_opens():
    where = VECTORS / "container"
    expected = json.loads((where / "expected.json").read_text())
    identity = serialization.load_pem_private_key((where / "identity.pem").read_bytes(), None)
    files = {path: text.encode() for path, text in expected["files"].items()}
    pems = [(where / "signer.pem").read_bytes()]
    assert opened(where / "m.sealed", pems, identity) == files
    assert opened(where / "plain.sealed", pems) == files


@pytest.mark.parametrize("kind", ["bom", "evidence", "provenance", "release", "scan"])
def test_attestations_that_are_kept(kind):
    where = VECTORS / "attest"
    data, pem = (where / f"{kind}.json").read_bytes(), (where / "key.pem").read_bytes()
    said = attestation(data, [pem], "sha256:" + "5e" * 32)["predicate"]
    if kind == "evidence":
        path = [bytes.fromhex(one) for one in said["record"]["path"]]
        node = sha256(b"\x00" + rfc8785.dumps(said["record"]["body"]))
        size = said["ledger"]["size"]
        assert climbed(node, said["record"]["index"], size, path).hex() == said["ledger"]["head"]


def test_a_log_its_proofs_and_its_witness(tmp_path):
    key = LocalSigner(ed25519.Ed25519PrivateKey.generate())
    written = [{"n": i, "share": i / 7} for i in range(600)]
    written[300]["pad"] = "\u00fc" * 40_000  # longer than 16 bits say
    store, log = tmp_path / "store", tmp_path / "log"
    ledger = Ledger.open(store)
    ledger.append(*written[:299])
    done = verb.export(store, log, key, "example.com/log")
    old = checkpoint((log / "checkpoint").read_bytes(), done.key)[:2]
    ledger.append(*written[299:])
    ledger.close()
    verb.export(store, log, key, "example.com/log")
    witness = Witness(LocalSigner(ed25519.Ed25519PrivateKey.generate()), "w.example", tmp_path / "seen.json")
    line, note = verb.witness(log, witness, (parse_key(done.key),), 1_800_000_000)
    verb.add_cosignature(log, line, note)
    found, time = records(log, done.key, witness.key.text())
    assert time == 1_800_000_000
    assert found == [rfc8785.dumps(one) for one in written]
    for index in (0, 255, 256, 300, 511, 599):
        assert proof_of_record(verb.prove_record(log, index), done.key) == (index, found[index])
    head, _, note = verb.prove_since(log, 299).partition(b"\n\n")
    said, *path = head.decode().split("\n")
    assert said == "old 299"
    assert continues(old, checkpoint(note, done.key)[:2], [base64.b64decode(one) for one in path])


def test_the_log_that_is_kept(tmp_path):
    vector = json.loads((VECTORS / "ledger/log.json").read_text())
    for name, data in vector["files"].items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(data))
    key = vector["log"]["key"]
    assert records(tmp_path, key)[0] == [rfc8785.dumps(one) for one in vector["records"]]
    assert proof_of_record(vector["inclusion"].encode(), key)[0] == 4
