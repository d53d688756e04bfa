"""modelward's own statement: a root that binds names and lengths."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import ContentChanged, SealDamaged
from modelward.vault.dsse import Statement
from modelward.vault.signing.checking import check_files
from modelward.vault.signing.openssf import read_manifest
from modelward.vault.signing.tree_statement import (
    PREDICATE,
    TreeStatement,
    read_tree_statement,
    sign_tree,
    tree_statement,
)
from modelward.vault.signing.verification import verify_bundle
from modelward.vault.tree.entries import Entry, tree_of
from modelward.vault.tree.hashing import TreeOptions, hash_tree

TREE = tree_of([Entry("a", 3, "aa" * 32), Entry("b/c", 4, "bb" * 32)], "sha256")
CONTAINER = {"format": "modelward.seal/1", "id": "00ff", "encryption": "none"}


def changed(statement, subjects=None, **predicate):
    merged = {**copy.deepcopy(statement.predicate), **predicate}
    return Statement(
        subjects=statement.subjects if subjects is None else subjects,
        predicate_type=statement.predicate_type,
        predicate={key: value for key, value in merged.items() if value is not ...},
    )


@pytest.mark.parametrize("algorithm", ["sha256", "blake3"])
@pytest.mark.parametrize("listed", [False, True])
def test_signed_and_verified(model, alice, algorithm, listed):
    tree = hash_tree(model, TreeOptions(algorithm=algorithm))
    data = sign_tree(tree, [alice], name="model", listed=listed)
    verified = verify_bundle(data, [alice.public])
    said = read_tree_statement(verified.statement)
    assert said.root == tree.root
    assert said.root.startswith(algorithm)
    assert (said.files, said.bytes, said.name) == (5, tree.length, "model")
    assert (said.tree == tree) is listed
    assert check_files(verified.statement, model).root == tree.root
    (model / "config.json").write_bytes(b"[]")
    with pytest.raises(ContentChanged):
        check_files(verified.statement, model)


def test_the_fields_of_the_format():
    statement = tree_statement(TREE, name="m", container=CONTAINER)
    assert json.loads(statement.encode()) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": TREE.root[7:]}}],
        "predicateType": "https://modelward.dev/tree/v1",
        "predicate": {
            "algorithm": "sha256",
            "root": TREE.root,
            "files": 2,
            "bytes": 7,
            "container": CONTAINER,
        },
    }


@pytest.mark.parametrize("container", [None, {}, CONTAINER])
@pytest.mark.parametrize("listed", [False, True])
def test_what_is_written_is_read_back(container, listed):
    said = read_tree_statement(tree_statement(TREE, name="m", container=container, listed=listed))
    assert said == TreeStatement(
        name="m", root=TREE.root, files=2, bytes=7, container=container, tree=TREE if listed else None
    )


def test_names_and_lengths_are_bound(model, alice):
    """Unlike the digest of an OpenSSF subject."""
    sealed = hash_tree(model)
    statement = verify_bundle(sign_tree(sealed, [alice], name="m", listed=True), [alice.public]).statement
    (model / "config.json").rename(model / "config2.json")
    assert hash_tree(model).root != sealed.root
    with pytest.raises(ContentChanged, match=r"config\.json: missing; config2\.json: added"):
        check_files(statement, model)


GOOD = tree_statement(TREE, name="m", container=CONTAINER, listed=True)
OTHER = tree_of([Entry("a", 3, "aa" * 32)], "sha256")


@pytest.mark.parametrize(
    "statement",
    [
        changed(GOOD, subjects=()),
        changed(GOOD, subjects=GOOD.subjects * 2),
        changed(GOOD, subjects=(("m", {"sha256": "00" * 32}),)),
        changed(GOOD, subjects=(("m", {"blake3": TREE.root[7:]}),)),
        changed(GOOD, subjects=(("m", {"sha256": TREE.root[7:], "sha512": "00"}),)),
        changed(GOOD, subjects=(("m", {}),)),
        changed(GOOD, algorithm="blake3"),
        changed(GOOD, algorithm="md5"),
        changed(GOOD, algorithm=1),
        changed(GOOD, algorithm=...),
        changed(GOOD, root="sha256:" + "00" * 32),
        changed(GOOD, root=TREE.root[7:]),
        changed(GOOD, root="md5:00"),
        changed(GOOD, root=TREE.root.upper()),
        changed(GOOD, root=...),
        changed(GOOD, files=3),
        changed(GOOD, files="2"),
        changed(GOOD, files=...),
        changed(GOOD, bytes=8),
        changed(GOOD, bytes=7.5),
        changed(GOOD, bytes=...),
        changed(GOOD, container=[]),
        changed(GOOD, entries=[]),
        changed(GOOD, entries=[{}]),
        changed(GOOD, entries="x"),
        changed(GOOD, entries=OTHER.to_json()["entries"]),
        changed(GOOD, entries=list(reversed(TREE.to_json()["entries"]))),
        changed(GOOD, entries=TREE.to_json()["entries"] * 2),
        changed(GOOD, entries=[{"path": "../a", "length": 3, "root": "aa" * 32}]),
        changed(GOOD, entries=[{"path": "a", "length": -3, "root": "aa" * 32}]),
        changed(GOOD, entries=[{"path": "a", "length": 3, "root": "aa" * 31}]),
        changed(GOOD, entries=[{"path": "\udcff", "length": 3, "root": "aa" * 32}]),
        changed(GOOD, unknown=1),
    ],
)
def test_statements_that_contradict_themselves(statement, tmp_path):
    with pytest.raises(SealDamaged):
        read_tree_statement(statement)
    with pytest.raises(SealDamaged):
        check_files(statement, tmp_path)


def test_the_two_predicates_are_not_taken_for_each_other():
    with pytest.raises(SealDamaged, match=r"modelward\.dev/tree/v1"):
        read_manifest(GOOD)
    other = Statement(subjects=GOOD.subjects, predicate_type=f"{PREDICATE}x", predicate=GOOD.predicate)
    with pytest.raises(SealDamaged, match="not one of a single tree"):
        read_tree_statement(other)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["algorithm", "root", "files", "bytes", "container", "entries", "more"]), json_values)
def test_any_value_in_any_field_is_refused_or_says_the_same(field, value):
    try:
        said = read_tree_statement(changed(GOOD, **{field: value}))
    except SealDamaged:
        return
    assert said.root == TREE.root
    assert field in {"container", "entries"} or GOOD.predicate[field] == value
