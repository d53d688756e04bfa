"""Which paths may stand in a tree; every reader of a seal asks these before it touches a disk."""

from __future__ import annotations

import os
import tracemalloc
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.errors import PathUnsafe
from modelward.vault.tree.names import LONGEST_PATH, check_name, check_names, fold, shown, sorting_key


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../x",
        "a/../b",
        "a/..",
        ".",
        "./a",
        "a/.",
        "a//b",
        "a/",
        "a\0b",
        "\\",
        "c:\\x",
    ],
)
def test_unsafe(path):
    with pytest.raises(PathUnsafe):
        check_name(path)


@pytest.mark.parametrize(
    "path", ["a", "a/b", "...", "..a", "a..", ".git", " ", "a b", "\u00e9", "\U0001f600", "-rf"]
)
def test_safe(path):
    check_name(path)


def test_lone_surrogates_are_not_utf8():
    with pytest.raises(PathUnsafe, match="not UTF-8"):
        check_name("a\ud800")


def test_the_longest_path():
    check_name("\u00e9" * (LONGEST_PATH // 2))
    with pytest.raises(PathUnsafe, match="4098 bytes"):
        check_name("\u00e9" * (LONGEST_PATH // 2 + 1))


@given(st.text(max_size=30))
def test_a_path_that_is_accepted_stays_below_any_folder(path):
    try:
        check_name(path)
    except PathUnsafe:
        return
    joined = os.path.normpath(os.path.join("/srv/model", path))  # noqa: PTH118  (what a careless reader does)
    assert joined == f"/srv/model/{path}"


@pytest.mark.parametrize(
    "paths",
    [
        ["a", "a"],
        ["a", "a/b"],
        ["a/b", "a"],
        ["x/a/b", "x/A"],
        ["A/b", "a/c"],
        ["a/B/c", "a/b/d"],
        ["\u1e9e", "ss"],
        ["I", "i"],
        ["\u0345", "\u03b9"],
    ],
)
def test_two_paths_for_one_file(paths):
    with pytest.raises(PathUnsafe, match="may name one file"):
        check_names(paths)


def test_no_two_of_these_are_one():
    check_names(["a", "b/a", "b/c/a", "b/c/d", "c/b", "ab", "b c"])
    check_names([])


def test_many_paths_of_many_folders():
    check_names(f"{n % 100}/{n % 7}/{n}" for n in range(5000))


def slow_check(paths):
    """Every pair of files and of folders, by the definition."""
    places = {}
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            head, is_file = "/".join(parts[:depth]), depth == len(parts)
            places.setdefault(fold(head), []).append((head, is_file))
    return all(
        len(found) == 1
        or (len({head for head, _ in found}) == 1 and not any(is_file for _, is_file in found))
        for found in places.values()
    )


@given(
    st.lists(st.lists(st.sampled_from("aAbB\u00e9\u00c9"), min_size=1, max_size=3).map("/".join), max_size=5)
)
@settings(max_examples=300)
def test_every_pair_is_compared(paths):
    if slow_check(paths):
        check_names(paths)
    else:
        with pytest.raises(PathUnsafe):
            check_names(paths)


def test_deep_paths_cost_no_more_than_their_length():
    """A list of a hostile seal: the square of the depth would take minutes."""
    check_names("/".join(["d"] * 250) + f"/{n}" for n in range(300))
    check_names(f"{n}/" + "/".join("d" * 250) for n in range(300))


@given(st.text(max_size=12))
@settings(max_examples=300)
def test_fold_does_not_see_case_and_spelling(name):
    """What stays the same under each change that a file system may make; the dotless i is no such pair."""
    assert fold(fold(name)) == fold(name)
    for form in ("NFC", "NFD"):
        assert fold(unicodedata.normalize(form, name)) == fold(name)
    assert fold(unicodedata.normalize("NFD", name).casefold()) == fold(name)


@given(st.text("aA\u00e9E\u0301", max_size=6), st.text("aA\u00e9E\u0301", max_size=6))
def test_ascii_takes_the_same_way(one, two):
    slow = [
        unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold()) for name in (one, two)
    ]
    assert (fold(one) == fold(two)) == (slow[0] == slow[1])


def test_order_is_that_of_parts_and_code_points():
    paths = ["a/b", "a.b", "a-b", "a", "Z", "\u00e9", "\U00010000", "\uffff"]
    assert sorted(paths, key=sorting_key) == ["Z", "a", "a/b", "a-b", "a.b", "\u00e9", "\uffff", "\U00010000"]


@given(st.text())
def test_what_is_shown_is_one_short_printable_line(name):
    assert shown(name).isprintable()
    assert len(shown(name)) <= 10 * 200


def test_a_short_list_of_long_paths_does_not_fill_the_memory():
    """A list of 256 MiB that anybody may write would take 30 GB before its signature is looked at."""
    taken = []
    with pytest.raises(PathUnsafe, match="too few files"):
        check_names(taken.append(number) or f"{number}/{'a/' * 250}f" for number in range(10_000))
    assert len(taken) < 2200


def test_one_wide_character_does_not_make_all_of_a_name_wide():
    """A text takes four bytes a character if one needs them: four times the list, and again for each copy."""
    paths = [f"{number:05}{'a' * 4000}\U0001f600" for number in range(500)]
    tracemalloc.start()
    try:
        check_names(paths)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1.5 * 4000 * 500


def test_folders_are_counted_beside_files():
    check_names(f"{number}/a/b/c/f" for number in range(110_000))
    check_names(["a/" * 256 + "f"])
    with pytest.raises(PathUnsafe, match="too few files"):
        check_names(f"{number}/{'/'.join('abcdefghijklmnopqrst')}" for number in range(60_000))


def test_what_is_too_deep_for_the_tools_that_remove_it():
    check_name("a/" * 256 + "f")
    with pytest.raises(PathUnsafe, match="more than 256 folders deep"):
        check_name("a/" * 257 + "f")
