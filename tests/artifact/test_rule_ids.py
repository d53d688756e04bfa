"""What each rule of archives is called, and what alone makes it fire: findings are suppressed by these names."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import zipfile

import pytest

from modelward.artifact.collected import Limits
from modelward.artifact.verdict import inspect_bytes

GOOD = pickle.dumps({"a": 1}, 2)
PLAIN = {"runtime": "python", "model": {"handler": "image_classifier"}}


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), data)
    return out.getvalue()


def tarred(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name.replace("_DOT_", "."))
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def schema(**node: object) -> bytes:
    plain = {
        "__class__": "str",
        "__module__": "builtins",
        "__loader__": "JsonNode",
        "content": '"a"',
        "protocol": 2,
    }
    return zipped(schema_DOT_json=json.dumps(plain | node).encode())


def manifest(**fields: object) -> dict[str, bytes]:
    return {"MAR-INF__MANIFEST.json": json.dumps(PLAIN | fields).encode()}


def exported(target: str) -> bytes:
    node = {"target": target, "inputs": [], "outputs": []}
    tree = {"graph_module": {"graph": {"nodes": [node]}}}
    return zipped(m__archive_format=b"pt2", **{"m__models__model.json": json.dumps(tree).encode()})


def encrypted() -> bytes:
    raw = bytearray(zipped(a=b"text\n"))
    raw[6] |= 1
    raw[raw.find(b"PK\1\2") + 8] |= 1
    return bytes(raw)


def packaged(extern: bytes) -> bytes:
    return zipped(**{"p__data.pkl": GOOD, "p__.data__extern_modules": extern})


CASES = [
    ("artifact.damaged", "unproven", zipped(a=b"PAR1 and no end of it")),
    ("artifact.empty", "inert", gzip.compress(b"")),
    ("artifact.unknown-member", "inert", zipped(a=b"\x16\x17\0\xf1" * 30)),
    ("mar.handler", "unproven", zipped(**manifest(model={"handler": "mine"}))),
    ("mar.handler", "dangerous", zipped(**manifest(model={"handler": "/opt/mine.py"}))),
    (
        "mar.requirements",
        "inert",
        zipped(
            **manifest(model={"handler": "image_classifier", "requirementsFile": "r.txt"}),
            **{"r.txt": b"numpy\n"},
        ),
    ),
    (
        "mar.requirements",
        "unproven",
        zipped(
            **manifest(model={"requirementsFile": "r.txt"}), **{"r.txt": b"-i https://x.example\nnumpy\n"}
        ),
    ),
    ("mar.runtime", "unproven", zipped(**manifest(runtime="ruby"))),
    ("mar.yaml", "inert", zipped(**manifest(), **{"w.yaml": b"a: [1,\n"})),
    ("nemo.target", "unproven", tarred(model_config_DOT_yaml=b"target: mine.Thing\n")),
    ("nemo.target", "dangerous", tarred(model_config_DOT_yaml=b"target: os.system\n")),
    ("skops.protocol", "unproven", schema(protocol=9)),
    (
        "skops.reference",
        "inert",
        schema(__class__="anything", __module__="sklearn.base", __loader__="FunctionNode"),
    ),
    ("skops.unknown-name", "unproven", schema(__class__="Thing", __module__="mine", __loader__="ObjectNode")),
    ("tar.oddity", "inert", tarred(a=b"text\n") + tarred(b=b"text\n")),
    ("torch-export.operator", "unproven", exported("torch.ops.aten.from_file.default")),
    ("torch-export.unknown-operator", "unproven", exported("torch.ops.mine.op.default")),
    ("torch-export.unknown-target", "unproven", exported("torch.nn.thing")),
    ("torch-export.target", "dangerous", exported("torch.serialization.os.system")),
    ("torch-package.extern", "inert", packaged(b"os\nsubprocess\n")),
    ("zip.encrypted", "unproven", encrypted()),
    ("pickle.broken", "unproven", GOOD[:-1]),
    ("pickle.persistent-id", "unproven", b"\x80\x02K\x01Q."),
    ("pickle.arguments", "unproven", b"\x80\x02cfunctools\npartial\nK\x01\x85R."),
]


@pytest.mark.parametrize(("rule", "verdict", "data"), CASES)
def test_a_rule_fires_under_its_name(rule, verdict, data):
    report = inspect_bytes(data, "model.bin")
    assert (report.verdict, rule in {finding.rule for finding in report.findings}) == (verdict, True)


def test_rules_are_spelled_alike():
    for rule, _, _ in CASES:
        group, _, what = rule.partition(".")
        assert group == group.lower()
        assert what.replace("-", "").isalpha()


@pytest.mark.parametrize(("limits", "message"), [
    (Limits(depth=0), "nested deeper than 0 levels"), (Limits(members=1), "more than 1 members"), (Limits(member=3), "3 are read"),
])  # fmt: skip
@pytest.mark.parametrize("archive", [zipped(a=b"text\n", b=b"text\n"), tarred(a=b"text\n", b=b"text\n")])
def test_what_lies_beyond_a_budget_is_said(archive, limits, message):
    report = inspect_bytes(archive, "a", limits=limits)
    assert report.verdict == "unproven"
    assert any(message in sentence for sentence in report.coverage.unread)
    assert inspect_bytes(archive, "a").verdict == "inert"
