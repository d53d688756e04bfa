import numpy as np
import pytest

from modelward.adapters.data import DataOptions, from_arrays
from modelward.adapters.texts.vectors import open_vectors
from modelward.errors import FileDamaged, FileMissing, InputError

LINES = "free 3 4\ncheap 0 2\nthe 1 0\nnothing 0 0\nfree 9 9\n"


@pytest.fixture
def put(tmp_path):
    def write(content, name="vectors.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.mark.parametrize("header", ["", "5 2\n"])
def test_text_files(put, header):
    found = open_vectors(put(header + LINES))
    assert found.words == ("free", "cheap", "the")
    np.testing.assert_allclose(found.vectors, [[0.6, 0.8], [0, 1], [1, 0]], rtol=1e-6)
    assert found.vectors.dtype == np.float32
    assert found.subject.format == "txt"


def test_npz(tmp_path):
    path = tmp_path / "v.npz"
    np.savez(path, words=np.array(["free", "cheap"]), vectors=np.array([[3, 4], [0, 2]]))
    found = open_vectors(str(path))
    assert found.words == ("free", "cheap")
    np.testing.assert_allclose(found.vectors, [[0.6, 0.8], [0, 1]], rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no word vectors"),
        ("free 1 x\n", "line 1 is not a word and its numbers"),
        ("free 1 2\ncheap 1\n", "line 2 has 1 numbers where the first has 2"),
        ("free\n", "line 1 has 0 numbers"),
        (b"\xff\xff 1 2\n", "line 1"),
        ("free 0 0\n", "no word with a vector"),
        ("free nan 0\n", "no word with a vector"),
        (b"PK\x03\x04 broken", "damaged npz"),
    ],
)
def test_damaged_files(put, content, said):
    with pytest.raises(FileDamaged, match=said):
        open_vectors(put(content))


@pytest.mark.parametrize(
    ("arrays", "error"),
    [
        ({"words": np.array(["a"])}, FileDamaged),
        ({"words": np.array(["a"]), "vectors": np.ones((2, 2))}, FileDamaged),
        ({"words": np.array([1]), "vectors": np.ones((1, 2))}, FileDamaged),
        ({"words": np.array(["a"], dtype=object), "vectors": np.ones((1, 2))}, InputError),
    ],
)
def test_arrays_that_are_no_vectors(tmp_path, arrays, error):
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(error):
        open_vectors(str(tmp_path / "v.npz"))


def test_missing_file(tmp_path):
    with pytest.raises(FileMissing):
        open_vectors(str(tmp_path / "none.txt"))


def test_vectors_are_part_of_the_data(put):
    path = put(LINES)
    data = from_arrays(["a", "b"], [0, 1], options=DataOptions(vectors=path))
    assert data.vectors is not None
    assert data.subject.details["word vectors"] == data.vectors.subject.digest
