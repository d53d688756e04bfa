"""What a tree consists of, and what it refuses to take for a file."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from modelward.errors import ConfigInvalid, FileMissing, PathUnsafe
from modelward.vault.tree.walk import DEEPEST, WalkOptions, paths_in, walk


def paths(top, **options):
    return [entry.path for entry in walk(top, WalkOptions(**options))]


def test_files_in_order_of_parts(planted):
    top = planted({"b": b"", "a/c": b"1", "a.x": b"2", "a/b/d": b"3"})
    assert paths(top) == ["a/b/d", "a/c", "a.x", "b"]
    assert [entry.stat.st_size for entry in walk(top)] == [1, 1, 1, 0]
    assert all(Path(entry.absolute).read_bytes() is not None for entry in walk(top))


def test_a_root_that_is_a_link_is_followed(planted, tmp_path):
    top = planted({"a": b"1"})
    (tmp_path / "latest").symlink_to(top)
    (tmp_path / "net").symlink_to(top / "a")
    assert paths(tmp_path / "latest") == ["a"]
    assert paths(tmp_path / "net") == ["net"]


def test_a_relative_root(planted, monkeypatch):
    top = planted({"a": b"1", "s/b": b"2"})
    monkeypatch.chdir(top)
    assert paths(Path()) == paths(Path("s/..")) == ["a", "s/b"]
    assert paths(Path("s/b")) == ["b"]


@pytest.mark.parametrize("name", ["absent", "absent/deeper", "nul\0name"])
def test_what_is_not_there(name, tmp_path):
    with pytest.raises(FileMissing):
        walk(tmp_path / name)


def test_a_folder_without_files(tmp_path):
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(FileMissing, match="holds no file"):
        walk(tmp_path / "empty")


def test_a_folder_where_everything_is_left_out(planted):
    with pytest.raises(FileMissing, match="holds no file"):
        walk(planted({"a": b""}), WalkOptions(ignore=("*",)))


def test_a_pipe(planted):
    top = planted({"a": b"1"})
    os.mkfifo(top / "pipe")
    with pytest.raises(PathUnsafe, match="pipe: is a pipe, a socket or a device") as caught:
        walk(top)
    assert "leave it out" in caught.value.advice
    assert paths(top, ignore=("pipe",)) == ["a"]
    with pytest.raises(PathUnsafe, match="neither a file nor a folder"):
        walk(top / "pipe")


def test_a_socket(planted, monkeypatch):
    top = planted({"a": b"1"})
    monkeypatch.chdir(top)  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(PathUnsafe, match="s: is a pipe, a socket or a device"):
            walk(top)


def test_a_device():
    with pytest.raises(PathUnsafe, match="neither a file nor a folder"):
        walk(Path("/dev/null"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "..", "../model-b/x"])
@pytest.mark.parametrize("links", [False, True])
def test_a_link_out_of_the_tree(target, links, planted, tmp_path):
    """A folder whose name begins like the tree's is outside as well; whether it exists does not matter."""
    top = planted({"a": b"1"})
    (tmp_path / "outside").write_bytes(b"secret")
    (top / "out").symlink_to(target)
    with pytest.raises(PathUnsafe, match="out: is a link out of the folder"):
        walk(top, WalkOptions(links=links))


def test_a_link_that_leads_out_by_another_link(planted, tmp_path):
    top = planted({"a": b"1"})
    (tmp_path / "outside").mkdir()
    (top / "x").symlink_to("y/z")
    (top / "y").symlink_to(tmp_path / "outside")
    with pytest.raises(PathUnsafe, match="is a link out of the folder"):
        walk(top, WalkOptions(links=True))


def test_links_inside_are_refused_unless_asked_for(planted):
    top = planted({"a": b"one", "d/b": b"two"})
    (top / "l").symlink_to("a")
    (top / "m").symlink_to("d")
    with pytest.raises(PathUnsafe, match="links are not followed unless"):
        walk(top)
    found = walk(top, WalkOptions(links=True))
    assert [entry.path for entry in found] == ["a", "d/b", "l", "m/b"]
    assert [Path(entry.absolute).read_bytes() for entry in found] == [b"one", b"two", b"one", b"two"]


def test_a_link_to_nothing(planted):
    top = planted({"a": b"1"})
    (top / "dangling").symlink_to("gone")
    with pytest.raises(FileMissing, match="dangling: the link leads to nothing"):
        walk(top, WalkOptions(links=True))


def test_a_link_that_leads_to_itself(planted):
    top = planted({"a": b"1"})
    (top / "self").symlink_to("self")
    with pytest.raises(PathUnsafe, match="links are not followed"):
        walk(top)
    with pytest.raises((FileMissing, PathUnsafe), match="self"):
        walk(top, WalkOptions(links=True))


@pytest.mark.parametrize("target", [".", "..", "../d"])
def test_links_in_a_ring(target, planted):
    top = planted({"d/a": b"1"})
    (top / "d" / "ring").symlink_to(target)
    with pytest.raises(PathUnsafe, match="leads back to a folder above"):
        walk(top, WalkOptions(links=True))


