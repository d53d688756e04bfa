"""Whatever is altered, moved, removed, added or made older is refused, by the right error."""

from __future__ import annotations

import base64
import json
import os
import shutil

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.core.canonical import canonical
from modelward.errors import (
    ContentChanged,
    RecipientWrong,
    SealDamaged,
    SealRefused,
    SignatureInvalid,
    SignerMissing,
)
from modelward.vault.container import layout, rotation, writing
from modelward.vault.container.layout import FLOE, SEGMENTS
from modelward.vault.container.reading import Container
from modelward.vault.container.recipients import wrap_for
from modelward.vault.hazmat import floe
from modelward.vault.hazmat.floe import Floe
from modelward.vault.keys.signer import LocalSigner
from modelward.vault.signing.tree_statement import sign_tree
from modelward.vault.tree.entries import Entry, tree_of
from modelward.vault.tree.hashing import TreeOptions, hash_tree

MIB = 1 << 20


def whole(where, verifiers, identities):
    """Everything that a careful user does; gives the plaintext."""
    container = Container.open(where)
    container.verify(verifiers)
    return everything(container.unlock(identities))


def everything(opened):
    found = {}
    for path in opened.paths:
        with opened.file(path) as file:
            found[path] = bytes(file.read(0, file.record.length))
    return found


def without_storage(where, verifiers, identities):
    """As `whole`, but of the stored files only what is decrypted is read: how a loader opens."""
    container = Container.open(where)
    container.check_signatures(verifiers)
    return everything(container.unlock(identities))


def places(where):
    return sorted(path for path in where.rglob("*") if path.is_file())


@pytest.mark.parametrize("encrypted", [True, False])
def test_every_byte_counts(sealed, vendor, licensee, encrypted):
    """One bit of each byte of each file of the container, one after the other."""
    where = sealed({"a.bin": b"abc", "empty": b""}, **({} if encrypted else {"recipients": ()}))
    identities = [licensee.identity] if encrypted else []
    plain = whole(where, [vendor.public], identities)
    kinds, missed = set(), []
    apart = () if encrypted else ("tree.json", "00000000.json")  # read by the same code in both cases
    for path in [path for path in places(where) if path.name not in apart]:
        data = path.read_bytes()
        for index in range(len(data)):
            path.write_bytes(data[:index] + bytes([data[index] ^ (1 << index % 8)]) + data[index + 1 :])
            try:
                found = whole(where, [vendor.public], identities)
            except SealRefused as error:
                kinds.add((path.parent.name if path.parent != where else path.name, type(error).__name__))
            else:
                missed.append((path, data[max(0, index - 4) : index + 5]))
                assert found == plain
        path.write_bytes(data)
    # Without its name the hint at the key is not there, and every key is tried: DSSE authenticates no hint.
    assert all(b"keyid" in around and path.parent.name == "signatures" for path, around in missed)
    assert len(missed) <= 5
    manifest = layout.MANIFEST[Container.open(where).header.encryption]
    beside = {"tree.json", "signatures"} if encrypted else set()
    assert {name for name, _ in kinds} == {"seal.json", "data", manifest} | beside
    assert {kind for name, kind in kinds if name == "data"} == {"ContentChanged"}
    assert {kind for name, kind in kinds if name == "tree.json"} <= {"SealDamaged", "ContentChanged"}
    assert {kind for name, kind in kinds if name == "seal.json"} <= {
        "SealDamaged",
        "RecipientWrong",
        "ContentChanged",
    }
    assert {kind for name, kind in kinds if name == "signatures"} <= {
        "SealDamaged",
        "SignatureInvalid",
        "SignerMissing",
    }


def test_every_byte_counts_to_a_loader_too(sealed, vendor, licensee):
    """Without hashing what is stored: the signed manifest and the segments' own tags refuse."""
    where = sealed({"a.bin": b"abc", "b": b"0123456789"})
    for path in [where / "manifest.floe", *sorted((where / "data").iterdir())]:
        data = path.read_bytes()
        for index in range(len(data)):
            path.write_bytes(data[:index] + bytes([data[index] ^ 0x10]) + data[index + 1 :])
            with pytest.raises((SealDamaged, ContentChanged)):
                without_storage(where, [vendor.public], [licensee.identity])
        path.write_bytes(data)


