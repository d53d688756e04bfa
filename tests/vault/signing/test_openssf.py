"""What an OpenSSF statement may say, and what contradicts itself."""

import copy
import hashlib
import json

import blake3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import SealDamaged
from modelward.vault.dsse import Statement
from modelward.vault.signing.openssf import (
    EARLY_PREDICATE,
    GIT,
    PREDICATE,
    Manifest,
    Resource,
    read_manifest,
)

HASH = {
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "blake2b": lambda data: hashlib.blake2b(data).digest(),
    "blake3": lambda data: blake3.blake3(data).digest(),
}


def of(names, *, algorithm="sha256", serialization=None, label=None):
    """A statement as the format has it, over names in the order given; their content is their name."""
    resources = [
        {"name": name, "algorithm": label or algorithm, "digest": HASH[algorithm](name.encode()).hex()}
        for name in names
    ]
    joined = hashlib.sha256(b"".join(bytes.fromhex(r["digest"]) for r in resources)).hexdigest()
    return Statement(
        subjects=(("model", {"sha256": joined}),),
        predicate_type=PREDICATE,
        predicate={
            "serialization": serialization
            or {"method": "files", "hash_type": algorithm, "allow_symlinks": False},
            "resources": resources,
        },
    )


def shards(names, size, *, algorithm="sha256"):
    serialization = {
        "method": "shards", "hash_type": algorithm, "shard_size": size, "allow_symlinks": False
    }  # fmt: skip
    return of(
        names, algorithm=algorithm, serialization=serialization, label=f"{algorithm}-sharded-{int(size)}"
    )


def changed(statement, **predicate):
    return Statement(
        subjects=statement.subjects,
        predicate_type=statement.predicate_type,
        predicate={**copy.deepcopy(statement.predicate), **predicate},
    )


def with_serialization(**fields):
    good = of(["a"])
    return changed(good, serialization={**good.predicate["serialization"], **fields})


def with_resource(**fields):
    """The second of two resources is changed; the subject follows where the digest is still hexadecimal."""
    good = of(["a", "b"])
    resources = copy.deepcopy(good.predicate["resources"])
    resources[1].update(fields)
    return changed(good, resources=resources)


def test_the_least_statement():
    manifest = read_manifest(of(["a"]))
    assert manifest == Manifest(
        name="model", ignore_paths=(), resources=(Resource("a", 0, -1, hashlib.sha256(b"a").digest()),)
    )
    assert not manifest.single


@pytest.mark.parametrize("algorithm", ["sha256", "blake2b", "blake3"])
def test_every_algorithm(algorithm):
    manifest = read_manifest(of(["a", "b"], algorithm=algorithm))
    assert manifest.algorithm == algorithm
    assert len(manifest.resources[0].digest) == (64 if algorithm == "blake2b" else 32)


def test_the_digest_of_the_subject_is_over_raw_digests():
    """Known answer: SHA-256 of the digests of "a" and "b", one after the other."""
    manifest = read_manifest(of(["a", "b"]))
    assert manifest.digest == "e5a01fee14e0ed5c48714f22180f25ad8365b53f9779f79dc4a3d7e93963f94a"
    assert manifest.digest == hashlib.sha256(b"".join(HASH["sha256"](x) for x in (b"a", b"b"))).hexdigest()


def test_what_is_written_is_read_back():
    for manifest in (
        Manifest(name="m", resources=(Resource(".", 0, -1, bytes(32)),)),
        Manifest(
            name="", algorithm="blake2b", links=True, ignore_paths=("x", "y/z"),
            resources=(Resource("a:1", 0, -1, bytes(64)), Resource("b", 0, -1, b"\x01" * 64)),
        ),
        Manifest(
            name="m", method="shards", shard_size=10,
            resources=(Resource("a:1", 0, 10, bytes(32)), Resource("a:1", 10, 11, bytes(32)), Resource("b", 0, 3, bytes(32))),
        ),
    ):  # fmt: skip
        assert read_manifest(manifest.statement()) == manifest


