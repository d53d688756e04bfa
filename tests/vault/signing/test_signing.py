"""What is written into a signature of a model."""

import hashlib
import tracemalloc

import blake3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.errors import ConfigInvalid, FileMissing, KeyServiceFailed, PathUnsafe
from modelward.vault import bundle
from modelward.vault.signing.checking import CheckOptions, check_files
from modelward.vault.signing.openssf import GIT, read_manifest
from modelward.vault.signing.signing import SHARD_SIZE, SigningOptions, hash_model, sign_openssf
from modelward.vault.signing.verification import verify_bundle
from modelward.vault.tree.hashing import TreeOptions


def options(**tree):
    return SigningOptions(tree=TreeOptions(**tree))


def test_files_in_the_order_of_their_parts(model):
    manifest = hash_model(model)
    assert [r.path for r in manifest.resources] == [
        "a/z", "a.bin", "config.json", "deep/er/weights", "empty"
    ]  # fmt: skip
    assert manifest.resources[1].digest == hashlib.sha256(b"0123456789" * 5).digest()
    assert manifest.name == "model"
    assert manifest.ignore_paths == GIT


@pytest.mark.parametrize(
    ("algorithm", "function"),
    [("sha256", hashlib.sha256), ("blake2b", hashlib.blake2b), ("blake3", blake3.blake3)],
)
def test_digests_are_those_of_plain_tools(model, algorithm, function):
    manifest = hash_model(model, SigningOptions(algorithm=algorithm))
    for resource in manifest.resources:
        assert resource.digest == function((model / resource.path).read_bytes()).digest()
        assert resource[1:3] == (0, -1)


def test_shards_cover_files_that_are_not_empty(model):
    manifest = hash_model(model, SigningOptions(method="shards", shard_size=20))
    spans = [r[:3] for r in manifest.resources if r.path == "a.bin"]
    assert spans == [("a.bin", 0, 20), ("a.bin", 20, 40), ("a.bin", 40, 50)]
    assert "empty" not in {r.path for r in manifest.resources}
    for r in manifest.resources:
        assert r.digest == hashlib.sha256((model / r.path).read_bytes()[r.start : r.stop]).digest()
    assert SHARD_SIZE == 1_000_000_000


def test_one_file_is_named_by_a_point(model):
    manifest = hash_model(model / "a.bin", options(excluded=(model / "a.bin.sig",)))
    assert [r[:3] for r in manifest.resources] == [(".", 0, -1)]
    assert (manifest.name, manifest.single, manifest.ignore_paths) == ("a.bin", True, GIT)


def test_what_is_left_out_is_recorded(model, tmp_path):
    left_out = (
        model / "deep",
        model / "not-yet.sig",
        tmp_path / "elsewhere",
        model / ".." / "model" / "empty",
    )
    manifest = hash_model(model, options(excluded=left_out))
    assert manifest.ignore_paths == tuple(sorted([*GIT, "deep", "not-yet.sig", "empty"]))
    assert [r.path for r in manifest.resources] == ["a/z", "a.bin", "config.json"]


def test_git_is_left_out_at_the_top_alone(model):
    for name in (".git", ".github"):
        (model / name).mkdir()
        (model / name / "x").write_bytes(b"x")
    (model / ".gitignore").write_bytes(b"x")
    (model / "deep" / ".gitignore").write_bytes(b"x")
    assert [r.path for r in hash_model(model).resources if "git" in r.path] == ["deep/.gitignore"]


def test_named_from_inside(model, monkeypatch):
    monkeypatch.chdir(model)
    from pathlib import Path

    manifest = hash_model(Path(), options(excluded=(Path("model.sig"),)))
    assert manifest.name == "model"
    assert "model.sig" in manifest.ignore_paths


def test_links(model):
    (model / "link").symlink_to("a.bin")
    with pytest.raises(PathUnsafe, match="is a link"):
        hash_model(model)
    manifest = hash_model(model, options(links=True))
    assert manifest.links
    assert {r.path: r.digest for r in manifest.resources}["link"] == hashlib.sha256(
        b"0123456789" * 5
    ).digest()


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (options(ignore=("*.tmp",)), "no patterns"),
        (SigningOptions(method="shards", shard_size=0), "a shard of 0 bytes"),
        (SigningOptions(method="shards", shard_size=1 << 53), "is none"),
        (SigningOptions(method="shards", algorithm="blake3"), "no shards by BLAKE3"),
    ],
)
def test_options_that_the_format_cannot_record(model, chosen, sentence):
    with pytest.raises(ConfigInvalid, match=sentence):
        hash_model(model, chosen)


def test_nothing_to_sign(tmp_path):
    with pytest.raises(FileMissing):
        hash_model(tmp_path / "nowhere")
    with pytest.raises(FileMissing, match="holds no file"):
        hash_model(tmp_path)
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(FileMissing, match="all files are empty"):
        hash_model(tmp_path, SigningOptions(method="shards"))


def test_nobody_to_sign(model):
    with pytest.raises(ValueError, match="without signatures says nothing"):
        sign_openssf(model, [])


def test_a_token_that_fails(model, alice):
    class Broken:
        public = alice.public

        def sign(self, data):
            raise KeyServiceFailed("the token was pulled out")

    with pytest.raises(KeyServiceFailed, match="pulled out"):
        sign_openssf(model, [alice, Broken()])


def test_every_signer_is_named(model, alice, bob, carol):
    read = bundle.decode(sign_openssf(model, [alice, bob, carol]))
    assert [s.keyid for s in read.envelope.signatures] == [s.public.key_id for s in (alice, bob, carol)]
    assert read.hint == alice.public.key_id
    assert read.envelope.payload_type == "application/vnd.in-toto+json"


def test_the_payload_is_the_same_every_time(model, bob):
    assert sign_openssf(model, [bob]) == sign_openssf(model, [bob])  # Ed25519 draws no random number


names = st.text(st.sampled_from("abcXYZ019-_. é中"), min_size=1, max_size=8).filter(lambda n: set(n) != {"."})


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(names, st.binary(max_size=40), min_size=1, max_size=6), st.sampled_from([0, 1, 7, 64]))
def test_any_folder_is_signed_and_verified(tmp_path_factory, bob, files, size):
    root = tmp_path_factory.mktemp("any")
    for name, content in files.items():
        (root / name).write_bytes(content)
    chosen = SigningOptions(method="shards", shard_size=size) if size else SigningOptions()
    try:
        data = sign_openssf(root, [bob], chosen)
    except PathUnsafe as error:
        assert "may name one file" in str(error)  # noqa: PT017  (names are drawn that fold together)
        return
    except FileMissing:
        assert size
        assert not any(files.values())  # shards of nothing but empty files
        return
    statement = verify_bundle(data, [bob.public]).statement
    assert read_manifest(statement) == hash_model(root, chosen)
    checked = check_files(statement, root, CheckOptions(partial=bool(size)))
    assert checked.bytes == sum(len(content) for content in files.values())


def test_many_files(tmp_path, bob):
    for index in range(2000):
        (tmp_path / f"{index // 50}").mkdir(exist_ok=True)
        (tmp_path / f"{index // 50}" / f"{index}").write_bytes(b"%d" % index)
    data = sign_openssf(tmp_path, [bob])
    assert check_files(verify_bundle(data, [bob.public]).statement, tmp_path).files == 2000


def test_a_large_file_is_read_in_pieces(tmp_path, bob):
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(300 << 20)
    tracemalloc.start()
    data = sign_openssf(tmp_path, [bob], SigningOptions(algorithm="blake3"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) < 2000
    assert peak < 16 << 20