@pytest.mark.parametrize("encrypted", [True, False])
def test_no_beginning_of_a_file_will_do(sealed, vendor, licensee, encrypted):
    where = sealed({"a.bin": b"abc"}, **({} if encrypted else {"recipients": ()}))
    for path in places(where):
        data = path.read_bytes()
        for length in [*range(0, len(data), 7), len(data.rstrip()) - 1]:
            path.write_bytes(data[:length])
            with pytest.raises(SealRefused):
                whole(where, [vendor.public], [licensee.identity])
        for tail in (b"\0", b"\n", b"{}"):
            path.write_bytes(data + tail)
            if not (
                path.parent.name == "signatures" and tail == b"\n"
            ):  # white space after JSON says nothing
                with pytest.raises(SealRefused):
                    whole(where, [vendor.public], [licensee.identity])
        path.write_bytes(data)


def test_every_file_must_be_there_and_no_other(sealed, vendor, licensee):
    where = sealed()
    for path in places(where):
        data = path.read_bytes()
        path.unlink()
        with pytest.raises((SealDamaged, ContentChanged, SignerMissing)):
            whole(where, [vendor.public], [licensee.identity])
        path.write_bytes(data)
    for name in ("data/00000003", "data/x/y"):
        (where / name).parent.mkdir(exist_ok=True)
        (where / name).write_bytes(b"")
        with pytest.raises(ContentChanged, match="added"):
            whole(where, [vendor.public], [licensee.identity])
        (where / name).unlink()
    for name in ("README", "manifest.json", "seal.json.old"):
        (where / name).write_bytes(b"")
        with pytest.raises(SealDamaged, match="no part of a container"):
            Container.open(where)
        (where / name).unlink()
    whole(where, [vendor.public], [licensee.identity])


def test_links_and_folders_in_place_of_files(sealed, vendor, licensee, tmp_path):
    where = sealed()
    for name in ("data/00000000", "manifest.floe", "seal.json", "signatures/00000000.json"):
        path, kept = where / name, tmp_path / "kept"
        path.rename(kept)
        path.symlink_to(kept)
        with pytest.raises(ContentChanged, match="link"):
            whole(where, [vendor.public], [licensee.identity])
        path.unlink()
        path.mkdir()
        with pytest.raises(SealRefused):
            whole(where, [vendor.public], [licensee.identity])
        path.rmdir()
        kept.rename(path)
    os.mkfifo(where / "data" / "00000007")
    with pytest.raises(ContentChanged, match="pipe"):
        whole(where, [vendor.public], [licensee.identity])


def test_segments_do_not_change_places(sealed, vendor, licensee):
    where = sealed({"a": 3 * MIB + 5})
    path, size = where / "data/00000000", SEGMENTS.segment
    data = path.read_bytes()
    head, body = data[:74], [data[74 + i * size : 74 + (i + 1) * size] for i in range(4)]
    for order in ([1, 0, 2, 3], [0, 2, 1, 3], [0, 0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2, 2, 3]):
        path.write_bytes(head + b"".join(body[i] for i in order))
        with pytest.raises(ContentChanged):
            whole(where, [vendor.public], [licensee.identity])
        with pytest.raises(SealDamaged):
            without_storage(where, [vendor.public], [licensee.identity])


def test_files_do_not_change_places(sealed, vendor, licensee):
    where = sealed({"a": b"12345", "b": b"54321"})
    one, two = where / "data/00000000", where / "data/00000001"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(ContentChanged, match="data/00000000: altered"):
        whole(where, [vendor.public], [licensee.identity])
    with pytest.raises(SealDamaged, match="not of this key and place"):
        without_storage(where, [vendor.public], [licensee.identity])


@pytest.mark.parametrize("name", ["data/00000000", "manifest.floe", "tree.json", "signatures/00000000.json"])
def test_parts_of_two_containers_do_not_mix(sealed, vendor, licensee, name):
    """The same model, signer and recipients, sealed twice."""
    one, two = sealed(name="one.sealed"), sealed(name="two.sealed")
    shutil.copy(two / name, one / name)
    for attempt in (whole, without_storage):
        with pytest.raises((ContentChanged, SealDamaged)):
            attempt(one, [vendor.public], [licensee.identity])


