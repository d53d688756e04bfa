"""The tree as a value: strict to read, and what differs between two of them."""

from __future__ import annotations

import copy
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.core.canonical import canonical
from modelward.errors import PathUnsafe, SealDamaged
from modelward.vault.hazmat import hashing
from modelward.vault.tree.entries import (
    Changes,
    Entry,
    Tree,
    compare,
    differences,
    parse_root,
    tree_from_json,
    tree_of,
)
from modelward.vault.tree.hashing import hash_tree
from modelward.vault.tree.leaves import entry_leaf

ROOT = "ab" * 32


def tree(*names, algorithm="sha256"):
    return tree_of(
        [Entry(name, len(name), hashlib.sha256(name.encode()).hexdigest()) for name in names], algorithm
    )


def test_the_order_of_entries_does_not_matter():
    assert tree("a", "b/c", "b/d") == tree("b/d", "a", "b/c")


def test_hash_functions_do_not_mix():
    assert tree("a").root != tree("a", algorithm="blake3").root
    assert tree("a").root.startswith("sha256:")
    assert tree("a", algorithm="blake3").digest.keys() == {"blake3"}


def test_a_tree_without_files_has_no_root():
    with pytest.raises(ValueError, match="without files"):
        tree_of([], "sha256")


@pytest.mark.parametrize(
    "entry",
    [
        Entry("a", -1, ROOT),
        Entry("a", 1 << 53, ROOT),
        Entry("a", 1, ROOT[1:]),
        Entry("a", 1, ROOT.upper()),
        Entry("a", 1, ROOT + "\n"),
        Entry("a", 1, ""),
    ],
)
def test_what_is_no_entry(entry):
    with pytest.raises(ValueError, match="is no entry"):
        tree_of([entry], "sha256")


def test_unsafe_paths_make_no_tree():
    with pytest.raises(PathUnsafe):
        tree("a", "../b")
    with pytest.raises(PathUnsafe):
        tree("a", "A")


def test_a_tree_is_read_back():
    made = tree("a", "b/c", "\u00e9")
    assert tree_from_json(made.to_json()) == made


def test_a_prefix_of_the_entries_has_another_root():
    roots = {tree(*"abcdefgh"[:n]).root for n in range(1, 9)}
    assert len(roots) == 8


def set_at(value, keys, new):
    found = copy.deepcopy(value)
    here = found
    for key in keys[:-1]:
        here = here[key]
    here[keys[-1]] = new
    return found


@pytest.mark.parametrize(
    ("keys", "new"),
    [
        (["algorithm"], "md5"),
        (["algorithm"], "blake3"),
        (["algorithm"], None),
        (["root"], "sha256:" + "0" * 64),
        (["root"], "0" * 64),
        (["root"], 1),
        (["entries"], []),
        (["entries"], {}),
        (["entries", 0], "a"),
        (["entries", 0, "path"], "../a"),
        (["entries", 0, "path"], "b/c"),
        (["entries", 0, "path"], 1),
        (["entries", 0, "path"], "x"),
        (["entries", 0, "length"], 2),
        (["entries", 0, "length"], -1),
        (["entries", 0, "length"], 1.5),
        (["entries", 0, "length"], 1 << 70),
        (["entries", 0, "length"], True),
        (["entries", 0, "root"], "00"),
        (["entries", 0, "root"], "0" * 64),
        (["more"], 1),
    ],
)
def test_a_damaged_list(keys, new):
    with pytest.raises(SealDamaged):
        tree_from_json(set_at(tree("a", "b/c").to_json(), keys, new))


def test_a_list_out_of_order():
    value = tree("a", "b").to_json()
    value["entries"].reverse()
    with pytest.raises(SealDamaged, match="out of order"):
        tree_from_json(value)


@pytest.mark.parametrize("value", [None, [], "x", 1, {}, {"algorithm": "sha256"}])
def test_what_is_no_list(value):
    with pytest.raises(SealDamaged):
        tree_from_json(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["algorithm", "entries", "root", "path", "length"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json_values)
@settings(max_examples=200)
def test_anything_else_is_refused(value):
    with pytest.raises(SealDamaged):
        tree_from_json(value)


def test_roots_as_text():
    assert parse_root("sha256:" + ROOT) == ("sha256", bytes.fromhex(ROOT))
    assert parse_root("blake3:" + ROOT) == ("blake3", bytes.fromhex(ROOT))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ROOT,
        "md5:" + ROOT,
        "sha256:" + ROOT[1:],
        "sha256:" + ROOT.upper(),
        "SHA256:" + ROOT,
        f"sha256:{ROOT}\n",
    ],
)
def test_what_is_no_root(text):
    with pytest.raises(SealDamaged, match="is no root"):
        parse_root(text)


def test_equal_trees_do_not_differ():
    changes = differences(tree("a", "b"), tree("b", "a"))
    assert not changes
    assert changes == Changes()
    assert compare(tree("a"), tree("a")) == []


def test_differences_in_sentences(planted):
    sealed = hash_tree(planted({"a": b"1", "b": b"2", "c": b"3", "d/e": b"4"}))
    found = hash_tree(planted({"a": b"1", "b": b"X", "d/f": b"44", "d/g": b""}, "other"))
    assert compare(sealed, found) == [
        "b: altered",
        "c: missing",
        "d/e: missing",
        "d/f: added, was not sealed",
        "d/g: added, was not sealed",
    ]


def test_a_renamed_file_is_missing_and_added(planted):
    sealed = hash_tree(planted({"a": b"same", "c": b"kept"}))
    found = hash_tree(planted({"z": b"same", "c": b"kept"}, "other"))
    assert differences(sealed, found) == Changes(missing=("a",), added=("z",))


def test_control_characters_are_not_told():
    sentences = compare(tree("a\x1b[2J"), tree("b\nc"))
    assert all(text.isprintable() for text in sentences)


def test_two_hash_functions_are_not_compared():
    with pytest.raises(ValueError, match="cannot be compared"):
        compare(tree("a"), tree("a", algorithm="blake3"))


def test_a_tree_is_frozen():
    with pytest.raises(AttributeError):
        tree("a").root = "x"
    assert isinstance(tree("a"), Tree)


@given(
    path=st.text(min_size=1),
    length=st.integers(0, (1 << 53) - 1),
    algorithm=st.sampled_from(["sha256", "blake3"]),
)
@settings(max_examples=300)
def test_the_leaf_of_an_entry_is_over_canonical_json(path, length, algorithm):
    """Against the library of RFC 8785: every control character, quote and letter is written as it writes them."""
    text = canonical({"length": length, "path": path, "root": ROOT})
    assert entry_leaf(algorithm, path, length, ROOT) == hashing.maker(algorithm)(b"\x00" + text).digest()


def test_every_character_of_a_name_is_written_canonically():
    for at in range(0, 0x11000, 64):
        path = "".join(map(chr, range(at, at + 64))) if not 0xD800 <= at < 0xE000 else "x"
        text = canonical({"length": 1, "path": path, "root": ROOT})
        assert entry_leaf("sha256", path, 1, ROOT) == hashlib.sha256(b"\x00" + text).digest()
