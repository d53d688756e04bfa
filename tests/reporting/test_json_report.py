from __future__ import annotations

import json
from importlib import resources

import jsonschema
import msgspec
import pytest

from modelward.core.claim import Bracket, Part
from modelward.reporting.exhibit import Cell, Exhibit, pieces
from modelward.reporting.json_report import to_json

NAMES = ("fail", "pass", "unknown", "nothing", "skipped", "crowd", "hostile")
# The promise: these fields, in this spelling, forever within version 1.
TOP = {"schema", "ledger_head", "subjects", "claims", "findings", "skipped", "verdict"}
CLAIM = {
    "id",
    "statement",
    "scope",
    "value",
    "bracket",
    "interval",
    "basis",
    "status",
    "n",
    "cost",
    "evidence",
}


@pytest.fixture(scope="session")
def schema():
    path = resources.files("modelward.reporting").joinpath("schemas/audit-1.schema.json")
    return json.loads(path.read_text("utf-8"))


def test_the_schema_is_a_schema_and_documents_every_field(schema):
    jsonschema.Draft202012Validator.check_schema(schema)

    def walk(node, path):
        for name, child in node.get("properties", {}).items():
            assert "$ref" in child or child.get("description"), f"{path}.{name} has no description"
        for name, child in node.get("$defs", {}).items():
            assert child.get("description"), name
            walk(child, name)

    walk(schema, "")


@pytest.mark.parametrize("name", NAMES)
def test_every_audit_is_valid(name, audits, schema):
    document = json.loads(to_json(audits[name]))
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(document)


def test_witnesses_and_parts_are_described_too(audits, schema):
    shown = Exhibit(
        row=3, check="evasion.query", norm="l0", eps=2.0, unit="features", size=1.0, label="a", prediction=None,
        touched=1, cells=(Cell(column="x", before="1", after="2"),), after=pieces("ab", [(0, 1)]),
    )  # fmt: skip
    part = Part(name="a", n=3, bracket=Bracket(None, 0.5))
    claims = tuple(msgspec.structs.replace(claim, parts=(part,)) for claim in audits["fail"].claims)
    document = json.loads(to_json(msgspec.structs.replace(audits["fail"], claims=claims), [shown]))
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(document)
    assert document["witnesses"][0]["cells"] == [{"column": "x", "before": "1", "after": "2", "units": None}]
    for broken in ({**document["witnesses"][0], "row": "3"}, {"row": 3}):
        assert not validator.is_valid({**document, "witnesses": [broken]})
    document["claims"][0]["parts"] = [{"name": "a"}]
    assert not validator.is_valid(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict",), "maybe"),
        (("schema",), "modelward.audit/2"),
        (("claims", 0, "n"), -1),
        (("claims", 1, "bracket", "lower"), 1.5),
        (("claims", 0, "evidence", 0), "short"),
        (("findings", 0, "severity"), "awful"),
        (("checks", 0, "state"), "done"),
        (("subjects", 0, "digest"), "md5:00"),
    ],
)
def test_the_schema_refuses_what_is_wrong(path, value, audits, schema):
    document = json.loads(to_json(audits["fail"]))
    node = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


@pytest.mark.parametrize("field", sorted(TOP))
def test_the_schema_refuses_a_missing_field(field, audits, schema):
    document = json.loads(to_json(audits["fail"]))
    del document[field]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def test_the_contract(audits):
    document = json.loads(to_json(audits["fail"]))
    assert set(document) >= TOP
    assert document["schema"] == "modelward.audit/1"
    assert document["verdict"] == "fail"
    assert document["skipped"][0] == {
        "check": "bias.groups",
        "reason": "No sensitive column was named; name them with --sensitive.",
    }
    for claim in document["claims"]:
        assert set(claim) >= CLAIM
        assert {"seconds", "forward", "backward", "queries"} <= set(claim["cost"])
        assert set(claim["cost"]) <= {"seconds", "forward", "backward", "queries", "bounds"}
    robust = document["claims"][1]
    assert (robust["id"], robust["value"], robust["interval"]) == ("robust-accuracy", None, None)
    assert robust["bracket"] == {"lower": 0.715, "upper": 0.905}
    assert robust["scope"]["box"]["unit"] == "box width"
    assert document["claims"][0]["interval"] == {"lower": 0.953, "upper": 0.987, "confidence": 0.95}
    assert document["claims"][3]["bracket"]["lower"] is None


def test_evidence_is_named_but_its_outcome_stays_in_the_ledger(audits):
    raw = to_json(audits["fail"])
    assert b"outcome" not in raw
    assert b"survived" not in raw
    document = json.loads(raw)
    recorded = {e["digest"] for check in document["checks"] for e in check["evidence"]}
    assert recorded == {e.digest for run in audits["fail"].checks for e in run.evidence}
    assert {d for claim in document["claims"] for d in claim["evidence"]} <= recorded


def test_hostile_text_survives_as_data_and_is_ascii(audits, hostile_texts):
    raw = to_json(audits["hostile"])
    assert all(byte < 0x7F for byte in raw)
    titles = [finding["title"] for finding in json.loads(raw)["findings"]]
    assert titles[:6] == list(hostile_texts[:6])
    assert titles[6] == "lone \\udcff surrogate"
    assert len(titles[7]) == len(hostile_texts[7])


def test_numbers_that_are_not_finite_become_null(audits):
    claim = msgspec.structs.replace(audits["fail"].claims[0], value=float("nan"), scope={"x": float("inf")})
    document = json.loads(to_json(msgspec.structs.replace(audits["fail"], claims=(claim,))))
    assert document["claims"][0]["value"] is None
    assert document["claims"][0]["scope"] == {"x": None}


def test_it_is_deterministic_and_any_decoder_reads_it(audits):
    assert to_json(audits["fail"]) == to_json(audits["fail"])
    for audit in audits.values():
        assert msgspec.json.decode(to_json(audit)) == json.loads(to_json(audit))


@pytest.mark.parametrize("name", ["fail", "pass", "nothing"])
def test_golden(name, audits, golden):
    golden(f"{name}.json", to_json(audits[name]))


def test_seconds_are_told_to_the_microsecond(audits):
    claim = audits["fail"].claims[0]
    cost = msgspec.structs.replace(claim.cost, seconds=35.20242400000001)
    audit = msgspec.structs.replace(audits["fail"], claims=(msgspec.structs.replace(claim, cost=cost),))
    assert json.loads(to_json(audit))["claims"][0]["cost"]["seconds"] == 35.202424
