import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.adapters.data import DataOptions, open_data
from modelward.adapters.data.npy import open_npy, open_npz
from modelward.errors import FileDamaged, FileMissing, FormatUnknown, InputError, ModelwardError

DTYPES = ["<f4", ">f4", "<f8", "<f2", "|u1", "<i8", ">i2", "|b1", "<U5", "|S3", "<u4"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_reads_what_numpy_writes(tmp_path, dtype, order):
    array = np.array([[0, 1, 0], [1, 0, 1]]).astype(dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    read = open_npy(tmp_path / "a.npy")
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype
    assert not read.flags.writeable


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_versions(tmp_path, version):
    path = tmp_path / "a.npy"
    with path.open("wb") as stream:
        np.lib.format.write_array(stream, np.arange(4.0), version=version)
    np.testing.assert_array_equal(open_npy(path), np.arange(4.0))


def test_npy_without_values(tmp_path):
    np.save(tmp_path / "a.npy", np.empty((0, 3)))
    assert open_npy(tmp_path / "a.npy").shape == (0, 3)


def test_npy_is_mapped_not_read(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(10))
    read = open_npy(tmp_path / "a.npy")
    while read.base is not None and not isinstance(read, np.memmap):
        read = read.base
    assert isinstance(read, np.memmap)


@pytest.mark.parametrize("compressed", [False, True])
def test_npz(npz, compressed):
    path = npz(compressed, x=np.arange(6.0).reshape(3, 2), y=np.array([0, 1, 0]))
    x, y, ignored = open_npz(path, None)
    assert x.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert (y.tolist(), ignored) == ([0, 1, 0], [])


def test_npz_with_a_stated_key(npz):
    _, y, ignored = open_npz(npz(x=np.zeros((2, 2)), y=np.zeros(2), z=np.ones(2)), "z")
    assert (y.tolist(), ignored) == ([1, 1], ["y"])


def test_npz_with_x_alone(npz):
    assert open_npz(npz(x=np.zeros((2, 2))), None)[1] is None


@pytest.mark.parametrize(
    ("keys", "label"),
    [(("x_test", "y_test"), None), (("x", "labels"), None), (("y",), None), (("x", "y"), "z")],
)
def test_npz_with_other_keys_names_them(npz, keys, label):
    path = npz(**{key: np.zeros((2, 2)) for key in keys})
    with pytest.raises(InputError) as caught:
        open_npz(path, label)
    for key in keys:
        assert repr(key) in str(caught.value)


# -- what is refused ---------------------------------------------------------------------------------------


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("the data file was unpickled",))


def test_objects_are_refused_and_not_unpickled(tmp_path, npz):
    array = np.array([Payload(), Payload()], dtype=object)
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    sentence = "holds Python objects, which only unpickling could read, so it is refused"
    with pytest.raises(InputError, match=sentence):
        open_npy(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", allow_pickle=True, x=array)
    with pytest.raises(InputError, match=sentence):
        open_npz(tmp_path / "a.npz", None)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(2, "c16"),
        np.zeros(2, "M8[s]"),
        np.zeros(2, "V3"),
        np.zeros(2, [("a", "f4")]),
        np.zeros(2, "g"),
    ],
)
def test_other_types_are_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match="neither numbers nor texts"):
        open_npy(tmp_path / "a.npy")


def header(text, version=1):
    body = text.encode()
    size = struct.pack("<H", len(body)) if version == 1 else struct.pack("<I", len(body))
    return b"\x93NUMPY" + bytes([version, 0]) + size + body


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x93NUMPY", "is not an npy array"),
        (b"\x93NUMPY\x09\x00\x00\x00", "is not an npy array"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "its header is truncated or longer"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "its header is truncated or longer"),
        (header("{" * 5000), "its header cannot be read"),
        (header("[]"), "its header lacks type, order or shape"),
        (header("{'descr': '<f8'}"), "its header lacks type, order or shape"),
        (header("{'descr': '<f8', 'fortran_order': 0, 'shape': (1,)}"), "its header states no valid shape"),
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"),
            "its header states no valid shape",
        ),
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}"),
            "its header states no valid shape",
        ),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': 3}"), "its header states no valid shape"),
        (
            header("{'descr': '<f3', 'fortran_order': False, 'shape': (1,)}"),
            "its header states no valid type",
        ),
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}") + bytes(15),
            "has 15 bytes of values where",
        ),
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}") + bytes(17),
            "has 17 bytes of values where",
        ),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (10**12,)}"), "its header cannot be read"),
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"),
            "takes 8,000,000,000,000",
        ),
    ],
)
def test_damaged_npy(write, content, sentence):
    with pytest.raises(FileDamaged) as caught:
        open_npy(write("a.npy", content))
    assert sentence in str(caught.value)


