"""SARIF 2.1.0: held against our own closed schema of the part we write, and the official one where it is.

The official schema is not ours to ship. `MODELWARD_SARIF_SCHEMA` may name a copy of
sarif-schema-2.1.0.json (OASIS); the continuous integration or a developer sets it.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import jsonschema
import msgspec
import pytest

from modelward.core.evidence import Cost
from modelward.engine.outcome import CheckRun
from modelward.reporting.sarif import FINGERPRINT, _uri, to_sarif

NAMES = ("fail", "pass", "unknown", "nothing", "skipped", "crowd", "hostile")


def closed(required: str = "", **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def many(items, **more):
    return {"type": "array", "items": items, **more}


WORD = {"type": "string", "minLength": 1}
BAG = {"type": "object", "properties": {"tags": many(WORD, uniqueItems=True)}}
MESSAGE = closed("text", text=WORD)
LEVEL = {"enum": ["none", "note", "warning", "error"]}
INDEX = {"type": "integer", "minimum": 0}
# RFC 3986 characters only: no space, control, quote, bracket, backslash, brace or non-ASCII.
URI = {"type": "string", "pattern": r"^[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+$"}
LOCATION = closed(
    physicalLocation=closed("artifactLocation", artifactLocation=closed("uri", uri=URI, index=INDEX)),
    logicalLocations=many(closed("fullyQualifiedName", fullyQualifiedName=WORD)),
)
RULE = closed(
    "id shortDescription help defaultConfiguration",
    id=WORD,
    shortDescription=MESSAGE,
    help=MESSAGE,
    defaultConfiguration=closed("level", level=LEVEL),
    properties=BAG,
)
RESULT = closed(
    "ruleId ruleIndex message level kind partialFingerprints",
    ruleId=WORD,
    ruleIndex=INDEX,
    kind={"const": "fail"},
    level=LEVEL,
    message=MESSAGE,
    locations=many(LOCATION),
    partialFingerprints={"type": "object", "additionalProperties": WORD},
    properties=BAG,
)
NOTE = closed("message level", descriptor=closed("id", id=WORD), level=LEVEL, message=MESSAGE)
INVOCATION = closed(
    "executionSuccessful",
    executionSuccessful={"type": "boolean"},
    commandLine=WORD,
    endTimeUtc={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
    toolExecutionNotifications=many(NOTE),
)
ARTIFACT = closed(
    "location",
    location=closed("uri", uri=URI),
    hashes={"type": "object", "additionalProperties": {"pattern": "^[0-9a-f]{64}$"}},
    properties=BAG,
)
RUN = closed(
    "tool results",
    tool=closed(
        "driver",
        driver=closed(
            "name rules", name=WORD, version=WORD, informationUri=URI, rules=many(RULE, uniqueItems=True)
        ),
    ),
    automationDetails=closed("id", id=WORD),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    invocations=many(INVOCATION),
    artifacts=many(ARTIFACT, uniqueItems=True),
    results=many(RESULT),
    properties=BAG,
)
OURS = closed("version runs", **{"$schema": URI, "version": {"const": "2.1.0"}, "runs": many(RUN)})


def sarif(audit, **more):
    return json.loads(to_sarif(audit, **more))


@pytest.mark.parametrize("name", NAMES)
def test_the_part_of_the_standard_that_is_written(name, audits, glossary):
    jsonschema.Draft202012Validator(OURS).validate(sarif(audits[name], glossary=glossary))


def test_the_official_schema(audits):
    path = os.environ.get("MODELWARD_SARIF_SCHEMA", "")
    if not Path(path).is_file():
        pytest.skip("MODELWARD_SARIF_SCHEMA names no copy of the official schema")
    schema = json.loads(Path(path).read_text("utf-8"))
    validator = jsonschema.validators.validator_for(schema)
    for audit in audits.values():
        validator(schema, format_checker=validator.FORMAT_CHECKER).validate(sarif(audit))


@pytest.mark.parametrize("name", NAMES)
def test_indices_point_where_they_say(name, audits):
    run = sarif(audits[name])["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    ids = [rule["id"] for rule in rules]
    assert ids == sorted(set(ids))
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert run["artifacts"][place["index"]]["location"]["uri"] == place["uri"]


def test_levels_and_properties(audits, glossary):
    run = sarif(audits["fail"], glossary=glossary)["runs"][0]
    assert [result["level"] for result in run["results"]] == ["error", "warning", "note"]
    first = run["results"][0]
    assert first["properties"]["severity"] == "high"
    assert first["properties"]["techniques"] == ["AML.T0043", "AML.T0015"]
    assert first["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "norm linf, eps 0.1"
    rule = run["tool"]["driver"]["rules"][0]
    assert rule["id"] == "evasion.fragile"
    assert "AML.T0043: Craft Adversarial Data" in rule["help"]["text"]
    assert {"security", "machine-learning", "AML.T0043"} <= set(rule["properties"]["tags"])
    assert float(rule["properties"]["security-severity"]) == 8.0


def test_the_worst_finding_sets_the_rules_level(audits):
    low, high = (msgspec.structs.replace(audits["fail"].findings[0], severity=s) for s in ("low", "critical"))
    run = sarif(msgspec.structs.replace(audits["fail"], findings=(low, high)))["runs"][0]
    assert [rule["defaultConfiguration"]["level"] for rule in run["tool"]["driver"]["rules"]] == ["error"]
    assert [result["level"] for result in run["results"]] == ["note", "error"]


def prints(audit):
    return [result["partialFingerprints"][FINGERPRINT] for result in sarif(audit)["runs"][0]["results"]]


def test_fingerprints_are_unique_and_survive_new_numbers(audits):
    audit = audits["crowd"]
    assert len(set(prints(audit))) == len(audit.findings)
    later = tuple(
        msgspec.structs.replace(f, message="Other numbers.", severity="low", evidence=("0" * 64,))
        for f in audit.findings
    )
    moved = msgspec.structs.replace(audit, findings=later, run="ff", seed=9, created="2026-01-01T00:00:00Z")
    assert prints(moved) == prints(audit)
    gone = msgspec.structs.replace(audit, findings=audit.findings[1:])
    assert prints(gone) == prints(audit)[1:]


def test_two_findings_at_one_place_keep_apart(audits):
    one = audits["fail"].findings[0]
    first, second = prints(msgspec.structs.replace(audits["fail"], findings=(one, one)))
    assert first == prints(audits["fail"])[0]
    assert second != first


def test_what_was_not_looked_at_is_told(audits):
    invocation = sarif(audits["fail"])["runs"][0]["invocations"][0]
    texts = [note["message"]["text"] for note in invocation["toolExecutionNotifications"]]
    assert any("bias.groups was not run: No sensitive column" in text for text in texts)
    assert any("evasion.query was cut short (queries)" in text for text in texts)
    assert invocation["executionSuccessful"] is True
    assert invocation["endTimeUtc"] == "2025-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("state", "good"), [("finished", True), ("cut", True), ("failed", False), ("interrupted", False)]
)
def test_success_means_that_no_check_broke(state, good, audits):
    run = CheckRun(check="c", summary="s", state=state, cost=Cost(), evidence=())
    invocation = sarif(msgspec.structs.replace(audits["pass"], checks=(run,)))["runs"][0]["invocations"][0]
    assert invocation["executionSuccessful"] is good


def test_an_offset_of_zero_is_written_as_z(audits):
    audit = msgspec.structs.replace(audits["pass"], created="2025-01-02T03:04:05+00:00")
    assert sarif(audit)["runs"][0]["invocations"][0]["endTimeUtc"] == "2025-01-02T03:04:05Z"


def test_no_text_becomes_a_placeholder_or_a_link(audits):
    finding = msgspec.structs.replace(
        audits["fail"].findings[0], title="t", message="{0} [click](https://evil) {}"
    )
    result = sarif(msgspec.structs.replace(audits["fail"], findings=(finding,)))["runs"][0]["results"][0]
    text = result["message"]["text"]
    assert text == "t: {{0}} [click] (https://evil) {{}}"
    assert not re.search(r"(?<!\{)\{\d+\}(?!\})", text)


def test_hostile_text_is_ascii_and_cleaned(audits):
    raw = to_sarif(audits["hostile"])
    assert all(byte < 0x7F for byte in raw)
    for result in json.loads(raw)["runs"][0]["results"]:
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", result["message"]["text"])


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("models/cnn.onnx", "models/cnn.onnx"),
        ("/srv/a b.pt", "file:///srv/a%20b.pt"),
        ("//host/share", "file:////host/share"),
        ("c:evil", "c%3Aevil"),
        ("javascript:alert(1)", "javascript%3Aalert%281%29"),
        ("a\udcffb", "a%ED%B3%BFb"),
        ("größe.pt", "gr%C3%B6%C3%9Fe.pt"),
        ("", "unnamed"),
        ("https://models.example/v1?x=1", "https://models.example/v1?x=1"),
    ],
)
def test_names_become_uri_references(name, uri):
    assert _uri(name) == uri


def test_an_audit_without_subjects_has_no_physical_location(audits):
    run = sarif(msgspec.structs.replace(audits["fail"], subjects=()))["runs"][0]
    assert "physicalLocation" not in run["results"][0]["locations"][0]
