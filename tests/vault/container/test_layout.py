"""The documents of a container: one spelling each, and nothing else is read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.core.canonical import canonical
from modelward.errors import RecipientWrong, SealDamaged
from modelward.vault.container import layout
from modelward.vault.container.layout import FLOE, PLAIN, Header, Manifest, Record
from modelward.vault.tree.entries import Entry, tree_of
from modelward.vault.tree.leaves import CHUNK, Leaves

CID, MASTER = "00112233445566778899aabbccddeeff", bytes(range(32))
STANZA = {"kind": "age", "key": "k", "wrapped": "AAAA"}


def header(**changes):
    wanted = {"container": CID, "encryption": FLOE, "hash": "blake3", "recipients": (STANZA,)}
    return Header(**(wanted | changes))


def manifest(files=None, encryption=FLOE, hash_="blake3"):
    records = []
    for path, data in sorted((files or {"a": b"1", "b/c": bytes(CHUNK + 3)}).items()):
        leaves = Leaves(hash_, path, len(data))
        found = [leaves.leaf(i, data[i * CHUNK : (i + 1) * CHUNK]) for i in range(leaves.count)]
        records.append(
            Record(
                key=os.urandom(32) if encryption == FLOE else b"",
                leaves=b"".join(found) if len(found) > 1 else b"",
                length=len(data),
                path=path,
                root=leaves.root(found).hex(),
            )
        )
    tree = tree_of([Entry(r.path, r.length, r.root) for r in records], hash_)
    return Manifest(container=CID, files=tuple(records), hash=hash_, root=tree.root)


def plain_header():
    return header(encryption=PLAIN, recipients=())


def test_a_header_comes_back_as_it_went():
    data = layout.encode_header(header(), MASTER)
    read = layout.parse_header(data)
    assert read.recipients == (STANZA,)
    assert read.id == bytes.fromhex(CID)
    layout.check_mac(read, MASTER)
    assert layout.encode_header(read, MASTER) == data
    assert layout.parse_header(layout.encode_header(plain_header(), b"")) == plain_header()


def test_the_mac_by_a_second_route():
    """HMAC-SHA-256 over the canonical header whose MAC is empty, under HKDF-Expand-SHA-384 of the master key."""
    value = json.loads(layout.encode_header(header(), MASTER))
    mac, value["mac"] = value["mac"], ""
    info = f"modelward.seal/1\nheader\n{CID}\n".encode()
    key = hmac.digest(MASTER, info + b"\x01", "sha384")[:32]
    assert base64.b64decode(mac) == hmac.digest(key, canonical(value), hashlib.sha256)


def test_the_mac_refuses_another_key_and_another_header():
    read = layout.parse_header(layout.encode_header(header(), MASTER))
    with pytest.raises(SealDamaged, match="altered"):
        layout.check_mac(read, bytes(32))
    for changes in ({"recipients": (STANZA, STANZA)}, {"hash": "sha256"}, {"container": "0" * 32}):
        with pytest.raises(SealDamaged, match="altered"):
            layout.check_mac(msgspec.structs.replace(read, **changes), MASTER)
    with pytest.raises(SealDamaged, match="altered"):
        layout.check_mac(msgspec.structs.replace(read, mac="?"), MASTER)


def test_the_mac_has_one_spelling():
    """Base64 for addresses means the same bytes, and is not what was written."""
    for number in range(200):
        named = header(container=f"{number:032x}")
        mac = json.loads(layout.encode_header(named, MASTER))["mac"]
        if "+" in mac or "/" in mac:
            break
    layout.check_mac(msgspec.structs.replace(named, mac=mac), MASTER)
    other = mac.replace("+", "-").replace("/", "_")
    with pytest.raises(SealDamaged, match="altered"):
        layout.check_mac(msgspec.structs.replace(named, mac=other), MASTER)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "modelward.seal/0"}, "modelward.seal/0"),
        ({"format": "modelward.seal/2"}, "modelward.seal/2"),
        ({"format": None}, "None"),
        ({"encryption": "aes-ecb"}, "encryption"),
        ({"encryption": "none"}, "recipients"),
        ({"hash": "md5"}, "hash"),
        ({"hash": "blake2b"}, "hash"),
        ({"container": CID.upper()}, "container"),
        ({"container": CID[:-1]}, "container"),
        ({"container": CID + "\n"}, "container"),
        ({"container": 5}, "container"),
        ({"mac": ""}, "recipients"),
        ({"recipients": []}, "recipients"),
        ({"recipients": [5]}, "recipients"),
        ({"recipients": [{"key": "k"}]}, "kind"),
        ({"recipients": [STANZA] * 257}, "256"),
        ({"recipients": {}}, "recipients"),
        ({"extra": 1}, "extra"),
        ({"recipients": [{"kind": "age", "number": 2**60}]}, "seal.json"),
    ],
)
def test_headers_that_are_none(changes, words):
    value = json.loads(layout.encode_header(header(), MASTER)) | changes
    data = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    with pytest.raises(SealDamaged, match=words):
        layout.parse_header(data)


def test_a_header_has_one_spelling():
    data = layout.encode_header(header(), MASTER)
    value = json.loads(data)
    for other in (
        json.dumps(value).encode(),
        data + b"\n",
        b" " + data,
        data.replace(b'"age"', b'"\\u0061ge"'),
        data[:-1] + b',"mac":"AAAA"}',
        json.dumps({k: v for k, v in value.items() if k != "mac"}, separators=(",", ":")).encode(),
    ):
        with pytest.raises(SealDamaged):
            layout.parse_header(other)


def test_a_large_header_is_not_read():
    with pytest.raises(SealDamaged, match="more than"):
        layout.parse_header(b" " * (layout.LARGEST_HEADER + 1))


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=400))
def test_noise_is_no_document(noise):
    for read in (layout.parse_header, layout.parse_index, lambda data: layout.parse_manifest(data, header())):
        with pytest.raises(SealDamaged):
            read(noise)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150)
@given(
    st.dictionaries(st.sampled_from(["container", "encryption", "format", "hash", "mac", "recipients"]), JSON)
)
def test_a_header_with_any_values_is_read_or_refused(values):
    value = json.loads(layout.encode_header(header(), MASTER)) | values
    try:
        read = layout.parse_header(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
    except SealDamaged:
        return
    assert read.format == layout.FORMAT


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from(["container", "files", "format", "hash", "root"]), JSON, min_size=1))
def test_a_manifest_with_any_values_is_refused(values):
    value = json.loads(layout.encode_manifest(manifest({"a": b""}))) | values
    with pytest.raises(SealDamaged):
        layout.parse_manifest(json.dumps(value, sort_keys=True, separators=(",", ":")).encode(), header())


@pytest.mark.parametrize("nested", [b"[" * 100_000, b'{"a":' * 100_000])
def test_depth_is_refused(nested):
    for read in (layout.parse_header, layout.parse_index, lambda data: layout.parse_manifest(data, header())):
        with pytest.raises(SealDamaged):
            read(nested)


@pytest.mark.parametrize("hash_", ["blake3", "sha256"])
@pytest.mark.parametrize("encryption", [FLOE, PLAIN])
def test_a_manifest_comes_back_as_it_went(encryption, hash_):
    made = manifest({"a": b"", "b/ü": bytes(CHUNK), "b/z": bytes(2 * CHUNK + 1)}, encryption, hash_)
    data = layout.encode_manifest(made)
    of = header(hash=hash_) if encryption == FLOE else header(encryption=PLAIN, recipients=(), hash=hash_)
    assert layout.parse_manifest(data, of) == made
    assert data == canonical(json.loads(data))


def test_a_manifest_belongs_to_one_container_and_one_hash():
    data = layout.encode_manifest(manifest())
    for changes in ({"container": "0" * 32}, {"hash": "sha256"}):
        with pytest.raises(SealDamaged, match="another container"):
            layout.parse_manifest(data, header(**changes))
    with pytest.raises(SealDamaged, match="key"):
        layout.parse_manifest(data, plain_header())
    with pytest.raises(SealDamaged, match="key"):
        layout.parse_manifest(layout.encode_manifest(manifest(encryption=PLAIN)), header())


def test_manifests_that_contradict_themselves():
    good = manifest({"a": b"1", "b": bytes(CHUNK + 1), "c": b"2"})
    a, b, c = good.files
    replace = msgspec.structs.replace
    wrong = {
        "root": [
            replace(good, files=(a, b)),
            replace(good, root=good.root[:-1] + "x"),
            replace(good, files=(b, a, c)),
            replace(good, files=(a, replace(b, length=CHUNK + 2), c)),
            replace(good, files=()),
        ],
        "leaves": [
            replace(good, files=(a, replace(b, leaves=b.leaves[::-1]), c)),
            replace(good, files=(a, replace(b, leaves=b""), c)),
            replace(good, files=(replace(a, leaves=bytes(32)), b, c)),
            replace(good, files=(a, replace(b, leaves=b.leaves + bytes(32)), c)),
        ],
        "key": [replace(good, files=(replace(a, key=bytes(31)), b, c))],
    }
    for word, manifests in wrong.items():
        for bad in manifests:
            with pytest.raises(SealDamaged, match=word if word != "root" else "manifest"):
                layout.parse_manifest(layout.encode_manifest(bad), header())


@pytest.mark.parametrize("path", ["../a", "/a", "a//b", "a/./b", "", "a\\b", "a\0", "x/.."])
def test_paths_that_leave_the_folder_are_refused(path):
    value = json.loads(layout.encode_manifest(manifest({"a": b""})))
    value["files"][0]["path"] = path
    with pytest.raises(SealDamaged):
        layout.parse_manifest(canonical(value), header())


def test_two_files_under_one_name_are_refused():
    value = json.loads(layout.encode_manifest(manifest({"a": b""})))
    for second in ("a", "A"):
        twice = value | {"files": [value["files"][0], value["files"][0] | {"path": second}]}
        with pytest.raises(SealDamaged):
            layout.parse_manifest(canonical(twice), header())


def test_an_index_comes_back_as_it_went_and_has_one_spelling():
    tree = tree_of([Entry("data/00000000", 5, "0" * 64), Entry("manifest.floe", 7, "1" * 64)], "blake3")
    data = layout.encode_index(tree)
    assert layout.parse_index(data) == tree
    for other in (
        data + b" ",
        data.replace(b'"length":5', b'"length":5.0'),
        json.dumps(json.loads(data)).encode(),
    ):
        with pytest.raises(SealDamaged):
            layout.parse_index(other)
    value = json.loads(data)
    value["entries"][0]["path"] = "../x"
    with pytest.raises(SealDamaged):
        layout.parse_index(canonical(value))


def test_nobody_is_a_recipient_of_what_is_not_encrypted():
    with pytest.raises(RecipientWrong, match="nothing is encrypted"):
        layout.master_of(plain_header(), [])


def test_keys_do_not_show():
    record = manifest().files[0]
    assert base64.b64encode(record.key).decode() not in repr(record) + repr(manifest())
    assert str(record.key) not in repr(record)


def test_what_is_bound_to_what():
    assert layout.manifest_aad(header()) == f"modelward.seal/1\nmanifest\n{CID}\nblake3\n".encode()
    assert layout.data_aad(header(), 12) == f"modelward.seal/1\ndata\n{CID}\nblake3\n12\n".encode()
    assert layout.manifest_key(header(), MASTER) != layout.manifest_key(header(container="0" * 32), MASTER)
    assert layout.data_name(FLOE, 12, "a/b") == "data/00000012"
    assert layout.data_name(PLAIN, 12, "a/b") == "data/a/b"
    assert layout.SEGMENTS.room == CHUNK