def test_folders_too_deep(tmp_path):
    """Made step by step, since one call could not name it."""
    top = here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(DEEPEST + 2):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        if here != top:
            os.close(here)
        here = deeper
    os.close(here)
    os.close(top)
    with pytest.raises(PathUnsafe, match="lies too deep"):
        walk(tmp_path)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Model.bin", "model.bin"),
        ("caf\u00e9", "cafe\u0301"),
        ("stra\u00dfe", "strasse"),
        ("\u212b", "\u00c5"),
        ("A/x", "a/y"),
        ("d\u00e9/x", "De\u0301/y"),
        ("A/x", "a"),
        ("\u03a3", "\u03c2"),
    ],
)
def test_names_that_another_system_takes_for_one(one, two, planted):
    with pytest.raises(PathUnsafe, match="may name one file"):
        walk(planted({one: b"1", two: b"2"}))


def test_names_that_only_look_alike(planted):
    """Latin and Cyrillic letters, and a ligature: no file system takes them for one."""
    names = ["a", "\u0430", "\ufb01n2", "fin1"]
    assert sorted(paths(planted(dict.fromkeys(names, b"")))) == sorted(names)


def test_a_name_that_is_not_utf8(planted):
    top = planted({"a": b"1"})
    Path(os.fsdecode(os.fsencode(top) + b"/caf\xe9")).write_bytes(b"2")
    with pytest.raises(PathUnsafe, match="is not UTF-8") as caught:
        walk(top)
    assert str(caught.value).isascii()


@pytest.mark.parametrize("name", ["a\\b", "..\\x", "\\"])
def test_a_name_with_a_backslash(name, planted):
    with pytest.raises(PathUnsafe, match="backslash"):
        walk(planted({name: b"1"}))


def test_control_characters_do_not_reach_the_terminal(planted):
    top = planted({"a": b""})
    os.mkfifo(top / "x\x1b[31m\n")
    with pytest.raises(PathUnsafe) as caught:
        walk(top)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert paths(planted({"tab\there": b""}, "other")) == ["tab\there"]


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (("*.tmp",), ["a", "d/b", "d/e/f"]),
        (("d",), ["a", "c.tmp"]),
        (("d/e",), ["a", "c.tmp", "d/b", "d/g.tmp"]),
        (("d/*.tmp", "a"), ["c.tmp", "d/b", "d/e/f"]),
        (("[ab]",), ["c.tmp", "d/e/f", "d/g.tmp"]),
        (("A",), ["a", "c.tmp", "d/b", "d/e/f", "d/g.tmp"]),
    ],
)
def test_patterns(patterns, left, planted):
    top = planted({"a": b"", "c.tmp": b"", "d/b": b"", "d/g.tmp": b"", "d/e/f": b""})
    assert paths(top, ignore=patterns) == left


def test_an_ignored_folder_is_not_entered(planted):
    top = planted({"a": b"", ".git/config": b""})
    os.mkfifo(top / ".git" / "pipe")
    assert paths(top, ignore=(".git",)) == ["a"]


def test_excluded_places(planted, monkeypatch):
    top = planted({"a": b"", "d/a": b"", "d/b": b""})
    assert paths(top, excluded=(top / "a",)) == ["d/a", "d/b"]
    assert paths(top, excluded=(top / "d", top / "absent")) == ["a"]
    monkeypatch.chdir(top / "d")
    assert paths(top, excluded=(Path("b"), Path("../a"))) == ["d/a"]


def test_what_is_to_be_left_out_must_be_there(planted, tmp_path, monkeypatch):
    top = planted({"config.json": b"", "d/b": b""})
    (top / "out").symlink_to("nowhere")
    (tmp_path / "latest").symlink_to(top)
    there = (top / "config.json", top / "d", top / "out", tmp_path / "latest" / "config.json")
    assert paths_in(top, map(str, there)) == there
    assert paths_in(tmp_path / "latest", there) == there
    (tmp_path / "beside").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    for wrong in ("config.json", "beside", "", ".", top, top / "config", top / "d" / ".." / ".."):
        with pytest.raises(ConfigInvalid, match="names nothing in"):
            paths_in(top, [wrong])
    with pytest.raises(ConfigInvalid, match="names nothing in") as refused:
        paths_in(Path(top.name), ["config.json"])
    assert refused.value.advice == f"Write the whole path, as {top.name}/config.json."
    with pytest.raises(ConfigInvalid):
        paths_in(top / "config.json", [top / "config.json"])  # a file has no parts
    monkeypatch.chdir(top)
    with pytest.raises(ConfigInvalid):
        paths_in(Path(), ["."])
    assert paths_in(Path(), ["config.json", "d/../d/b"]) == (Path("config.json"), Path("d/../d/b"))


def test_an_excluded_link_is_not_looked_at(planted):
    top = planted({"a": b""})
    (top / "out").symlink_to("/etc/passwd")
    assert paths(top, excluded=(top / "out",)) == ["a"]


def test_a_folder_that_cannot_be_read(planted, monkeypatch):
    top = planted({"a": b"", "d/b": b""})
    real = os.scandir

    def refuse(path):
        if str(path).endswith("/d"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(FileMissing, match="d/: permission denied"):
        walk(top)


def test_a_file_that_goes_away_during_the_walk(planted, monkeypatch):
    top = planted({"a": b"", "b": b""})
    from modelward.vault.tree import walk as module

    real = module._list

    def late(folder, below):
        items = real(folder, below)
        (top / "b").unlink(missing_ok=True)
        return items

    monkeypatch.setattr(module, "_list", late)
    with pytest.raises(FileMissing, match="b: no such file"):
        walk(top)
