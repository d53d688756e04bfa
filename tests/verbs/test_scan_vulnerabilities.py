import json
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from modelward import scan
from modelward.errors import ExtraMissing, FileDamaged, FileMissing, RemoteRefused
from modelward.verbs import scan_vulnerabilities
from modelward.verbs.scan import ScanOptions
from modelward.verbs.scan_vulnerabilities import base_score


def advisory(name, identifier, events, **more):
    affected = {
        "package": {"name": name, "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return {"id": identifier, "affected": [affected | more.pop("affected", {})], **more}


ADVISORIES = [
    advisory(
        "Torch_Thing", "GHSA-1", [{"introduced": "0"}, {"fixed": "2.6.0"}],
        aliases=["CVE-2025-1"], summary="loads what it should not", database_specific={"severity": "CRITICAL"},
    ),
    advisory("torch-thing", "PYSEC-1", [{"introduced": "0"}, {"fixed": "2.6.0"}], aliases=["CVE-2025-1"]),
    advisory(
        "torch-thing", "GHSA-2", [{"introduced": "1.0"}, {"fixed": "1.5"}, {"introduced": "2.0"}, {"last_affected": "2.1"}],
        severity=[{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:N/I:N/A:L"}],
    ),
    advisory("torch-thing", "GHSA-3", [], affected={"versions": ["0.9"]}),
    advisory("torch-thing", "GHSA-4", [{"introduced": "0"}], withdrawn="2025-01-01T00:00:00Z"),
    advisory("other", "GHSA-5", [{"introduced": "0"}]),
]  # fmt: skip


@pytest.fixture
def export(tmp_path):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for one in ADVISORIES:
            archive.writestr(f"{one['id']}.json", json.dumps(one))
    return path


def found(tmp_path, requirement, source):
    folder = tmp_path / "project"
    folder.mkdir(exist_ok=True)
    (folder / "requirements.txt").write_text(requirement + "\n")
    reports = scan(folder, options=ScanOptions(vulnerabilities=str(source)))
    return [f for r in reports for f in r.findings if f.rule == "dependencies.vulnerable"]


@pytest.mark.parametrize(
    ("version", "ids"),
    [
        ("0.9", {"CVE-2025-1", "GHSA-3"}),
        ("1.0", {"CVE-2025-1", "GHSA-2"}),
        ("1.5", {"CVE-2025-1"}),
        ("1.5rc1", {"CVE-2025-1", "GHSA-2"}),
        ("2.1", {"CVE-2025-1", "GHSA-2"}),
        ("2.1.1", {"CVE-2025-1"}),
        ("2.6.0", set()),
        ("2.10.0", set()),
    ],
)
def test_versions_against_ranges(tmp_path, export, version, ids):
    findings = found(tmp_path, f"torch_thing=={version}", export)
    assert {finding.message.split(": ")[1].split(", ")[0] for finding in findings} == ids


def test_aliases_are_one_finding_with_the_worst_severity(tmp_path, export):
    (one,) = found(tmp_path, "torch-thing==1.6", export)
    assert one.severity == "critical"
    assert "CVE-2025-1, GHSA-1, PYSEC-1: loads what it should not" in one.message
    assert one.remedy == "Update to 2.6.0."


def test_a_severity_from_a_vector(tmp_path, export):
    (one,) = [f for f in found(tmp_path, "torch-thing==2.0", export) if "GHSA-2" in f.message]
    assert one.severity == "medium"
    assert "No fixed release" not in one.remedy or one.remedy


def test_a_folder_serves_as_well(tmp_path):
    folder = tmp_path / "osv"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps(ADVISORIES[0]))
    assert len(found(tmp_path, "torch-thing==1.6", folder)) == 1


@pytest.mark.parametrize(
    ("text", "count"), [("torch-thing>=1", 1), ("torch-thing>=1\nb==2\nc", 2), ("torch-thing==9", 0)]
)
def test_what_is_not_pinned_is_not_compared_and_said(tmp_path, export, text, count):
    assert found(tmp_path, text, export) == []
    reports = scan(tmp_path / "project", options=ScanOptions(vulnerabilities=str(export)))
    said = [f.message for r in reports for f in r.findings if f.rule == "dependencies.not-compared"]
    assert [message.split()[0] for message in said] == ([str(count)] if count else [])


def test_an_absent_export_is_said_although_nothing_is_pinned(tmp_path):
    with pytest.raises(FileMissing, match="no such OSV export"):
        found(tmp_path, "a>=1", tmp_path / "absent.zip")


def test_bad_exports(tmp_path, export):
    with pytest.raises(FileMissing):
        found(tmp_path, "a==1", tmp_path / "absent.zip")
    (tmp_path / "bad.zip").write_bytes(b"PK nonsense")
    with pytest.raises(FileDamaged, match="no export of OSV"):
        found(tmp_path, "a==1", tmp_path / "bad.zip")
    (tmp_path / "hollow").mkdir()
    with pytest.raises(FileMissing, match="holds no advisory"):
        found(tmp_path, "a==1", tmp_path / "hollow")


def test_without_the_extra_one_sentence_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(scan_vulnerabilities, "find_spec", lambda name: None)
    with pytest.raises(ExtraMissing) as caught:
        found(tmp_path, "a==1", "online")
    assert "modelward[deps]" in caught.value.advice


@pytest.mark.parametrize(
    ("vector", "score"),
    [
        # Known answers: the examples of FIRST's CVSS 3.1 user guide and calculator.
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.1/AV:L/AC:H/PR:L/UI:N/S:U/C:H/I:H/A:H", 7.0),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:U/C:N/I:N/A:H", 6.5),
        ("CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:N/I:N/A:N", 0.0),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:N/I:N/A:L", 4.3),
        ("CVSS:4.0/AV:N", None),
        ("CVSS:3.1/AV:N", None),
        ("nonsense", None),
    ],
)
def test_base_scores(vector, score):
    assert base_score(vector) == score


# --- online: pip-audit asks a server of ours ----------------------------------------------------------------


class Osv(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        hit = asked["package"]["name"] == "torch-thing" and asked["version"] == "1.6"
        body = json.dumps({"vulns": [ADVISORIES[0]]} if hit else {}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def osv(monkeypatch, tmp_path):
    pytest.importorskip("pip_audit", reason="the extra [deps] is not installed")
    server = HTTPServer(("127.0.0.1", 0), Osv)
    server.asked, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1/query"
    real = scan_vulnerabilities._online
    monkeypatch.setattr(scan_vulnerabilities, "_online", lambda wanted: real(wanted, "--osv-url", url))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_online(tmp_path, osv):
    (one,) = found(tmp_path, "torch_thing==1.6\nfine==2", "online")
    assert "torch-thing 1.6: CVE-2025-1" in one.message
    assert {item["package"]["name"] for item in osv.asked} == {"torch-thing", "fine"}


def test_a_server_that_fails_is_no_pass(tmp_path, osv):
    osv.status = 500
    with pytest.raises(RemoteRefused, match="could not be asked"):
        found(tmp_path, "torch-thing==1.6", "online")


def test_detect_secrets_finds_more(tmp_path, monkeypatch):
    pytest.importorskip("detect_secrets", reason="the extra [secrets] is not installed")
    (tmp_path / "settings.py").write_text('value = 1\nbasic = "https://someone:' + "q8Zk2p" + '@host.internal/x"\n'
                                          'AWS = "AKIA' + 'Z7QWERTYUIOPASDF"\nkey = "' + "c3VwZXJzZWNyZXR2YWx1ZTEyMzQ1Njc4OTA=" + '"\n')  # fmt: skip
    before = {f.location.line for r in scan(tmp_path) for f in r.findings if f.rule.startswith("secrets.")}
    reports = scan(tmp_path, options=ScanOptions(deep_secrets=True))
    more = [f for r in reports for f in r.findings if f.rule == "secrets.suspected"]
    assert {f.location.line for f in more}.isdisjoint(before)
    assert 4 in {f.location.line for f in more}
    monkeypatch.setitem(sys.modules, "detect_secrets.core.scan", None)
    with pytest.raises(ExtraMissing, match="detect-secrets"):
        scan(tmp_path, options=ScanOptions(deep_secrets=True))