def test_what_is_written_holds_the_fields_of_the_format():
    written = Manifest(name="m", resources=(Resource("a", 0, -1, bytes(32)),)).statement()
    assert json.loads(written.encode()) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": hashlib.sha256(bytes(32)).hexdigest()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [".git", ".gitattributes", ".github", ".gitignore"],
            },
            "resources": [{"name": "a", "algorithm": "sha256", "digest": "00" * 32}],
        },
    }
    assert GIT == (".git", ".gitattributes", ".github", ".gitignore")


@pytest.mark.parametrize(
    "names",
    [
        ["a/z", "a.bin"],  # by parts: "a" comes before "a.bin"
        ["a.bin", "a/z"],  # as text: "." comes before "/"
        ["b", "ä", "\U0001f600"],
        ["10", "9"],
    ],
)
def test_both_customary_orders_are_read(names):
    assert [resource.path for resource in read_manifest(of(names)).resources] == names


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["b", "a"], "out of order"),
        (["a", "a"], "a: is listed twice"),
        (["a", "b", "a"], "out of order|twice"),
        (["a", "A"], "out of order|unsafe path"),
        (["A", "a"], "unsafe path: .*may name one file"),
        (["caf\u00e9", "cafe\u0301"], "unsafe path|out of order"),
        (["cafe\u0301", "caf\u00e9"], "unsafe path: .*may name one file"),
        (["a", "a/b"], "unsafe path: .*may name one file"),
        (["../a"], "unsafe path"),
        (["a/../b"], "unsafe path"),
        (["/etc/passwd"], "unsafe path"),
        (["a//b"], "unsafe path"),
        (["./a"], "unsafe path"),
        (["a/"], "unsafe path"),
        ([""], "unsafe path"),
        ([".."], "unsafe path"),
        ([".", "a"], "unsafe path"),
        (["a\\b"], "unsafe path"),
        (["a\x00b"], "unsafe path"),
        (["x" * 5000], "unsafe path"),
        ([], "lists no file"),
    ],
)
def test_names_that_no_model_has(names, sentence):
    with pytest.raises(SealDamaged, match=sentence):
        read_manifest(of(names))


def test_a_name_that_is_not_unicode():
    statement = of(["a"])
    statement.predicate["resources"][0]["name"] = "\udcff"
    with pytest.raises(SealDamaged, match="unsafe path"):
        read_manifest(statement)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (with_serialization(hash_type="md5"), "hashes by 'md5'"),
        (with_serialization(hash_type=None), "hashes by None"),
        (with_serialization(hash_type=["sha256"]), "hashes by"),
        (with_serialization(hash_type="sha256" * 1000), "hashes by"),
        (with_serialization(method="file"), "neither files nor shards"),
        (with_serialization(method=None), "neither files nor shards"),
        (with_serialization(method="shards"), "a shard of None bytes"),
        (with_serialization(method="shards", shard_size=0), "a shard of 0 bytes"),
        (with_serialization(method="shards", shard_size=-1), "a shard of -1 bytes"),
        (with_serialization(method="shards", shard_size=1.5), "a shard of 1.5 bytes"),
        (with_serialization(method="shards", shard_size=True), "a shard of True bytes"),
        (with_serialization(method="shards", shard_size="9"), "a shard of '9' bytes"),
        (with_serialization(method="shards", shard_size=1 << 60), "a shard of"),
        (with_serialization(method="shards", shard_size=1 << 53), "a shard of"),
        (with_serialization(allow_symlinks="no"), "allow_symlinks"),
        (with_serialization(ignore_paths="x"), "ignore_paths"),
        (with_serialization(ignore_paths=[1]), "a path to ignore is no text"),
        (with_resource(algorithm="md5"), "b: hashed by md5"),
        (with_resource(algorithm="blake3"), "b: hashed by blake3, where the statement says sha256"),
        (with_resource(algorithm="sha256-sharded-10"), "b: hashed by sha256-sharded-10"),
        (with_resource(algorithm=None), "the algorithm of b is no text"),
        (with_resource(name=None), "the name of a resource is no text"),
        (with_resource(digest=None), "the digest of b is no text"),
        (with_resource(digest="00" * 31), "b: the digest is not 64"),
        (with_resource(digest="00" * 33), "b: the digest is not 64"),
        (with_resource(digest="0" * 63), "b: the digest is not 64"),
        (with_resource(digest="zz" * 32), "b: the digest is not 64"),
        (with_resource(digest="AB" * 32), "lower-case"),
        (with_resource(digest=" " + "0" * 63), "b: the digest is not 64"),
        (with_resource(digest="00" * 32), "the digest of the subject is not that of the resources"),
        (changed(of(["a"]), resources={}), "lacks its resources"),
        (changed(of(["a"]), resources=[1]), "a resource is no JSON object"),
        (changed(of(["a"]), serialization=None), "lacks its resources or how"),
    ],
)
def test_statements_that_contradict_the_format(statement, sentence):
    with pytest.raises(SealDamaged, match=sentence):
        read_manifest(statement)


