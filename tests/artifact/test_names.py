"""Names of members: posixpath and ntpath are the independent route."""

import ntpath
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.names import Links, folder, join, leads_out, link_leads_out

STAY = [
    "",
    "a",
    "a/b",
    "./a",
    "a/./b",
    "a//b",
    "a/../b",
    "a/b/../../c",
    "..a",
    "a..",
    "...",
    "a/...",
    ".hidden",
    "~",
    "~/x",
    "a:b",
    "model:0",
    "a\\b",
    "a\\..\\b",
    "C:",
    "CON",
    "a/\\b",
]
LEAVE = [
    "/",
    "/a",
    "//server/share",
    "\\a",
    "\\\\server\\share",
    "..",
    "../a",
    "a/../..",
    "a/../../b",
    "./..",
    "a/b/../../..",
    "..\\a",
    "a\\..\\..\\b",
    "a/..\\../b",
    "C:\\a",
    "c:/a",
    "C:..\\a",
    "z:..",
]


@pytest.mark.parametrize("name", STAY)
def test_names_that_stay(name):
    assert not leads_out(name)


@pytest.mark.parametrize("name", LEAVE)
def test_names_that_leave(name):
    assert leads_out(name)


PIECES = st.lists(st.sampled_from(["a", "b", "..", ".", "", "c..", "..."]), max_size=7)


@given(PIECES)
def test_it_agrees_with_posixpath(parts):
    """A prefix of the name leads above the root exactly when normalising it gives leading dots."""
    name = "/".join(parts)
    above = name.startswith("/") or any(
        posixpath.normpath("/".join(parts[: end + 1]) or ".").split("/")[0] == ".."
        for end in range(len(parts))
    )
    assert leads_out(name) == above


@given(PIECES)
def test_a_name_that_leaves_on_windows_is_found(parts):
    name = "\\".join(parts)
    if ntpath.normpath(name).split("\\")[0] == "..":
        assert leads_out(name)


@given(PIECES, PIECES)
def test_joining_agrees_with_posixpath(base, parts):
    base = [part for part in base if part != ".."]
    name = "/".join(parts)
    found = join("/".join(base), name)
    full = posixpath.normpath("/".join(part for part in [*base, *parts] if part) or ".")
    if found is None:
        assert name.startswith("/") or leads_out("/".join([*base, *parts]).lstrip("/"))
    else:
        assert found == ("" if full == "." else full)


@pytest.mark.parametrize(
    ("base", "name", "found"),
    [
        ("", "a", "a"),
        ("", "./a", "a"),
        ("a/b", "c", "a/b/c"),
        ("a/b/", "../c", "a/c"),
        ("a/b", "../../c", "c"),
        ("a", "..", ""),
        ("a", "../..", None),
        ("", "..", None),
        ("a", "/b", None),
        ("a", "b/../../..", None),
        ("a//./b", "c//d", "a/b/c/d"),
    ],
)
def test_joining(base, name, found):
    assert join(base, name) == found


@pytest.mark.parametrize(
    ("name", "found"), [("a", ""), ("a/b", "a/"), ("a/b/c.x", "a/b/"), ("/", "/"), ("", "")]
)
def test_folders(name, found):
    assert folder(name) == found


@pytest.mark.parametrize(
    ("place", "target", "out"),
    [
        ("a", "b", False),
        ("a", "..", True),
        ("a/b", "..", False),
        ("a/b", "../c", False),
        ("a/b", "../../c", True),
        ("a/b/c", "../../../x", True),
        ("a", "/etc", True),
        ("a", "\\x", True),
        ("a", "C:\\x", True),
        ("a/b", "..\\..\\x", True),
        ("a/b", "./x", False),
    ],
)
def test_links_that_lead_out(place, target, out):
    assert link_leads_out(place, target) is out


# --- names that go through links ----------------------------------------------------------------------------

THROUGH = [
    ([], "a/b", False),
    ([], "../a", False),
    ([("a", "b")], "a/x", False),
    ([("a", "..")], "a/x", True),
    ([("a", "/etc")], "a/x", True),
    ([("a", "C:\\x")], "a/x", True),
    ([("a", ".")], "a/x", False),
    ([("a", ".")], "a/../x", True),
    ([("a/b", "..")], "a/b/x", False),
    ([("a/b", "../..")], "a/b/x", True),
    ([("a", "."), ("b", "a/..")], "b/x", True),
    ([("a", "b/c"), ("b/c", "../..")], "a/x", True),
    ([("a", "b/c"), ("b/c", "..")], "a/x", False),
    ([("./a/", "..")], "a/x", True),
    ([("a", "..")], "b/a/x", False),
    ([("a", "..")], "./a", True),
    ([("d", "e/f/g")], "d/../../x", False),
    ([("d", "e/f/g")], "d/../../../../x", True),
]


@pytest.mark.parametrize(("links", "name", "out"), THROUGH)
def test_names_are_followed_through_links(links, name, out):
    assert Links(links).lead_out(name) is out


def test_circles_end():
    assert Links([("a", "a")]).lead_out("a/x") is False
    assert Links([("a", "b"), ("b", "a")]).lead_out("a/x") is False
    assert Links([("a", "a/a/a")]).lead_out("a") is False


LINKS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "a/b", "b/a"]), st.sampled_from(["a", "b", "..", "../b", "/"]))
)


@given(LINKS, st.lists(st.sampled_from(["a", "b", "c", ".."]), max_size=5))
def test_links_agree_with_a_real_folder(links, parts):
    """The independent route: the same rules as a recursive walk, as `realpath` takes them."""
    table = dict(links)

    def resolve(place, rest, left):
        if left == 0 or not rest:
            return left == 0 or place
        head, *tail = rest
        if head == "..":
            return "out" if not place else resolve(place[:-1], tail, left - 1)
        here = [*place, head]
        target = table.get("/".join(here))
        if target is None:
            return resolve(here, tail, left - 1)
        if target.startswith("/"):
            return "out"
        return resolve(place, target.split("/") + tail, left - 1)

    expected = resolve([], parts, 300) == "out" if table else False
    assert Links(links).lead_out("/".join(parts)) is expected