def test_the_header_of_another_container(sealed, vendor, licensee):
    one, two = sealed(name="one.sealed"), sealed(name="two.sealed")
    shutil.copy(two / "seal.json", one / "seal.json")
    with pytest.raises(SealDamaged, match="another container"):
        Container.open(one).verify([vendor.public])
    with pytest.raises(SealDamaged, match="header was altered"):
        Container.open(one).unlock([licensee.identity])


def test_an_older_whole_container_is_one(sealed, vendor, licensee):
    """A container cannot tell that a newer one exists; revoked roots are the keyring's."""
    one, two = sealed(name="one.sealed"), sealed(name="two.sealed")
    assert whole(one, [vendor.public], [licensee.identity]) == whole(
        two, [vendor.public], [licensee.identity]
    )


def edited(where, **changes):
    value = json.loads((where / "seal.json").read_bytes()) | changes
    (where / "seal.json").write_bytes(canonical(value))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "modelward.seal/0"},
        {"format": "modelward.seal/2"},
        {"encryption": "none"},
        {"encryption": "floe-aes128-gcm-hkdf-sha256-1m"},
        {"hash": "md5"},
        {"hash": "sha256"},
    ],
)
def test_nothing_is_downgraded(sealed, vendor, changes):
    where = sealed()
    edited(where, **changes)
    with pytest.raises(SealDamaged):
        Container.open(where).verify([vendor.public])


def test_encryption_is_not_talked_away(sealed, vendor):
    """Whoever can read it writes the plaintext beside the vendor's signature and says that nothing is encrypted."""
    where, plain = sealed(), sealed(name="plain.sealed", recipients=(), signers=())
    shutil.rmtree(plain / "signatures")
    shutil.copytree(where / "signatures", plain / "signatures")
    with pytest.raises(SealDamaged, match="another container, or of another encryption"):
        Container.open(plain).verify([vendor.public])
    edited(plain, container=Container.open(where).header.container)
    with pytest.raises(SealDamaged, match="another encryption"):
        Container.open(plain).verify([vendor.public])


def test_recipients_without_the_key(sealed, licensee, stranger, other):
    """Somebody who cannot open it takes recipients away, adds one, or changes their order."""
    where = sealed()
    container = Container.open(where)
    first, second = container.header.recipients
    forged = wrap_for([stranger.recipient], bytes(32), container.header.id)
    for recipients in ([first], [second, first], [first, second, *forged], [first, first, second]):
        edited(where, recipients=recipients)
        with pytest.raises(SealDamaged, match="recipients are not those that were written"):
            Container.open(where).unlock([licensee.identity])
    edited(where, recipients=[*forged, first, second])
    with pytest.raises(SealDamaged, match="recipients are not those"):  # a key that opens, and opens nothing
        Container.open(where).unlock([stranger.identity])
    edited(where, recipients=[second])
    with pytest.raises(RecipientWrong):
        Container.open(where).unlock([licensee.identity])


def test_stanzas_of_another_container(sealed, licensee):
    one, two = (Container.open(sealed(name=f"{n}.sealed")) for n in "ab")
    edited(one.path, recipients=list(two.header.recipients))
    with pytest.raises(SealDamaged):
        Container.open(one.path).unlock([licensee.identity])


# A licensee holds the master key, and with it every data key. He tries to pass off other weights as the vendor's.


def encrypt_file(header, record, index, data):
    writer = Floe.encrypting(record.key, layout.data_aad(header, index), SEGMENTS)
    out = bytearray(SEGMENTS.sealed_length(len(data)))
    out[: floe.HEADER] = writer.header
    writer.encrypt_segment(0, data, memoryview(out)[floe.HEADER :], last=True)
    return bytes(out)