@pytest.mark.parametrize(
    ("subjects", "sentence"),
    [
        ((), "0 subjects"),
        ((("m", {"sha256": "00" * 32}),) * 2, "2 subjects"),
        ((("m", {"sha256": "00" * 32}),), "not that of the resources"),
        ((("m", {"sha512": "00" * 64}),), "not that of the resources"),
        ((("m", {}),), "not that of the resources"),
        ((("m", {"sha256": "\u00e9"}),), "not that of the resources"),
    ],
)
def test_subjects_that_are_not_of_the_resources(subjects, sentence):
    good = of(["a"])
    with pytest.raises(SealDamaged, match=sentence):
        read_manifest(Statement(subjects=subjects, predicate_type=PREDICATE, predicate=good.predicate))


@pytest.mark.parametrize(
    "kind", ["", "https://model_signing/signature/v2.0", "https://slsa.dev/provenance/v1"]
)
def test_another_predicate(kind):
    with pytest.raises(SealDamaged, match="does not say what files a model has"):
        read_manifest(Statement(subjects=(("m", {}),), predicate_type=kind, predicate=of(["a"]).predicate))


def test_two_files_exchanged_have_another_digest():
    """The subject's digest does not bind names, but the statement that is signed does."""
    good = of(["a", "b"])
    renamed = changed(good, resources=[
        {**resource, "name": name} for resource, name in zip(good.predicate["resources"], ["c", "d"], strict=True)
    ])  # fmt: skip
    assert read_manifest(renamed).digest == read_manifest(good).digest
    assert renamed.encode() != good.encode()


class TestShards:
    @pytest.mark.parametrize("size", [10, 10.0])
    def test_sizes_with_a_point_are_read(self, size):
        manifest = read_manifest(shards(["a:0:10", "a:10:20", "a:20:25", "b:c:0:1"], size))
        assert manifest.shard_size == 10
        assert [resource[:3] for resource in manifest.resources] == [
            ("a", 0, 10), ("a", 10, 20), ("a", 20, 25), ("b:c", 0, 1)
        ]  # fmt: skip

    def test_the_largest_shard(self):
        assert read_manifest(shards(["a:0:5"], (1 << 53) - 1)).shard_size == (1 << 53) - 1

    def test_numbers_are_ordered_as_numbers(self):
        names = ["a:0:5", "a:5:10", "a:10:15"]
        assert len(read_manifest(shards(names, 5)).resources) == 3

    @pytest.mark.parametrize("algorithm", ["blake2b", "blake3"])
    def test_other_algorithms(self, algorithm):
        assert read_manifest(shards(["a:0:5"], 5, algorithm=algorithm)).algorithm == algorithm

    @pytest.mark.parametrize(
        ("names", "sentence"),
        [
            (["a"], "PATH:START:STOP"),
            (["a:0"], "PATH:START:STOP"),
            (["a:0:x"], "PATH:START:STOP"),
            (["a:-1:5"], "PATH:START:STOP"),
            (["a:00:5"], "PATH:START:STOP"),
            (["a:0:5 "], "PATH:START:STOP"),
            (["a:0:\u0665"], "PATH:START:STOP"),
            (["a:0:" + "9" * 400], "PATH:START:STOP"),
            (["a:5:10"], "do not cover it from its beginning"),
            (["a:0:0"], "do not cover"),
            (["a:0:11"], "do not cover"),
            (["a:0:10", "a:5:15"], "do not cover"),
            (["a:0:10", "a:11:12"], "do not cover"),
            (["a:0:9", "a:9:10"], "do not cover"),  # only the last one may be shorter
            (["a:0:10", "a:0:5"], "out of order|twice"),
            (["a:10:12", "a:0:10"], "out of order"),
            (["a:0:10", "b:0:10", "a:10:20"], "out of order|do not cover"),
            (["../a:0:10"], "unsafe path"),
            ([":0:10"], "unsafe path"),
            (["A:0:1", "a:0:1"], "unsafe path"),
        ],
    )
    def test_shards_that_are_none(self, names, sentence):
        with pytest.raises(SealDamaged, match=sentence):
            read_manifest(shards(names, 10))


