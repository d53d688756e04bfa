"""Small files are read whole, and no more than a bound."""

import os
from pathlib import Path

import pytest

from modelward.core.files import open_plain, read_at_most
from modelward.errors import ConfigInvalid, FileMissing

LONG = ConfigInvalid("it is too long")


@pytest.mark.parametrize("size", [0, 1, 9, 10])
def test_what_fits_is_given_whole(tmp_path, size):
    path = tmp_path / "a"
    path.write_bytes(b"x" * size)
    assert read_at_most(path, 10, LONG) == b"x" * size


@pytest.mark.parametrize("size", [11, 1000])
def test_what_does_not_fit_is_refused_in_the_callers_words(tmp_path, size):
    path = tmp_path / "a"
    path.write_bytes(b"x" * size)
    with pytest.raises(ConfigInvalid, match="it is too long") as refusal:
        read_at_most(path, 10, LONG)
    assert refusal.value is LONG


def test_what_never_ends_is_refused_all_the_same():
    with pytest.raises(ConfigInvalid):
        read_at_most(Path(os.devnull).with_name("zero"), 1000, LONG)


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_what_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(FileMissing, match="cannot be read"):
        read_at_most(tmp_path / name, 10, LONG)


def test_a_regular_file_is_opened(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "link").symlink_to("a")
    for name in ("a", "link"):
        with open_plain(tmp_path / name) as stream:
            assert stream.read() == b"x"


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: None]
)
def test_what_may_never_end_is_not_opened(tmp_path, make):
    make(tmp_path / "a")
    with pytest.raises(FileMissing, match="a: "):
        open_plain(tmp_path / "a")