def listed(where, header):
    """The list of files, made true again."""
    beside = tuple(where / name for name in ("seal.json", "tree.json", "signatures"))
    tree = hash_tree(where, TreeOptions(algorithm=header.hash, excluded=beside))
    (where / "tree.json").write_bytes(layout.encode_index(tree))
    return tree


@pytest.fixture
def stolen(sealed, licensee):
    """A container whose one file the licensee has replaced by other weights of the same length."""
    where = sealed({"weights": b"the vendor's weights"})
    container = Container.open(where)
    manifest = container.unlock([licensee.identity]).manifest
    forged = b"another's weights!!!"
    (where / "data/00000000").write_bytes(encrypt_file(container.header, manifest.files[0], 0, forged))
    return where, container.header, manifest, forged


def test_other_weights_under_the_same_keys(stolen, vendor, licensee):
    where, header, _, _ = stolen
    with pytest.raises(ContentChanged, match="data/00000000: altered"):
        whole(where, [vendor.public], [licensee.identity])
    with pytest.raises(
        ContentChanged, match="weights: is not what was signed"
    ):  # the tag is right, the leaf is not
        without_storage(where, [vendor.public], [licensee.identity])
    listed(where, header)
    for attempt in (whole, without_storage):
        with pytest.raises(ContentChanged, match="list of files is not the one that was signed"):
            attempt(where, [vendor.public], [licensee.identity])


def forge_manifest(where, header, manifest, forged, master):
    record = msgspec.structs.replace(manifest.files[0], length=len(forged))
    tree = hash_one("weights", forged, header.hash)
    record = msgspec.structs.replace(record, root=tree.entries[0].root)
    forged_manifest = msgspec.structs.replace(manifest, files=(record,), root=tree.root)
    data = writing.encrypt_manifest(header, master, layout.encode_manifest(forged_manifest))
    (where / "manifest.floe").write_bytes(data)


def hash_one(path, data, algorithm):
    from modelward.vault.tree.leaves import FileHasher

    hasher = FileHasher(algorithm, path, len(data))
    hasher.update(data)
    return tree_of([Entry(path, len(data), hasher.root().hex())], algorithm)


def test_other_weights_with_another_manifest(stolen, vendor, licensee):
    where, header, manifest, forged = stolen
    master = layout.master_of(header, [licensee.identity])
    forge_manifest(where, header, manifest, forged, master)
    with pytest.raises(ContentChanged, match="manifest is not the one that was signed"):
        without_storage(where, [vendor.public], [licensee.identity])
    tree = listed(where, header)
    with pytest.raises(ContentChanged, match="manifest is not the one that was signed"):
        whole(where, [vendor.public], [licensee.identity])
    # All of it is consistent now, and opens; the vendor's signature alone is missing, and he cannot make it.
    assert everything(Container.open(where).unlock([licensee.identity])) == {"weights": forged}
    thief = LocalSigner(vendor_like())
    said = header.signed(next(e.root for e in tree.entries if e.path == "manifest.floe"))
    (where / "signatures/00000000.json").write_bytes(sign_tree(tree, [thief], name="m", container=said))
    with pytest.raises(SignerMissing):
        whole(where, [vendor.public], [licensee.identity])
    bundle = json.loads((where / "signatures/00000000.json").read_bytes())
    bundle["dsseEnvelope"]["signatures"][0]["keyid"] = vendor.public.key_id
    bundle["verificationMaterial"]["publicKey"]["hint"] = vendor.public.key_id
    (where / "signatures/00000000.json").write_text(json.dumps(bundle))
    with pytest.raises(SignatureInvalid):
        whole(where, [vendor.public], [licensee.identity])


def vendor_like():
    from modelward.vault.hazmat import asymmetric

    return asymmetric.generate("ed25519")


def test_a_signature_over_something_else(sealed, vendor, licensee):
    """The vendor's own signatures over other things do not count."""
    from modelward.vault import bundle, dsse

    where = sealed()
    container = Container.open(where)
    path = where / "signatures/00000000.json"
    path.write_bytes(
        sign_tree(container.index, [vendor], name="m")
    )  # a folder of these very bytes, no container
    with pytest.raises(SealDamaged, match="another container"):
        container.verify([vendor.public])
    statement = dsse.Statement(
        subjects=(("m", container.index.digest),), predicate_type="https://example.org/x", predicate={}
    )
    path.write_bytes(bundle.make(statement, [vendor]))
    with pytest.raises(SealDamaged, match="not one of a single tree"):
        container.verify([vendor.public])


