import os
from pathlib import Path

import numpy as np
import pytest

from modelward.adapters.data import DataOptions, open_data
from modelward.adapters.data.open import recognise
from modelward.errors import (
    ColumnMissing,
    ConfigInvalid,
    FileDamaged,
    FileMissing,
    FormatUnknown,
    ShapeMismatch,
)

SHARED = Path(__file__).parents[4] / "shared" / "data"


def test_recognised_by_content_not_by_name(write, npz, npy_bytes, parquet, zipped):
    text = "a,b\n1,2\n"
    cases = {
        "csv": write("a.parquet", text),
        "csv.gz": write("a.npz", zipped(text)),
        "npy": write("a.csv", npy_bytes(np.zeros((2, 2)))),
        "parquet": write("b.csv", parquet({"a": [1]}).read_bytes()),
        "npz": write("c.csv", npz(x=np.zeros((2, 2))).read_bytes()),
    }
    for expected, path in cases.items():
        assert recognise(path) == expected
        assert open_data(path, DataOptions()).subject.format == expected


def test_umlauts_cut_at_the_end_of_the_head_are_text(write):
    assert recognise(write("a.csv", "a,b\n" + "ü" * 5000)) == "csv"
    assert recognise(write("b.csv", "ab,b\n" + "ü" * 5000)) == "csv"


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        (b"", FileDamaged, "is empty"),
        (b"\x7fELF\x00\x01", FormatUnknown, "its content is none of npz, npy, csv, csv.gz and parquet"),
        (
            b"\x80\x04K\x01.",
            FormatUnknown,
            "none of npz, npy, csv, csv.gz and parquet, but pickle",
        ),
        (b'{"a": [1, 2]}', FormatUnknown, "and parquet, but json"),
        (b"tree\nversion=v4\n", FormatUnknown, "and parquet, but lightgbm"),
        (b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 30, FileDamaged, "the gzip stream is damaged"),
        (b"\x1f\x8b\xff", FileDamaged, "the gzip stream is truncated"),
        (b"PK\x05\x06" + bytes(18), FormatUnknown, "is a zip archive without npy arrays"),
        (b"PK\x03\x04 and more", FileDamaged, "is a truncated or damaged npz file"),
    ],
)
def test_other_content(write, content, error, sentence):
    with pytest.raises(error) as caught:
        open_data(write("data.csv", content), DataOptions())
    assert sentence in str(caught.value)
    assert caught.value.advice


def test_missing_and_odd_paths(tmp_path):
    with pytest.raises(FileMissing, match=r"none\.csv: does not exist"):
        open_data(tmp_path / "none.csv", DataOptions())
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileMissing, match="pipe: is not a regular file"):
        open_data(tmp_path / "pipe", DataOptions())
    with pytest.raises(FileMissing, match=r"x\.npy: does not exist"):
        open_data(tmp_path, DataOptions())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable(write):
    path = write("a.csv", "a,b\n1,2\n")
    path.chmod(0)
    with pytest.raises(FileMissing, match="cannot be read"):
        open_data(path, DataOptions())


def test_unreadable_even_for_root(write, monkeypatch):
    path = write("a.csv", "a,b\n1,2\n")
    monkeypatch.setattr(
        Path, "open", lambda *a, **k: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
    )
    with pytest.raises(FileMissing, match=r"cannot be read \(Permission denied\)"):
        recognise(path)


@pytest.fixture
def pair(write, npy_bytes):
    return write("x.npy", npy_bytes(np.arange(6.0).reshape(3, 2))), write(
        "y.npy", npy_bytes(np.array([1, 0, 1]))
    )


def test_npy_pairs_in_every_spelling(pair):
    x, y = pair
    opened = [open_data(p, DataOptions()) for p in (pair, Path(f"{x},{y}"), x.parent)]
    assert len({data.subject.digest for data in opened}) == 1
    for data in opened:
        assert (data.subject.format, data.y.tolist(), data.labels) == ("npy", [1, 0, 1], ("0", "1"))


def test_npy_without_labels(pair):
    x, y = pair
    assert open_data(x, DataOptions()).y is None
    y.unlink()
    assert open_data(x.parent, DataOptions()).y is None
    with pytest.raises(ColumnMissing, match="the label column 'y' is not in the data"):
        open_data(x, DataOptions(label="y"))


def test_npy_pair_refusals(pair, write, npy_bytes):
    x, _ = pair
    with pytest.raises(FormatUnknown, match="is csv, where an npy array is expected"):
        open_data((x, write("y.csv", "y\n1\n")), DataOptions())
    with pytest.raises(ShapeMismatch, match="x has 3 samples and y has 2 rows"):
        open_data((x, write("z.npy", npy_bytes(np.zeros(2, int)))), DataOptions())
    with pytest.raises(FileMissing, match="does not exist"):
        open_data(Path(f"{x},/none/y.npy"), DataOptions())


def test_options_are_checked_first(tmp_path):
    with pytest.raises(ConfigInvalid):
        open_data(tmp_path / "none.csv", DataOptions(bounds=(1.0, 0.0)))


def test_npz_says_what_it_did_not_read(npz):
    data = open_data(npz(x=np.zeros((2, 2)), y=np.zeros(2), extra=np.zeros(1)), DataOptions())
    assert data.subject.details["ignored"] == ["extra"]


def test_npz_labels_by_key(npz):
    data = open_data(npz(x=np.zeros((2, 2)), target=np.array([3, 4])), DataOptions(label="target"))
    assert data.labels == ("3", "4")


@pytest.mark.skipif(not (SHARED / "adult.csv.gz").exists(), reason="the shared data folder is not here")
@pytest.mark.parametrize(
    ("name", "label", "rows", "classes", "kinds"),
    [
        (
            "adult.csv.gz",
            "income-per-year",
            32561,
            {"<=50K": 24720, ">50K": 7841},
            {"category": 8, "integer": 6},
        ),
        ("german_credit.csv.gz", "credit", 1000, {"1": 700, "2": 300}, {"category": 13, "integer": 7}),
        (
            "credit_default.csv.gz",
            "default payment next month",
            23999,
            {"0": 18630, "1": 5369},
            {"integer": 24},
        ),
    ],
)
def test_public_tables(name, label, rows, classes, kinds):
    data = open_data(SHARED / name, DataOptions(label=label))
    assert data.total == rows
    assert data.subject.details["classes"] == classes
    assert data.subject.details["kinds"] == kinds
