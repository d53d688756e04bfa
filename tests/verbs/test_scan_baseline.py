import json
from datetime import date

import pytest

from modelward import scan
from modelward.artifact.finding import Finding, Location, fingerprints
from modelward.errors import ConfigInvalid, FileMissing
from modelward.reporting.scan_report import refused
from modelward.reporting.scan_sarif import scan_sarif
from modelward.reporting.scan_text import scan_text
from modelward.verbs.scan_baseline import accept, read_baseline, write_baseline

EVIL = b"cos\nsystem\n(Vid\ntR."
UNKNOWN = b"\x80\x04cmypkg.model\nNet\n."
TODAY = date(2026, 11, 21)


def fails(reports, verdict="unproven", bar="high"):
    return [refused(report, verdict, bar) for report in reports]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.pkl").write_bytes(UNKNOWN)
    (tmp_path / "m" / "b.pkl").write_bytes(EVIL)
    return tmp_path


def test_what_was_accepted_does_not_fail_again(folder):
    reports = scan(folder / "m")
    assert fails(reports) == [True, True]
    count = write_baseline(folder / "base.json", reports)
    assert count == sum(len(report.findings) for report in reports) > 0
    again = accept(scan(folder / "m"), read_baseline(folder / "base.json"), TODAY)
    assert fails(again) == [False, False]
    assert [report.verdict for report in again] == ["unproven", "dangerous"]  # a verdict never changes
    assert "accepted" in scan_text(again)
    results = json.loads(scan_sarif(again))["runs"][0]["results"]
    assert all(result["suppressions"][0]["kind"] == "external" for result in results)


def test_other_bytes_at_the_same_path_are_not_covered(folder):
    write_baseline(folder / "base.json", scan(folder / "m"))
    (folder / "m" / "a.pkl").write_bytes(UNKNOWN + b"N.")
    again = accept(scan(folder / "m"), read_baseline(folder / "base.json"), TODAY)
    assert fails(again) == [True, False]


def test_another_path_is_not_covered(folder):
    write_baseline(folder / "base.json", scan(folder / "m"))
    (folder / "m" / "a.pkl").rename(folder / "m" / "c.pkl")
    again = accept(scan(folder / "m"), read_baseline(folder / "base.json"), TODAY)
    assert {report.path[-5:]: refused(report, "unproven", "high") for report in again} == {
        "b.pkl": False,
        "c.pkl": True,
    }


def test_an_entry_ends(folder):
    write_baseline(folder / "base.json", scan(folder / "m"))
    content = json.loads((folder / "base.json").read_text())
    for entry in content["accepted"]:
        entry |= {"until": "2026-11-21", "reason": "our own format"}
    (folder / "base.json").write_text(json.dumps(content))
    known = read_baseline(folder / "base.json")
    assert fails(accept(scan(folder / "m"), known, TODAY)) == [False, False]
    assert "our own format" in scan_text(accept(scan(folder / "m"), known, TODAY))
    assert fails(accept(scan(folder / "m"), known, date(2026, 11, 22))) == [True, True]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"schema": "modelward.baseline/2", "accepted": []}',
                                     b'{"schema": "modelward.baseline/1", "accepted": [], "x": 1}'])  # fmt: skip
def test_what_is_no_baseline(tmp_path, content):
    (tmp_path / "base.json").write_bytes(content)
    with pytest.raises(ConfigInvalid, match="is no baseline"):
        read_baseline(tmp_path / "base.json")
    with pytest.raises(FileMissing):
        read_baseline(tmp_path / "absent.json")


def test_a_baseline_without_end_and_one_that_is_no_text(tmp_path):
    for content in (b'{"schema": ' + b"[" * 100_000, b'{"findings\xff": 1}', b"\xff"):
        (tmp_path / "b.json").write_bytes(content)
        with pytest.raises(ConfigInvalid, match="is no baseline"):
            read_baseline(tmp_path / "b.json")


def test_what_fails_a_scan():
    from modelward.artifact.verdict import ArtifactReport, Coverage

    def report(*findings):
        return ArtifactReport("x", "python", None, Coverage(0, 0, 0, 0, ()), findings)

    def finding(severity, level="note", accepted=None):
        return Finding("r", severity, "m", Location("", None), level=level, accepted=accepted)

    assert not refused(report(), "unproven", "low")
    assert refused(report(finding("high")), "unproven", "high")
    assert not refused(report(finding("medium")), "unproven", "high")
    assert not refused(report(finding("critical")), "unproven", "never")
    assert not refused(report(finding("info")), "unproven", "low")
    assert refused(report(finding("medium", "unproven")), "unproven", "never")
    assert not refused(report(finding("medium", "unproven")), "dangerous", "low")
    assert refused(report(finding("critical", "dangerous")), "dangerous", "never")
    assert not refused(report(finding("critical", "dangerous", "why")), "dangerous", "low")


def test_fingerprints_survive_moves_and_tell_equals_apart():
    def finding(line, call=None, message="m"):
        return Finding("r", "high", message, Location("", None, line), call)

    before = fingerprints([finding(3), finding(9), finding(4, "f()")])
    after = fingerprints([finding(13, message="other words"), finding(19), finding(14, "f()")])
    assert before == after
    assert len(set(before)) == 3