def test_header_is_data_not_code(write, tmp_path):
    target = tmp_path / "ran"
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': open({str(target)!r}, 'w')}}"
    with pytest.raises(FileDamaged, match="its header cannot be read"):
        open_npy(write("a.npy", header(text)))
    assert not target.exists()


def test_missing_files(tmp_path):
    with pytest.raises(FileMissing, match="cannot be read"):
        open_npy(tmp_path / "none.npy")
    with pytest.raises(FileMissing, match="does not exist"):
        open_npz(tmp_path / "none.npz", None)


def test_zip_without_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("data.pkl", b"")
    with pytest.raises(FormatUnknown, match="is a zip archive without npy arrays"):
        open_npz(tmp_path / "a.zip", None)


@pytest.mark.parametrize("cut", [10, 100, -1, -30])
def test_truncated_npz(npz, write, cut):
    body = npz(x=np.zeros((20, 3)), y=np.zeros(20, int)).read_bytes()
    with pytest.raises(FileDamaged, match="is a truncated or damaged npz file"):
        open_npz(write("cut.npz", body[:cut]), None)


def test_npz_checksum(npz, write):
    body = bytearray(npz(x=np.full((20, 3), 1.5)).read_bytes())
    place = body.index(struct.pack("<d", 1.5)) + 80
    body[place] ^= 1
    with pytest.raises(FileDamaged, match="is a truncated or damaged npz file"):
        open_npz(write("bad.npz", bytes(body)), None)


def test_npz_bomb(npz, monkeypatch):
    monkeypatch.setattr("modelward.adapters.data.npy.GRACE", 1 << 20)
    path = npz(True, x=np.zeros((1 << 20, 2)))
    with pytest.raises(FileDamaged, match="over 200 times as much"):
        open_npz(path, None)


def test_npz_that_lies_about_its_size_allocates_nothing_large(npz, write):
    path = npz(x=np.zeros((4, 2)))
    body = bytearray(path.read_bytes())
    place = body.index(b"PK\x01\x02")  # the central directory: compressed size at +20, size at +24
    body[place + 20 : place + 28] = struct.pack("<II", 0xFFFF_FFF0, 0xFFFF_FFF0)
    with pytest.raises(FileDamaged):
        open_npz(write("lie.npz", bytes(body)), None)


def mutate(body, edits):
    for place, value in edits:
        body[place % len(body)] = value
    return bytes(body)


def complaint(path):
    """What modelward says about a file; any other error is not caught."""
    try:
        open_data(path, DataOptions())
    except ModelwardError as error:
        return str(error)
    return ""


edits = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6)
relaxed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@relaxed
@given(edits=edits, compressed=st.booleans(), texts=st.booleans())
def test_mutated_npz_raises_only_modelward_errors(npz, write, edits, compressed, texts):
    y = np.array(["a", "b", "a"]) if texts else np.array([0, 1, 0])
    body = bytearray(npz(compressed, x=np.arange(6.0).reshape(3, 2), y=y).read_bytes())
    assert "\n" not in complaint(write("m.npz", mutate(body, edits)))


@relaxed
@given(edits=edits, dtype=st.sampled_from(DTYPES))
def test_mutated_npy_raises_only_modelward_errors(npy_bytes, write, edits, dtype):
    y = np.array([0, 1, 0, 1]).astype(dtype)
    write("x.npy", npy_bytes(np.arange(8.0).reshape(4, 2)))
    path = write("y.npy", mutate(bytearray(npy_bytes(y)), edits))
    assert "\n" not in complaint(path.parent)


@relaxed
@given(edits=edits, cut=st.integers(1, 200))
def test_mutated_header_of_x(npy_bytes, write, edits, cut):
    body = bytearray(npy_bytes(np.arange(8, dtype="f4").reshape(4, 2)))
    path = write(
        "x.npy", mutate(body, [(place % 90, value) for place, value in edits])[: len(body) - cut % 3]
    )
    assert "\n" not in complaint(path)
