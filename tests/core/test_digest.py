import hashlib
import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.digest import array_digest, directory_digest, file_digest, table_digest
from modelward.errors import FileMissing


def test_file_digest_is_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc" * 1_000_000)
    assert file_digest(tmp_path / "f") == "sha256:" + hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_file_digest_tells_what_it_read(tmp_path):
    (tmp_path / "f").write_bytes(bytes(5_000_000))
    told = []
    file_digest(tmp_path / "f", told.append)
    assert len(told) > 1
    assert sum(told) == 5_000_000


def test_missing_file(tmp_path):
    with pytest.raises(FileMissing, match="cannot be read"):
        file_digest(tmp_path / "none")


def fill(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_directory_digest_does_not_depend_on_creation_order(tmp_path):
    names = ["b", "a/x", "a/y", "a.b", "Z"]
    fill(tmp_path / "one", names)
    fill(tmp_path / "two", reversed(names))
    assert directory_digest(tmp_path / "one") == directory_digest(tmp_path / "two")


@pytest.mark.parametrize("change", ["content", "name", "extra", "moved", "link"])
def test_directory_digest_sees_every_change(tmp_path, change):
    fill(tmp_path, ["a", "d/b"])
    before = directory_digest(tmp_path)
    match change:
        case "content":
            (tmp_path / "a").write_text("other")
        case "name":
            (tmp_path / "a").rename(tmp_path / "c")
        case "extra":
            (tmp_path / "e").write_text("")
        case "moved":
            (tmp_path / "d/b").rename(tmp_path / "b")
        case "link":
            (tmp_path / "l").symlink_to("a")
    assert directory_digest(tmp_path) != before


def test_links_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("1")
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "l").symlink_to(outside)
    before = directory_digest(inside)
    outside.write_text("2")
    assert directory_digest(inside) == before


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "p")
    with pytest.raises(FileMissing, match="neither"):
        directory_digest(tmp_path)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6))
def test_array_digest_does_not_depend_on_chunks(data, cuts):
    edges = sorted({0, len(data), *(min(c, len(data)) for c in cuts)})
    chunks = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert array_digest("|u1", (len(data),), chunks) == array_digest("|u1", (len(data),), [data])


def test_array_digest_covers_type_and_shape():
    digests = {
        array_digest(t, s, [bytes(8)])
        for t, s in [("<f8", (1,)), ("<i8", (1,)), ("<f4", (2,)), ("<f4", (2, 1))]
    }
    assert len(digests) == 4


def test_table_digest_does_not_depend_on_column_order():
    assert table_digest({"a": "1", "b": "2"}) == table_digest({"b": "2", "a": "1"})
    assert table_digest({"a": "1", "b": "2"}) != table_digest({"a": "2", "b": "1"})
