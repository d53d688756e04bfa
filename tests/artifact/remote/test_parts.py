"""What is asked and what is refused, without any network: names of repositories, URLs, addresses, answers."""

import io
import json
import socket
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.remote import address, client, hub
from modelward.artifact.remote.client import Client
from modelward.artifact.remote.hub import Repository, parse
from modelward.errors import RemoteRefused

# --- repositories -------------------------------------------------------------------------------------------

SOURCES = [
    ("hf://a/b", ("a/b", "main", "")),
    ("hf://gpt2", ("gpt2", "main", "")),
    ("hf://a/b@main", ("a/b", "main", "")),
    ("hf://a/b@v1.0", ("a/b", "v1.0", "")),
    ("hf://a/b@refs/pr/1", ("a/b", "refs", "pr/1")),
    ("hf://a/b/c", ("a/b", "main", "c")),
    ("hf://a/b/c/d.bin", ("a/b", "main", "c/d.bin")),
    ("hf://a/b/c/", ("a/b", "main", "c")),
    ("hf://a/b@0123abc/c d.bin", ("a/b", "0123abc", "c d.bin")),
    ("hf://a-b.c_d/e", ("a-b.c_d/e", "main", "")),
]


@pytest.mark.parametrize(("source", "parts"), SOURCES)
def test_names_of_repositories(source, parts):
    assert parse(source) == Repository(*parts)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "hf://",
        "hf:/a/b",
        "https://huggingface.co/a/b",
        "hf://a/../b",
        "hf://a/b/../c",
        "hf://a/b@",
        "hf://a/b@x@y",
        "hf://a b/c",
        "hf://a/b?x=1/..",
        "hf://" + "a" * 97,
        "hf://a/b/" + "c" * 1001,
        "HF://a/b",
    ],
)
def test_what_names_no_repository(source):
    with pytest.raises(RemoteRefused) as caught:
        parse(source)
    assert "hf://owner/name" in caught.value.advice


@given(
    st.from_regex(r"[a-z0-9._-]{1,9}(/[a-z0-9._-]{1,9})?", fullmatch=True),
    st.from_regex(r"[a-z0-9.]{1,9}", fullmatch=True),
)
def test_names_are_taken_apart_as_they_were_put_together(name, revision):
    if ".." in name.split("/") or ".." in revision.split("/"):
        return
    found = parse(f"hf://{name}@{revision}")
    assert (found.name, found.revision, found.path) == (name, revision, "")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a.bin", "a.bin"), ("a b/c", "a%20b/c"), ("a#b?c", "a%23b%3Fc"), ("é", "%C3%A9"), ("a%2e", "a%252e")],
)
def test_addresses_of_files(monkeypatch, name, shown):
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example:8443/")
    assert (
        hub.address(Repository("o/n", "main", ""), "abc123", name)
        == f"https://hub.example:8443/o/n/resolve/abc123/{shown}"
    )
    assert hub.home() == "hub.example:8443"


def test_the_public_hub_by_default(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert (hub.endpoint(), hub.home(), hub.token()) == ("https://huggingface.co", "huggingface.co", None)
    monkeypatch.setenv("HF_TOKEN", "")
    assert hub.token() is None
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    assert hub.token() == "hf_x"


class Answers:
    """A client whose hub gives one answer."""

    def __init__(self, content, status=200):
        self.content, self.status, self.asked = content, status, []

    def get(self, url):
        self.asked.append(url)
        return SimpleNamespace(status=self.status, reason="Reason", close=lambda: None), url

    def body(self, _, limit):
        assert len(self.content) <= limit
        return self.content


def listing(content, status=200, revision="main"):
    answers = Answers(content if isinstance(content, bytes) else json.dumps(content).encode(), status)
    found = hub.listing(answers, Repository("o/n", revision, ""))
    return found, answers.asked[0]


def test_a_listing_of_the_hub(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    content = {
        "sha": "0123456789abcdef",
        "other": [1],
        "siblings": [{"rfilename": "a.json", "size": 3, "blobId": "b1"}, {"rfilename": "b.bin", "size": 9, "lfs": {"sha256": "ff", "size": 9}}, {"rfilename": "c"}],
    }  # fmt: skip
    found, url = listing(content, revision="refs/pr/1")
    assert url == "https://hub.example/api/models/o/n/revision/refs%2Fpr%2F1?blobs=true"
    assert found.sha == "0123456789abcdef"
    assert [(file.name, file.size, file.blob, file.lfs and file.lfs.sha256) for file in found.siblings] == [
        ("a.json", 3, "b1", None),
        ("b.bin", 9, "", "ff"),
        ("c", None, "", None),
    ]


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        ({}, 404, "the hub answers 404 Reason"),
        ({}, 401, "the hub answers 401 Reason"),
        ({}, 302, "the hub answers 302 Reason"),
        ({}, 200, "cannot be read"),
        (b"<html>", 200, "cannot be read"),
        (b"\xff", 200, "cannot be read"),
        ({"sha": "abc123"}, 200, "cannot be read"),
        ({"sha": "abc123", "siblings": [{}]}, 200, "cannot be read"),
        ({"sha": "abc123", "siblings": "x"}, 200, "cannot be read"),
        ({"sha": "main", "siblings": []}, 200, "no commit"),
        ({"sha": "abc12", "siblings": []}, 200, "no commit"),
        ({"sha": "../../abc", "siblings": []}, 200, "no commit"),
        ({"sha": "a" * 65, "siblings": []}, 200, "no commit"),
        ({"sha": "abc123", "siblings": [{"rfilename": "x"}] * (hub.FILES + 1)}, 200, "over 20000 files"),
    ],
)
def test_answers_of_the_hub_that_are_refused(content, status, said):
    with pytest.raises(RemoteRefused, match=said):
        listing(content, status)


