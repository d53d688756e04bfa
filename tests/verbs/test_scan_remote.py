import hashlib
import io
import json
import pickle
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modelward import scan
from modelward.artifact.remote import address
from modelward.artifact.remote.client import Client
from modelward.artifact.remote.hub import parse
from modelward.artifact.remote.ranges import BLOCK, RangedFile
from modelward.errors import FileMissing, RemoteRefused
from modelward.verbs.scan import ScanOptions

EVIL = b"cos\nsystem\n(Vid\ntR."
GOOD = pickle.dumps({"a": [1.0, "x"]})
LOCAL = ScanOptions(hosts=frozenset({"127.0.0.1"}))


def archive(payload, size):
    """A torch-like zip of one large tensor."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("archive/data.pkl", payload)
        made.writestr("archive/data/0", bytes(size))
        made.writestr("archive/version", "3\n")
    return buffer.getvalue()


def git_blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.sent = {}, [], 0
        self.ranges, self.redirects, self.change, self.lie = True, {}, False, None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, dict(self.headers)))
        if self.path in server.redirects:
            self.answer(302, b"", Location=server.redirects[self.path])
            return
        content = server.files.get(self.path)
        if content is None:
            self.answer(404, b"no")
            return
        span = self.headers.get("Range")
        if not span or not server.ranges:
            self.answer(200, content)
            return
        first, last = (int(part) for part in span.removeprefix("bytes=").split("-"))
        if first >= len(content):
            self.answer(416, b"")
            return
        last = min(last, len(content) - 1)
        tag = f'"{len(server.asked) if server.change else 1}"'
        stated = server.lie or f"bytes {first}-{last}/{len(content)}"
        self.answer(206, content[first : last + 1], ETag=tag, **{"Content-Range": stated})

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.sent += len(body)


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def one(url, options=LOCAL):
    (report,) = scan(url, options=options)
    return report


def test_small_files_are_read_whole(server):
    server.files = {"/good.pkl": GOOD, "/evil.pkl": EVIL}
    assert one(server.url + "/good.pkl").verdict == "inert"
    assert one(server.url + "/evil.pkl").verdict == "dangerous"


@pytest.mark.parametrize(("payload", "verdict"), [(GOOD, "inert"), (EVIL, "dangerous")])
def test_a_large_archive_is_read_by_ranges(server, payload, verdict):
    server.files = {"/model.pt": archive(payload, 8 << 20)}
    report = one(server.url + "/model.pt")
    assert report.verdict == verdict
    assert server.sent < 40 * BLOCK < len(server.files["/model.pt"])
    assert any(finding.rule == "remote.ranges" for finding in report.findings)


def test_a_large_safetensors_file_is_read_by_ranges(server):
    header = json.dumps({"w": {"dtype": "F32", "shape": [1 << 20], "data_offsets": [0, 4 << 20]}}).encode()
    header += b" " * (-len(header) % 8)
    server.files = {"/model.safetensors": len(header).to_bytes(8, "little") + header + bytes(4 << 20)}
    report = one(server.url + "/model.safetensors")
    assert report.format == "safetensors"
    assert report.verdict == "inert"
    assert server.sent < 40 * BLOCK


def test_a_large_pickle_is_copied_and_the_copy_is_gone(server, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server.files = {"/model.pkl": pickle.dumps([float(i) for i in range(400_000)]) + EVIL}
    assert one(server.url + "/model.pkl").verdict == "dangerous"
    assert list(tmp_path.iterdir()) == []


def test_a_server_without_ranges_serves_as_well(server):
    server.ranges = False
    server.files = {"/model.pt": archive(EVIL, 1 << 20), "/empty": b""}
    assert one(server.url + "/model.pt").verdict == "dangerous"
    with pytest.raises(FileMissing, match="nothing"):
        one(server.url + "/empty")


def test_a_file_that_changes_or_is_another_is_refused(server):
    server.files = {"/model.pt": archive(GOOD, 1 << 20)}
    server.change = True
    with pytest.raises(RemoteRefused, match="changed"):
        one(server.url + "/model.pt")
    server.change, server.lie = False, "bytes 5-9/1048576"
    with pytest.raises(RemoteRefused, match="range"):
        one(server.url + "/model.pt")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_addresses_that_are_not_public_must_be_named(server, host):
    url = server.url.replace("127.0.0.1", host) + "/x.pkl"
    with pytest.raises(RemoteRefused, match="not public") as caught:
        one(url, ScanOptions())
    assert "--unsafe-host" in caught.value.advice
    assert server.asked == []


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("10.0.0.1", False),
        ("172.16.3.4", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - an address that is refused
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("ff02::1", False),
    ],
)
def test_which_addresses_are_public(text, public):
    assert address._public(address.ipaddress.ip_address(text)) is public


def test_a_redirect_to_a_private_address_is_refused(server):
    server.redirects = {"/model.pkl": "http://localhost:1/secret"}
    with pytest.raises(RemoteRefused, match="localhost has the address"):
        one(server.url + "/model.pkl")


def test_redirects_end(server):
    server.redirects = {"/a": "/b", "/b": "/a", "/old": "/new"}
    server.files = {"/new": GOOD}
    assert one(server.url + "/old").verdict == "inert"
    with pytest.raises(RemoteRefused, match="redirects"):
        one(server.url + "/a")


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///x",
        "http://user:secret@127.0.0.1/x",
        "http://127.0.0.1:99999/x",
        "http://127.0.0.1/a b",
    ],
)
def test_what_is_no_url_is_refused_without_a_secret(url):
    with pytest.raises(RemoteRefused) as caught:
        one(url)
    assert "secret" not in str(caught.value)


def test_absent_and_silent_servers(server):
    with pytest.raises(RemoteRefused, match="404"):
        one(server.url + "/absent")
    port = server.server_address[1]
    server.shutdown()
    server.server_close()
    with pytest.raises(RemoteRefused, match="cannot be reached"):
        one(f"http://127.0.0.1:{port}/x")


def test_a_ranged_file_is_like_its_bytes(server):
    content = bytes(range(256)) * 2048 + b"needle" + bytes(70_000)
    server.files = {"/x": content}
    client = Client({"127.0.0.1"})
    file = RangedFile(client, server.url + "/x", 1 << 30)
    assert len(file) == len(content)
    assert file[0] == content[0]
    assert file[-1] == content[-1]
    for span in (
        slice(10),
        slice(70_000, 140_000),
        slice(-5, None),
        slice(9, 3),
        slice(0, 9, 2),
        slice(9, 2, -3),
    ):
        assert file[span] == content[span]
    assert file.find(b"needle") == content.find(b"needle")
    assert file.find(b"needle", 600_000) == -1
    assert file.find(b"absent") == -1
    assert bytes(file) == content
    with pytest.raises(IndexError):
        file[len(content)]
    client.close()


# --- a hub --------------------------------------------------------------------------------------------------


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    large = pickle.dumps(list(range(100_000)))
    served = {
        "config.json": b'{"model_type": "bert", "architectures": ["BertModel"]}',
        "model.pkl": large,
        "sub/evil.bin": EVIL,
    }
    listing = {
        "sha": COMMIT,
        "siblings": [
            {"rfilename": "config.json", "size": 10, "blobId": git_blob(served["config.json"])},
            {"rfilename": "model.pkl", "size": len(large), "blobId": "x", "lfs": {"sha256": hashlib.sha256(large).hexdigest()}},
            {"rfilename": "sub/evil.bin", "size": len(EVIL), "blobId": git_blob(EVIL)},
        ],
    }  # fmt: skip
    server.files = {f"/owner/name/resolve/{COMMIT}/{name}": content for name, content in served.items()}
    server.files["/api/models/owner/name/revision/main?blobs=true"] = json.dumps(listing).encode()
    server.listing = listing
    return server


def test_a_repository_is_scanned_at_one_commit(hub):
    reports = scan("hf://owner/name", options=LOCAL)
    assert {report.path.split("/", 4)[-1]: report.verdict for report in reports} == {
        "config.json": reports[0].verdict,
        "model.pkl": "inert",
        "sub/evil.bin": "dangerous",
    }
    assert reports[0].verdict in {"inert", None}
    assert all(COMMIT[:12] in report.path for report in reports)
    assert not any(finding.rule == "remote.digest" for report in reports for finding in report.findings)


def test_a_part_of_a_repository(hub):
    (report,) = scan("hf://owner/name/sub", options=LOCAL)
    assert report.verdict == "dangerous"
    with pytest.raises(FileMissing, match="no such file"):
        scan("hf://owner/name/absent", options=LOCAL)
    with pytest.raises(RemoteRefused, match="404"):
        scan("hf://owner/other", options=LOCAL)


@pytest.mark.parametrize("name", ["model.pkl", "config.json"])
def test_content_that_is_not_what_the_hub_says_is_unproven(hub, name):
    path = f"/owner/name/resolve/{COMMIT}/{name}"
    hub.files[path] = pickle.dumps("another") if name == "model.pkl" else b'{"model_type": "gpt2"}'
    (report,) = scan(f"hf://owner/name/{name}", options=LOCAL)
    assert report.verdict == "unproven"
    assert any(finding.rule == "remote.digest" for finding in report.findings)


def test_one_absent_file_is_an_error_of_its_own(hub):
    del hub.files[f"/owner/name/resolve/{COMMIT}/model.pkl"]
    verdicts = [report.verdict for report in scan("hf://owner/name", options=LOCAL)]
    assert verdicts[1:] == ["error", "dangerous"]


def test_the_token_goes_to_the_hub_alone(hub, monkeypatch):
    scan("hf://owner/name/sub", options=LOCAL)
    assert all(headers.get("Authorization") == "Bearer hf_secret" for _, headers in hub.asked)
    hub.asked.clear()
    path = f"/owner/name/resolve/{COMMIT}/sub/evil.bin"
    elsewhere = hub.url.replace("127.0.0.1", "localhost") + "/stored"
    hub.files["/stored"] = hub.files.pop(path)
    hub.redirects = {path: elsewhere}
    scan("hf://owner/name/sub", options=ScanOptions(hosts=frozenset({"127.0.0.1", "localhost"})))
    stored = [headers for asked, headers in hub.asked if asked == "/stored"]
    assert stored
    assert all("Authorization" not in headers for headers in stored)


@pytest.mark.parametrize(
    "source",
    ["hf://", "hf:///x", "hf://a/b/../c", "hf://a b", "hf://owner/name@"],
)
def test_what_names_no_repository(source):
    with pytest.raises(RemoteRefused, match="no repository"):
        parse(source)


def test_names_of_repositories():
    found = parse("hf://owner/name@v1.0/sub/file.bin")
    assert (found.name, found.revision, found.path) == ("owner/name", "v1.0", "sub/file.bin")
    found = parse("hf://owner/name@refs/pr/3")
    assert (found.name, found.revision.split("/")[0]) == ("owner/name", "refs")
