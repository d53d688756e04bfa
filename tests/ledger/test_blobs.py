import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelward.errors import LedgerTampered, LedgerUnwritable
from modelward.ledger.blobs import Blobs, write_atomically


@given(
    hnp.arrays(
        st.sampled_from(["<f4", ">f8", "<i8", "u1", "<U3", "?"]), hnp.array_shapes(max_dims=3, max_side=4)
    )
)
@settings(max_examples=30)
def test_round_trip(tmp_path_factory, array):
    blobs = Blobs(tmp_path_factory.mktemp("b") / "blobs")
    digest = blobs.put({"x": array, "index": np.arange(3)})
    back = blobs.get(digest)
    np.testing.assert_array_equal(back["x"], array)
    assert blobs.put({"index": np.arange(3), "x": array}) == digest


def test_digest_covers_type_shape_and_name(tmp_path):
    blobs = Blobs(tmp_path)
    arrays = [{"x": np.zeros(4)}, {"x": np.zeros(4, "f4")}, {"x": np.zeros((2, 2))}, {"y": np.zeros(4)}]
    assert len({blobs.put(a) for a in arrays}) == 4


def test_byte_order_is_not_content(tmp_path):
    blobs = Blobs(tmp_path)
    assert blobs.put({"x": np.arange(3, dtype=">i4")}) == blobs.put({"x": np.arange(3, dtype="<i4")})


def test_files_are_private(tmp_path):
    Blobs(tmp_path / "b").put({"x": np.ones(2)})
    (path,) = (tmp_path / "b").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_exchanged_content_is_refused(tmp_path):
    blobs = Blobs(tmp_path)
    one, two = blobs.put({"x": np.ones(2)}), blobs.put({"x": np.zeros(2)})
    path = tmp_path / f"{one.removeprefix('sha256:')}.npz"
    path.write_bytes((tmp_path / f"{two.removeprefix('sha256:')}.npz").read_bytes())
    with pytest.raises(LedgerTampered, match="does not hold"):
        blobs.get(one)
    path.write_bytes(b"PK broken")
    with pytest.raises(LedgerTampered, match="read back"):
        blobs.get(one)
    path.unlink()
    with pytest.raises(LedgerTampered, match="is gone"):
        blobs.get(one)


def test_unwritable_folder(tmp_path):
    (tmp_path / "b").write_text("a file")
    with pytest.raises(LedgerUnwritable):
        Blobs(tmp_path / "b").put({"x": np.ones(2)})


def test_atomic_write_keeps_the_old_content_on_failure(tmp_path):
    path = tmp_path / "f"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def unfinished(path, monkeypatch, **options):
    """Where the file lies that becomes another one."""
    real, seen = type(path).replace, []

    def spy(self, target):
        seen.append(self.parent)
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(type(path), "replace", spy)
        write_atomically(path, b"x", **options)
    assert path.read_bytes() == b"x"
    return seen


def test_the_unfinished_file_lies_where_it_is_told(tmp_path, monkeypatch):
    inner = tmp_path / "inner"
    inner.mkdir()
    assert unfinished(inner / "f", monkeypatch) == [inner]
    assert unfinished(inner / "f", monkeypatch, beside=tmp_path) == [tmp_path]
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no second file system")
def test_a_folder_of_another_disk_is_not_used(tmp_path, monkeypatch):
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("both are one file system")
    assert unfinished(tmp_path / "f", monkeypatch, beside=Path("/dev/shm")) == [tmp_path]


def test_a_folder_that_nobody_may_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    inner = tmp_path / "inner"
    inner.mkdir()
    assert unfinished(inner / "f", monkeypatch, beside=tmp_path) == [inner]
