from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.errors import PolicyInvalid, SealDamaged
from modelward.vault.attest.moments import parse_span, span_words
from modelward.vault.attest.predicates import Release, read_bom, read_release, read_scan

NOW = datetime(2026, 11, 20, tzinfo=UTC)
FILE = {"path": "m.onnx", "digest": "sha256:" + "11" * 32, "format": "onnx", "verdict": "inert"}
SCAN = {"moment": "2026-11-20T12:00:00Z", "scanner": "modelward 0.1.0", "files": [FILE]}
FOUND = {"rule": "r", "severity": "high", "level": "note", "message": "m"}


def test_a_scan_is_read():
    scan = read_scan(SCAN)
    assert scan.moment == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert scan.files[0].path == "m.onnx"
    assert scan.verdict == "inert"


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        ([None], None),
        ([None, "inert"], "inert"),
        (["inert", "unproven"], "unproven"),
        (["unproven", "error"], "error"),
        (["error", "dangerous", "inert"], "dangerous"),
    ],
)
def test_the_worst_file_speaks_for_all(verdicts, worst):
    files = [{**FILE, "path": f"{n}", "verdict": verdict} for n, verdict in enumerate(verdicts)]
    assert read_scan({**SCAN, "files": files}).verdict == worst


@pytest.mark.parametrize("level", ["dangerous", "unproven"])
def test_a_finding_belies_a_verdict_that_is_stored_beside_it(level):
    file = {**FILE, "verdict": "inert", "findings": [{**FOUND, "level": level}]}
    assert read_scan({**SCAN, "files": [file]}).verdict == level


@pytest.mark.parametrize(
    "scan",
    [
        {},
        {**SCAN, "files": []},
        {**SCAN, "files": [FILE, FILE]},
        {**SCAN, "files": [{**FILE, "digest": "11" * 32}]},
        {**SCAN, "files": [{**FILE, "verdict": "harmless"}]},
        {**SCAN, "files": [{**FILE, "status": "ok"}]},
        {**SCAN, "files": [{**FILE, "findings": [{**FOUND, "severity": "fatal"}]}]},
        {**SCAN, "files": [{**FILE, "findings": [{**FOUND, "accepted": "by me"}]}]},
        {**SCAN, "files": {"m.onnx": FILE}},
        {**SCAN, "verdict": "inert"},
        {**SCAN, "moment": "2026-11-20T12:00:00"},
        {**SCAN, "moment": "today"},
        {**SCAN, "moment": 5},
        {**SCAN, "scanner": None},
    ],
)
def test_a_scan_that_is_none(scan):
    with pytest.raises(SealDamaged, match="scan verdict"):
        read_scan(scan)


@pytest.mark.parametrize("missing", ["path", "digest", "format", "verdict"])
def test_a_scanned_file_has_all_its_entries(missing):
    file = {key: value for key, value in FILE.items() if key != missing}
    with pytest.raises(SealDamaged, match=missing):
        read_scan({**SCAN, "files": [file]})