def test_too_many_and_too_large_signatures(sealed, vendor):
    where = sealed()
    good = (where / "signatures/00000000.json").read_bytes()
    for index in range(65):
        (where / f"signatures/{index}.json").write_bytes(good)
    with pytest.raises(SealDamaged, match="more than 64"):
        Container.open(where).verify([vendor.public])
    shutil.rmtree(where / "signatures")
    (where / "signatures").mkdir()
    with (where / "signatures/0.json").open("wb") as stream:
        stream.truncate(1 << 23)
    with pytest.raises(SealDamaged, match="more than"):
        Container.open(where).verify([vendor.public])


def test_a_document_that_is_too_large_is_not_read(sealed):
    where = sealed()
    for name, size in (("tree.json", (1 << 28) + 1), ("seal.json", (1 << 20) + 1)):
        kept = (where / name).read_bytes()
        os.truncate(where / name, 1 << 21 if name == "seal.json" else size)
        with pytest.raises(SealDamaged):
            Container.open(where)
        (where / name).write_bytes(kept)


def test_the_right_length_is_not_enough(sealed, licensee):
    where = sealed({"a": 100}, recipients=(), signers=())
    assert Container.open(where).header.encryption != FLOE
    (where / "data/a").write_bytes(os.urandom(100))
    with pytest.raises(ContentChanged, match="a: is not what was signed"):
        everything(Container.open(where).unlock())
    (where / "data/a").write_bytes(b"")
    with pytest.raises(SealDamaged, match="0 bytes long, not 100"):
        everything(Container.open(where).unlock())


def test_an_extraction_of_something_damaged_leaves_nothing(sealed, licensee, tmp_path):
    where = sealed({"a": 5, "b": 20 * MIB, "c": 7})
    path = where / "data/00000001"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(SealDamaged):
        Container.open(where).unlock([licensee.identity]).extract(tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.sealed", "model"]


def test_the_mac_is_over_every_field(sealed, licensee):
    """Edits that keep the document well formed and that no signature sees."""
    where = sealed()
    good = json.loads((where / "seal.json").read_bytes())
    stanza = dict(good["recipients"][1])
    wrapped = bytearray(base64.b64decode(stanza["wrapped"]))
    wrapped[0] ^= 1
    stanza["wrapped"] = base64.b64encode(wrapped).decode()
    for changes in (
        {"mac": base64.b64encode(bytes(32)).decode()},
        {"recipients": [good["recipients"][0], stanza]},
    ):
        (where / "seal.json").write_bytes(canonical(good | changes))
        with pytest.raises(SealDamaged, match="recipients are not those that were written"):
            Container.open(where).unlock([licensee.identity])
    assert rotation is not None


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_edit_is_refused_or_means_nothing(data, tmp_path, sealed, people):
    """Bytes cut out, put in, doubled or moved between files of one container."""
    vendor, licensee = people
    where = tmp_path / "m.sealed"
    if not where.exists():
        sealed({"a": b"0123456789" * 3, "b": b""})
    kept = {path: path.read_bytes() for path in places(where)}
    plain = whole(where, [vendor.public], [licensee.identity])
    path = data.draw(st.sampled_from(sorted(kept)))
    text = kept[path]
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 40)))
    other = kept[data.draw(st.sampled_from(sorted(kept)))]
    start = data.draw(st.integers(0, len(other)))
    filling = data.draw(
        st.one_of(st.binary(max_size=8), st.just(other[start : start + 40]), st.just(text[begin:end] * 2))
    )
    path.write_bytes(text[:begin] + filling + text[end:])
    try:
        assert whole(where, [vendor.public], [licensee.identity]) == plain
    except SealRefused:
        assert path.read_bytes() != text
    else:  # nothing changed, or white space and hints around a signature that holds
        assert path.read_bytes() == text or path.parent.name == "signatures"
    finally:
        path.write_bytes(text)
