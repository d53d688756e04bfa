"""Every reader of a seal: bundles, statements, trees, proofs, containers, keys, attestations, tables, logs.

A target takes bytes and lets nothing out but what it states: a refusal of another branch of the errors is as
much a fault as a traceback. Where a signature stands before a reader, the target signs what it is given, so
that the reader behind it is reached.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ed25519

from modelward.core.canonical import canonical
from modelward.errors import (
    ConfigInvalid,
    FileMissing,
    KeyUnusable,
    ModelwardError,
    PathUnsafe,
    PolicyInvalid,
    RolledBack,
    SealDamaged,
    SealRefused,
)
from modelward.ledger.checkpoint import parse_checkpoint
from modelward.ledger.place import server_of
from modelward.ledger.proof_text import parse_consistency, parse_inclusion
from modelward.ledger.tiles import Tiles, tile_path
from modelward.vault import bundle, dsse, notes
from modelward.vault.attest.admission import read_admission
from modelward.vault.attest.attestation import verify_attestation
from modelward.vault.attest.moments import parse_span
from modelward.vault.attest.provenance import read_stated
from modelward.vault.container import layout
from modelward.vault.container.recipients import check_stanzas, describe, open_identity
from modelward.vault.container.recipients.age import AgeIdentity, AgeRecipient
from modelward.vault.hazmat import floe, kem
from modelward.vault.keys import keyring, ringfile
from modelward.vault.keys.opening import open_signer
from modelward.vault.keys.seen import Seen
from modelward.vault.keys.signer import LocalSigner, Verifier
from modelward.vault.keys.transit import parse_reference
from modelward.vault.keys.uris import parse_uri
from modelward.vault.oci.blobs import read_index, read_marker
from modelward.vault.oci.reading import read_oci
from modelward.vault.signing.certificates import signing_key
from modelward.vault.signing.openssf import read_manifest
from modelward.vault.signing.tree_statement import read_tree_statement
from modelward.vault.signing.verification import verify_bundle
from modelward.vault.tables.manifest import parse as parse_table
from modelward.vault.tree.cache import Cache, cache_for
from modelward.vault.tree.entries import tree_from_json
from modelward.vault.tree.proofs import parse_range, verify_range
from modelward.vault.tree.tensors import header_end, parse_tensor, read_header, verify_tensor
from modelward.vault.witness import Witness
from modelward.verbs.attest import read_release_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.vault.container.recipients import Identity

MOMENT = datetime(2026, 11, 22, tzinfo=UTC)
KEY = bytes(range(32))
SMALL = floe.Parameters(64)
ROOT = "sha256:" + 64 * "0"
VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "seal"


@cache
def signer() -> LocalSigner:
    """One key, the same in every process; it protects nothing."""
    return LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(KEY))


@cache
def scratch() -> Path:
    """A folder for readers that take a path; in memory where the system has such a place."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    held = tempfile.TemporaryDirectory(prefix="modelward-fuzz-", dir=memory)
    HELD.append(held)
    return Path(held.name)


HELD: list[tempfile.TemporaryDirectory[str]] = []


def promised(*leaves: type[ModelwardError]) -> Callable[[Callable[[bytes], object]], Callable[[bytes], None]]:
    """A target that may refuse by these errors, and by no other."""

    def wrap(function: Callable[[bytes], object]) -> Callable[[bytes], None]:
        def target(data: bytes) -> None:
            try:
                function(data)
            except leaves as error:
                sentence = str(error).encode()  # it can be printed
            except ModelwardError as error:
                raise AssertionError(f"{type(error).__name__} is of another branch") from error
            else:
                return
            assert 0 < len(sentence) < 4096, "a refusal is a sentence, and not the input"

        return target

    return wrap


def typed(function: Callable[[str], object]) -> Callable[[bytes], object]:
    """A reader of text, as a command line hands it over."""
    return lambda data: function(os.fsdecode(data))