class TestEarly:
    """Before 1.0: every file is a subject."""

    def of(self, *subjects):
        return Statement(subjects=subjects, predicate_type=EARLY_PREDICATE, predicate={"unused": "x"})

    def test_files_are_subjects(self):
        digest = hashlib.sha256(b"a").hexdigest()
        manifest = read_manifest(self.of(("a", {"sha256": digest}), ("b", {"sha256": digest})))
        assert [resource.path for resource in manifest.resources] == ["a", "b"]
        assert manifest.ignore_paths == GIT
        assert {resource[1:3] for resource in manifest.resources} == {(0, -1)}

    @pytest.mark.parametrize(
        ("subjects", "sentence"),
        [
            ([], "lists no file"),
            ([("a", {"sha1": "00" * 20})], "no digest by SHA-256"),
            ([("a", {})], "no digest by SHA-256"),
            ([("a", {"sha256": "00" * 32, "sha512": "00" * 64})], "no digest by SHA-256 alone"),
            ([("a", {"sha256": "00" * 31})], "the digest is not 64"),
            ([("../a", {"sha256": "00" * 32})], "unsafe path"),
            ([("b", {"sha256": "00" * 32}), ("a", {"sha256": "00" * 32})], "out of order"),
        ],
    )
    def test_refused(self, subjects, sentence):
        with pytest.raises(SealDamaged, match=sentence):
            read_manifest(self.of(*subjects))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {
            "serialization": json_values
            | st.fixed_dictionaries(
                {"method": st.sampled_from(["files", "shards"]) | json_values, "hash_type": json_values},
                optional={
                    "shard_size": json_values,
                    "allow_symlinks": json_values,
                    "ignore_paths": json_values,
                },
            ),
            "resources": json_values
            | st.lists(
                st.fixed_dictionaries({"name": json_values, "algorithm": json_values, "digest": json_values}),
                max_size=3,
            ),
        }
    )
)
def test_any_predicate_ends_in_an_answer(predicate):
    with pytest.raises(SealDamaged):
        read_manifest(
            Statement(subjects=(("m", {"sha256": "0"}),), predicate_type=PREDICATE, predicate=predicate)
        )


paths = st.lists(
    st.text(st.sampled_from("ab/.: é"), min_size=1, max_size=6), min_size=1, max_size=5, unique=True
)


@given(paths, st.data())
def test_whatever_is_read_is_written_the_same(names, data):
    size = data.draw(st.sampled_from([0, 3]))
    ordered = sorted(names, key=lambda name: name.split("/"))
    resources = []
    for name in ordered:
        length = data.draw(st.integers(1, 8))
        cuts = [(start, min(start + 3, length)) for start in range(0, length, 3)] if size else [(0, -1)]
        resources += [Resource(name, *cut, bytes([len(resources)]) * 32) for cut in cuts]
    manifest = Manifest(
        name="m", method="shards" if size else "files", shard_size=size, resources=tuple(resources)
    )
    try:
        assert read_manifest(manifest.statement()) == manifest
    except SealDamaged as error:
        assert "unsafe path" in str(error)  # noqa: PT017  (hypothesis draws unsafe names as well)
