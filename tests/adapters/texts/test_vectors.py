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
        ({"words": np.array([0xFFFFFFFF], np.uint32).view("U1"), "vectors": np.ones((1, 2))}, FileDamaged),
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


@pytest.mark.parametrize("ending", ["\n", "\r\n", " \n", ""])
def test_line_ends_and_blanks_at_them(put, ending):
    found = open_vectors(put(f"free 3 4{ending or chr(10)}cheap 0 2{ending}"))
    assert found.words == ("free", "cheap")
    np.testing.assert_allclose(found.vectors, [[0.6, 0.8], [0, 1]], rtol=1e-6)


@pytest.mark.parametrize("huge", ["1e200", "-1e308", "inf"])
def test_numbers_too_large_to_have_a_length_drop_the_word(put, huge):
    assert open_vectors(put(f"free {huge} {huge}\ncheap 0 2\n")).words == ("cheap",)


def test_the_first_of_equal_words_counts_unless_it_is_zero(put):
    found = open_vectors(put("free 0 0\nfree 0 3\nfree 4 0\n"))
    assert found.words == ("free",)
    assert found.vectors.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "content",
    ["free  1 2\n", "free 1\t2\n", "free 1 2\n\ncheap 1 2\n", "free 1 2\ncheap 1 2 3\n", "free 1 2 cheap\n"],
)
def test_lines_of_another_form_are_refused_and_named(put, content):
    with pytest.raises(FileDamaged, match=r"line [123]"):
        open_vectors(put(content))


def test_words_beyond_ascii_are_words(put):
    assert open_vectors(put("naïve 1 0\n字 0 1\n\U0001f600 1 1\n")).words == ("naïve", "字", "\U0001f600")


def test_every_vector_has_length_1(put):
    random = np.random.default_rng(0)
    lines = [
        f"w{i} " + " ".join(f"{v:.5g}" for v in random.normal(size=6) * 10.0 ** (i % 9 - 4))
        for i in range(40)
    ]
    found = open_vectors(put("\n".join(lines) + "\n"))
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, rtol=1e-6)
    assert found.words == tuple(f"w{i}" for i in range(40))


def test_the_digest_is_of_the_file(put):
    one, same, other = (
        open_vectors(put(c, n)) for c, n in ((LINES, "a"), (LINES, "b"), (LINES + "x 1 1\n", "c"))
    )
    assert one.subject.digest == same.subject.digest != other.subject.digest


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint16])
def test_arrays_of_any_number_type(tmp_path, dtype):
    np.savez(tmp_path / "v.npz", words=np.array(["a", "b"]), vectors=np.array([[3, 4], [0, 2]], dtype))
    np.testing.assert_allclose(open_vectors(str(tmp_path / "v.npz")).vectors, [[0.6, 0.8], [0, 1]], rtol=1e-6)


@pytest.mark.parametrize(
    "arrays",
    [
        {"words": np.array(["a", "b"]), "vectors": np.ones((2, 2), np.complex128)},
        {"words": np.array(["a", "b"]), "vectors": np.ones((2, 2), np.bool_)},
        {"words": np.array([["a", "b"]]), "vectors": np.ones((1, 2))},
        {"words": np.array(["a", "b"]), "vectors": np.ones(2)},
        {"words": np.array([b"a", b"b"]), "vectors": np.ones((2, 2))},
        {"words": np.array(["a", "b"]), "vectors": np.zeros((2, 0))},
        {"words": np.array([], np.str_), "vectors": np.ones((0, 2))},
    ],
)
def test_arrays_of_other_kinds_and_shapes(tmp_path, arrays):
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises((FileDamaged, InputError)):
        open_vectors(str(tmp_path / "v.npz"))


def test_a_folder_is_no_file_of_vectors(tmp_path):
    with pytest.raises((FileMissing, InputError)):
        open_vectors(str(tmp_path))


def test_a_first_line_of_one_number_is_a_header_only_where_it_counts(put):
    """Vectors of one number look like the header of word2vec, but for the word."""
    assert open_vectors(put("free 2\ncheap -1\n")).words == ("free", "cheap")
    assert open_vectors(put("2 1\nfree 2\ncheap -1\n")).words == ("free", "cheap")