# --- URLs and addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://h/x", "h", None),
        ("https://h:8443/x?y=1", "h", 8443),
        ("http://[::1]:80/x", "::1", 80),
        ("HTTP://H/x", "h", None),
        ("https://h", "h", None),
    ],
)
def test_urls_that_are_asked(url, host, port):
    parts = client._checked(url)
    assert (parts.hostname, parts.port) == (host, port)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h/x",
        "//h/x",
        "ftp://h/x",
        "file:///etc/passwd",
        "javascript:1",
        "http://",
        "http:///x",
        "http://h:0/x",
        "http://h:99999/x",
        "http://h:x/x",
        "http://[::1/x",
        "http://h/a b",
        "http://h/a\nHost: evil",
        "http://h/\t",
        "http://u@h/x",
        "http://u:secret@h/x",
        "http://:secret@h/x",
    ],
)
def test_urls_that_are_refused(url):
    with pytest.raises(RemoteRefused) as caught:
        client._checked(url)
    assert "secret" not in str(caught.value)


def names(*texts):
    """What the resolver answers."""

    def getaddrinfo(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)) for text in texts]

    return getaddrinfo


PUBLIC, PRIVATE = "93.184.216.34", "10.0.0.1"


@pytest.mark.parametrize(
    ("found", "allowed", "expected"),
    [
        ([PUBLIC], set(), PUBLIC),
        ([PUBLIC, "1.1.1.1"], set(), PUBLIC),
        ([PRIVATE], {"h"}, PRIVATE),
        ([PRIVATE], set(), None),
        ([PUBLIC, PRIVATE], set(), None),
        ([PRIVATE], {"other", PRIVATE}, None),
        (["fe80::1%eth0"], {"h"}, "fe80::1"),
        (["fe80::1%eth0"], set(), None),
        (["::ffff:127.0.0.1"], set(), None),
    ],
)
def test_a_name_is_resolved_once_and_every_address_counts(monkeypatch, found, allowed, expected):
    monkeypatch.setattr(address.socket, "getaddrinfo", names(*found))
    if expected is None:
        with pytest.raises(RemoteRefused, match="which is not public") as caught:
            address.resolve("h", 443, allowed)
        assert caught.value.advice == "Give --unsafe-host h if you mean to ask it."
    else:
        assert address.resolve("h", 443, allowed) == (expected, 443)


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("label too long")])
def test_a_name_that_does_not_resolve(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(address.socket, "getaddrinfo", fail)
    with pytest.raises(RemoteRefused, match="h: the name cannot be resolved"):
        address.resolve("h", 1, set())


# --- redirects and bodies -----------------------------------------------------------------------------------


class Web(dict):
    """URL -> status and target, in place of the network."""

    def ask(self, url, headers):
        status, target = self[url]
        body = SimpleNamespace(
            status=status,
            headers={"Location": target} if target else {},
            read=lambda _: b"",
            close=lambda: None,
        )
        body.asked = headers
        return body


@pytest.fixture
def asked(monkeypatch):
    def asked(pages, url):
        made = Client(set())
        monkeypatch.setattr(Client, "_ask", lambda _, url, headers: Web(pages).ask(url, headers))
        return made.get(url, {"A": "1"})

    return asked


@pytest.mark.parametrize(
    ("pages", "end"),
    [
        ({"https://h/a": (200, None)}, "https://h/a"),
        ({"https://h/a": (302, "/b"), "https://h/b": (200, None)}, "https://h/b"),
        ({"https://h/a": (307, "b"), "https://h/b": (200, None)}, "https://h/b"),
        ({"https://h/a": (301, "//i/b"), "https://i/b": (404, None)}, "https://i/b"),
        ({"https://h/a": (302, None)}, "https://h/a"),
        ({"https://h/a": (304, "/b")}, "https://h/a"),
        ({"https://h/a": (200, "/b")}, "https://h/a"),
    ],
)
def test_redirects_that_are_followed(asked, pages, end):
    answer, url = asked(pages, "https://h/a")
    assert url == end
    assert answer.asked == {"A": "1"}


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ({"https://h/a": (302, "http://h/b")}, "redirects from https to http"),
        ({"https://h/a": (302, "file:///etc/passwd")}, "redirects from https to file"),
        ({"https://h/a": (302, "/a")}, "more than 5 redirects"),
    ],
)
def test_redirects_that_are_refused(asked, pages, said):
    with pytest.raises(RemoteRefused, match=said):
        asked(pages, "https://h/a")


@pytest.mark.parametrize("hops", [5, 6])
def test_five_redirects_are_followed(asked, hops):
    pages = {f"https://h/{n}": (302, f"/{n + 1}") for n in range(hops)} | {f"https://h/{hops}": (200, None)}
    if hops == 5:
        assert asked(pages, "https://h/0")[1] == "https://h/5"
    else:
        with pytest.raises(RemoteRefused):
            asked(pages, "https://h/0")


@pytest.mark.parametrize(("size", "limit", "good"), [(0, 0, True), (5, 5, True), (5, 6, True), (6, 5, False)])
def test_bodies_end_at_their_limit(size, limit, good):
    made = Client(set())
    answer = io.BytesIO(b"x" * size)
    if good:
        assert made.body(answer, limit) == b"x" * size
        assert made.received == size
    else:
        with pytest.raises(RemoteRefused, match=f"longer than {limit} bytes"):
            made.body(answer, limit)


def test_a_body_that_breaks_off():
    def fail(_):
        raise client.http.client.IncompleteRead(b"x")

    with pytest.raises(RemoteRefused, match="breaks off"):
        Client(set()).body(SimpleNamespace(read=fail), 10)