def in_file(name: str, function: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of a file."""

    def target(data: bytes) -> object:
        path = scratch() / name
        path.write_bytes(data)
        path.chmod(0o600)
        return function(path)

    return target


def same(read: Callable[[bytes], object], write: Callable[[object], bytes]) -> Callable[[bytes], object]:
    """A reader of documents with one spelling: what is read is written as it was."""

    def target(data: bytes) -> None:
        assert write(read(data)) == data

    return target


def encoded(value: object) -> bytes:
    return value.encode()  # type: ignore[attr-defined, no-any-return]  # each reader gives what has it


def enveloped(data: bytes) -> dsse.Envelope:
    return dsse.sign(data, [signer()])


@promised(SealDamaged)
def strict(data: bytes) -> None:
    dsse.load(data, "it")


@promised(SealDamaged)
def base64(data: bytes) -> None:
    dsse.decode64(data.decode("utf-8", "replace"))


@promised(SealDamaged)
def bundled(data: bytes) -> None:
    found = bundle.decode(data)
    assert found.envelope.signatures
    dsse.statement_of(found.envelope)


@promised(SealDamaged)
def envelope(data: bytes) -> None:
    found = dsse.from_json(dsse.load(data, "it"))
    assert dsse.from_json(dsse.to_json(found)) == found


@promised(SealDamaged)
def openssf(data: bytes) -> None:
    manifest = read_manifest(dsse.statement_of(enveloped(data)))
    assert read_manifest(manifest.statement()).resources == manifest.resources


@promised(SealDamaged)
def tree_statement(data: bytes) -> None:
    said = read_tree_statement(dsse.statement_of(enveloped(data)))
    assert said.tree is None or said.tree.root == said.root


@promised(SealRefused)
def verified(data: bytes) -> None:
    verify_bundle(data, [signer().public])


@promised(SealRefused)
def attested(data: bytes) -> None:
    """A statement that a trusted key signed, whatever it says."""
    statement, root = dsse.load(data, "it"), ROOT
    with suppress(TypeError, KeyError, IndexError, AttributeError, StopIteration):  # it may be about nothing
        root = ":".join(next(iter(statement["subject"][0]["digest"].items())))
    found = verify_attestation(bundle.encode(enveloped(data)), root, [signer().public])
    assert found.signers == (signer().public.key_id,)


@promised(SealRefused)
def chain(data: bytes) -> None:
    """The certificates of a bundle, against authorities that are trusted."""
    signing_key(bundle.decode(data).material, authorities(), MOMENT)


@cache
def authorities() -> bytes:
    keys = sorted((VECTORS / "signing" / "openssf" / "keys").rglob("*.pem"))
    return b"".join(path.read_bytes() for path in keys if b"BEGIN CERTIFICATE" in path.read_bytes())


@promised(SealDamaged, PathUnsafe)
def tree(data: bytes) -> None:
    found = tree_from_json(dsse.load(data, "it"))
    assert tree_from_json(found.to_json()) == found


@promised(SealRefused)
def ranged(data: bytes) -> None:
    proof = parse_range(data)
    assert proof.encode() == data
    verify_range(proof, ROOT, bytes(min(proof.stop - proof.start, 1 << 21)))


@promised(SealRefused)
def tensor(data: bytes) -> None:
    proof = parse_tensor(data)
    assert proof.encode() == data
    verify_tensor(proof, ROOT, "w", lambda start, stop: bytes(min(stop - start, 1 << 21)))


@promised(SealDamaged)
def safetensors(data: bytes) -> None:
    length = len(data) + 64
    for place in read_header(data[: header_end(data[:8], length)], length).values():
        assert 0 <= place.start <= place.stop <= length


@promised(SealRefused)
def header(data: bytes) -> None:
    """The header, and its stanzas against identities of every kind that is cheap to try."""
    layout.master_of(layout.parse_header(data), identities())


@promised(SealRefused)
def stanzas(data: bytes) -> None:
    for stanza in check_stanzas(dsse.load(data, "it")):
        assert describe(stanza).isprintable()
        for identity in identities():
            identity.unwrap(stanza, KEY[:16])


@cache
def identities() -> tuple[Identity, ...]:
    """Of the kept container, and of the kept stanzas."""
    stated = json.loads((VECTORS / "recipients" / "stanzas.json").read_text())["identities"]
    kept = open_identity(str(VECTORS / "container" / "identity.pem"))
    return kept, AgeIdentity(stated["age"]["identity"].encode())


@promised(SealDamaged)
def manifest(data: bytes) -> None:
    heads = [layout.parse_header((VECTORS / "container" / f"{name}.sealed" / "seal.json").read_bytes())
             for name in ("m", "plain")]  # fmt: skip
    for head in heads:
        try:
            found = layout.parse_manifest(data, head)
        except SealDamaged:
            continue
        assert layout.encode_manifest(found) == data
        return
    raise SealDamaged("of neither container")


@promised(SealDamaged)
def ciphertext(data: bytes) -> None:
    """Under the right key; where it opens, it is what was written."""
    plain = floe.decrypt(KEY, b"fuzz", SMALL, len(data), lambda at, count: data[at : at + count])
    assert SMALL.sealed_length(len(plain)) == len(data)


@promised(SealRefused)
def signed_ring(data: bytes) -> None:
    """What an owner signed, whatever it says."""
    made = dsse.sign(data, [signer()], payload_type=ringfile.PAYLOAD_TYPE)
    lines = ringfile.decode(canonical(dsse.to_json(made)) + b"\n")
    ringfile.trusted(lines, [signer().public])


@promised(SealRefused)
def records(data: bytes) -> None:
    """The entries of a log of three records."""
    path = scratch() / "log" / tile_path("entries", 0, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    assert len(list(Tiles(scratch() / "log", 3).bundle(0))) == 3


@promised(SealRefused)
def checkpoint(data: bytes) -> None:
    trust = notes.Trust(
        logs=(notes.key_of(signer().public, "log.example", notes.LOG),),
        witnesses=(notes.key_of(signer().public, "witness.example", notes.WITNESS),),
    )
    notes.open_checkpoint(data, trust, 1_800_000_000)


@promised(SealDamaged)
def checkpoint_text(data: bytes) -> None:
    said = data.decode("utf-8", "replace")
    assert parse_checkpoint(said).text() == said


@promised(SealDamaged, RolledBack)
def witness_state(data: bytes) -> None:
    path = scratch() / "witness.json"
    path.write_bytes(data)
    Witness(signer(), "witness.example", path).last("log.example")


@promised(SealDamaged, RolledBack)
def seen(data: bytes) -> None:
    path = scratch() / "seen.json"
    path.write_bytes(data)
    path.chmod(0o600)
    owners = json.loads((VECTORS / "keyring" / "index.json").read_text())["owners"]
    ring = keyring.Keyring.read(VECTORS / "keyring" / "plain.json", [Verifier(o.encode()) for o in owners])
    Seen(path).admit(ring, MOMENT)


@promised()
def cached(data: bytes) -> None:
    """A cache that is not this user's, or of another version, is one that knows nothing."""
    os.environ["XDG_STATE_HOME"] = str(scratch() / "state")
    path, warnings = cache_for(scratch(), "tree-sha256"), []
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    assert len(Cache(scratch(), "tree-sha256", warnings.append)) == 0
    assert len(warnings) == 1


@promised(SealDamaged)
def oci_documents(data: bytes) -> None:
    try:
        read_marker(data)
    except SealDamaged:
        read_index(data)


@promised(SealRefused)
def oci_manifest(data: bytes) -> None:
    """A manifest with the digest that the index names, and its blobs beside it."""
    unpack(data, b"{}", b"a model\n")


@promised(SealRefused)
def oci_archive(data: bytes) -> None:
    archived(data, "tar")


@promised(SealRefused)
def oci_compressed(data: bytes) -> None:
    archived(data, "tar+gzip")


def archived(data: bytes, kind: str) -> None:
    """One layer that is an archive."""
    layer = described(f"application/vnd.kitops.modelkit.model.v1.{kind}", data)
    body = {
        "schemaVersion": 2, "mediaType": MANIFEST, "config": described("application/json", b"{}"),
        "layers": [layer],
    }  # fmt: skip
    unpack(json.dumps(body).encode(), b"{}", data)


MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def described(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def unpack(manifest: bytes, *blobs: bytes) -> None:
    place, target = scratch() / "oci", scratch() / "unpacked"
    folder = place / "blobs" / "sha256"
    folder.mkdir(parents=True)
    for blob in (manifest, *blobs):
        (folder / hashlib.sha256(blob).hexdigest()).write_bytes(blob)
    (place / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (place / "index.json").write_text(
        json.dumps({"schemaVersion": 2, "manifests": [described(MANIFEST, manifest)]})
    )
    try:
        found = read_oci(place, target)
        inside = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
        assert inside == set(found.files), "what is listed is what was written"
    finally:
        shutil.rmtree(place)
        shutil.rmtree(target, ignore_errors=True)
        assert not any(path.name.startswith(".unpacked") for path in scratch().iterdir()), "half is left"


def provenance(path: Path) -> None:
    """Data that is named by a path is hashed, wherever it lies, so such files are left out here."""
    if b"path" not in path.read_bytes():
        read_stated(path)


POLICY = (ConfigInvalid, PolicyInvalid, KeyUnusable, FileMissing)
SEALS: dict[str, Callable[[bytes], object]] = {
    "seal-json": strict,
    "seal-base64": base64,
    "seal-bundle": bundled,
    "seal-envelope": envelope,
    "seal-openssf": openssf,
    "seal-tree-statement": tree_statement,
    "seal-verified": verified,
    "seal-attestation": attested,
    "seal-certificates": chain,
    "seal-tree": tree,
    "seal-range": ranged,
    "seal-tensor": tensor,
    "seal-safetensors": safetensors,
    "seal-header": header,
    "seal-stanzas": stanzas,
    "seal-manifest": manifest,
    "seal-index": promised(SealDamaged)(same(layout.parse_index, layout.encode_index)),
    "seal-floe": ciphertext,
    "seal-keyring": promised(SealRefused)(same(ringfile.decode, ringfile.encode)),
    "seal-keyring-signed": signed_ring,
    "seal-keyring-payload": promised(SealDamaged)(same(keyring.parse, encoded)),
    "seal-seen": seen,
    "seal-cache": cached,
    "seal-uri": promised(KeyUnusable)(typed(parse_uri)),
    "seal-vault-reference": promised(KeyUnusable)(typed(parse_reference)),
    "seal-database": promised(ConfigInvalid, KeyUnusable)(typed(server_of)),
    "seal-public-pem": promised(KeyUnusable)(Verifier),
    "seal-private-pem": promised(KeyUnusable)(
        in_file("key.pem", lambda path: open_signer(str(path), lambda: b"phrase"))
    ),
    "seal-recipient-pem": promised(KeyUnusable)(kem.load_public),
    "seal-identity": promised(KeyUnusable)(
        in_file("identity", lambda path: open_identity(str(path), lambda: b"phrase"))
    ),
    "seal-age-identity": promised(KeyUnusable)(AgeIdentity),
    "seal-age-recipient": promised(KeyUnusable)(typed(AgeRecipient)),
    "seal-policy": promised(*POLICY)(in_file("policy.toml", read_admission)),
    "seal-provenance": promised(*POLICY)(in_file("provenance.toml", provenance)),
    "seal-release": promised(*POLICY)(in_file("release.toml", read_release_file)),
    "seal-span": promised(PolicyInvalid)(typed(parse_span)),
    "seal-table": promised(SealDamaged)(parse_table),
    "seal-oci-documents": oci_documents,
    "seal-oci-manifest": oci_manifest,
    "seal-oci-archive": oci_archive,
    "seal-oci-compressed": oci_compressed,
    "seal-note": promised(SealDamaged)(same(notes.parse_note, encoded)),
    "seal-note-key": promised(KeyUnusable)(typed(notes.parse_key)),
    "seal-checkpoint": checkpoint,
    "seal-checkpoint-text": checkpoint_text,
    "seal-records": records,
    "seal-witness-state": witness_state,
    "seal-inclusion": promised(SealDamaged)(same(parse_inclusion, encoded)),
    "seal-consistency": promised(SealDamaged)(same(parse_consistency, encoded)),
}