@pytest.mark.parametrize("version", ["1.4", "1.5", "1.6", "1.7"])
def test_a_bill_of_materials_is_read(version):
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": version,
        "components": [{"name": "a"}, {"name": "b"}],
    }
    bom = read_bom(document)
    assert bom.document == document
    assert bom.components == 2
    assert read_bom({"bomFormat": "CycloneDX", "specVersion": version}).components == 0


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"bomFormat": "CycloneDX"},
        {"bomFormat": "SPDX", "specVersion": "1.6"},
        {"bomFormat": "CycloneDX", "specVersion": "2.0"},
        {"bomFormat": "CycloneDX", "specVersion": 1.6},
        {"bomFormat": "CycloneDX", "specVersion": "1.6\n"},
        {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": {}},
        {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": ["a"]},
        {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": None},
    ],
)
def test_a_bill_of_materials_that_is_none(document):
    with pytest.raises(SealDamaged):
        read_bom(document)


@pytest.mark.parametrize(
    "limits",
    [
        {"until": "2027-01-01T00:00:00Z"},
        {"since": "2026-01-01T00:00:00+01:00"},
        {"since": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:00:01Z"},
        {"recipients": ["a"]},
        {"environments": ["production", "staging"]},
    ],
)
def test_a_release_policy_is_read(limits):
    release = read_release(limits)
    release.check()
    written = msgspec.to_builtins(release)
    for key, value in limits.items():
        assert datetime.fromisoformat(written[key]) == datetime.fromisoformat(value) if key in {
            "since", "until"
        } else list(written[key]) == value  # fmt: skip


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"recipients": []},
        {"recipients": [], "environments": []},
        {"recipients": ["a", "a"]},
        {"recipients": [""]},
        {"environments": ["p", ""]},
        {"recipients": "a"},
        {"until": None},
        {"until": "2027-01-01"},
        {"until": "2027-01-01T00:00:00"},
        {"until": 1},
        {"since": "2027-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
        {"since": "2027-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"},
        {"until": "2027-01-01T00:00:00Z", "untill": "2026-01-01T00:00:00Z"},
        {"until": "2027-01-01T00:00:00Z", "regions": ["eu"]},
    ],
)
def test_a_release_policy_is_strict(limits):
    """A limit that is not understood must not be passed over: it is one."""
    with pytest.raises(SealDamaged):
        read_release(limits)


@pytest.mark.parametrize(
    ("release", "words"),
    [
        (Release(), "limits nothing"),
        (Release(since=NOW, until=NOW - timedelta(1)), "ends before"),
        (Release(recipients=("a", "b", "a")), "twice"),
        (Release(environments=("",)), "no name"),
    ],
)
def test_a_release_policy_is_checked_before_it_is_signed(release, words):
    with pytest.raises(PolicyInvalid, match=words):
        release.check()


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=6), v, max_size=3),
)


@given(value=st.dictionaries(st.sampled_from(["moment", "scanner", "files", "x"]), ANY))
def test_no_scan_is_a_crash(value):
    with pytest.raises(SealDamaged):
        read_scan(value)


@given(value=st.dictionaries(st.sampled_from(["recipients", "environments", "since", "until", "x"]), ANY))
def test_every_release_policy_limits_something_or_is_refused(value):
    try:
        release = read_release(value)
    except SealDamaged:
        return
    assert release.recipients or release.environments or release.since or release.until


@given(value=st.dictionaries(st.sampled_from(["bomFormat", "specVersion", "components"]), ANY))
def test_no_bill_of_materials_is_a_crash(value):
    with pytest.raises(SealDamaged):
        read_bom(value)


# Spans


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1h", timedelta(hours=1)),
        ("48h", timedelta(days=2)),
        ("30d", timedelta(days=30)),
        ("4w", timedelta(days=28)),
        ("36500d", timedelta(days=36_500)),
    ],
)
def test_spans(text, span):
    assert parse_span(text) == span


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30",
        "d",
        "30 d",
        "-1d",
        "0d",
        "0h",
        "1.5d",
        "30m",
        "1y",
        "36501d",
        "777777777w",
        "9" * 30 + "d",
        "٣d",
        "3d\n",
    ],
)
def test_spans_that_are_none(text):
    with pytest.raises(PolicyInvalid, match="no span of time"):
        parse_span(text)


@given(text=st.text(max_size=12))
def test_any_text_is_a_span_or_none(text):
    try:
        span = parse_span(text)
    except PolicyInvalid:
        return
    assert timedelta(0) < span <= timedelta(days=36_500)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(minutes=59), "0 hours"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(hours=47), "47 hours"),
        (timedelta(hours=48), "2 days"),
        (timedelta(days=30), "30 days"),
    ],
)
def test_spans_in_words(span, words):
    assert span_words(span) == words
