"""What reports say, as the inventory that both documents are written from."""

import hashlib
import json
from datetime import UTC, datetime

import pytest

from modelward.artifact.finding import Finding, Location
from modelward.artifact.verdict import ArtifactReport, Coverage
from modelward.errors import FileMissing
from modelward.vault.bom.cyclonedx import cyclonedx, stated_time
from modelward.vault.bom.inventory import Inventory, Package, Stated, take
from modelward.vault.bom.spdx import spdx

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def report(path, form="pickle", verdict="inert", facts=None, findings=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(path.name.encode())
    coverage = Coverage(path.stat().st_size, 0, 0, 0, ())
    return ArtifactReport(str(path), form, verdict, coverage, tuple(findings), (), facts or {})


KINDS = [
    ("pickle", "inert", "model"),
    ("safetensors", "inert", "model"),
    ("onnx", "dangerous", "model"),
    ("unknown", "unproven", "model"),
    ("npy", None, "data"),
    ("npz", None, "data"),
    ("npz", "dangerous", "data"),
    ("csv", None, "data"),
    ("csv-compressed", None, "data"),
    ("parquet", None, "data"),
    ("arrow", None, "data"),
    ("sqlite", None, "data"),
    ("image", None, "data"),
    ("python", None, "file"),
    ("json", None, "file"),
    ("text", None, "file"),
    ("model-card", None, "file"),
    ("requirements", None, "file"),
    ("raw-numbers", None, "file"),
    ("json", "dangerous", "model"),
]


@pytest.mark.parametrize(("form", "verdict", "kind"), KINDS)
def test_kinds_of_files(tmp_path, form, verdict, kind):
    (entry,) = take(tmp_path, [report(tmp_path / "a" / "f.x", form, verdict)], (), Stated()).entries
    assert (entry.name, entry.kind, entry.format, entry.verdict) == ("a/f.x", kind, form, verdict)
    assert entry.sha256 == hashlib.sha256(b"f.x").hexdigest()
    assert (entry.size, entry.training) == (3, False)


def test_findings_are_counted_by_severity(tmp_path):
    findings = [
        Finding("r", severity, "m", Location("", None)) for severity in ("high", "low", "high", "critical")
    ]
    (entry,) = take(tmp_path, [report(tmp_path / "f", findings=findings)], (), Stated()).entries
    assert entry.findings == {"high": 2, "low": 1, "critical": 1}


def test_training_data_comes_last_and_is_data_whatever_it_is(tmp_path):
    training = [report(tmp_path / "elsewhere" / "a.pkl"), report(tmp_path / "root" / "z.csv", "csv", None)]
    found = take(tmp_path / "root", [report(tmp_path / "root" / "m.pkl")], training, Stated())
    assert [(entry.name, entry.kind, entry.training) for entry in found.entries] == [
        ("m.pkl", "model", False),
        ("a.pkl", "data", True),
        ("z.csv", "data", True),
    ]


def test_a_file_that_disappeared(tmp_path):
    gone = report(tmp_path / "f")
    (tmp_path / "f").unlink()
    with pytest.raises(FileMissing):
        take(tmp_path, [gone], (), Stated())


@pytest.mark.parametrize(
    ("facts", "stated", "version"),
    [
        ([{"version": "1"}], "", "1"),
        ([{"version": "1"}, {"version": "1"}], "", "1"),
        ([{"version": "1"}, {"version": "2"}], "", ""),
        ([{"version": "1"}], "9", "9"),
        ([{"version": 1}], "", ""),
        ([{}], "", ""),
    ],
)
def test_versions_that_files_state(tmp_path, facts, stated, version):
    reports = [report(tmp_path / f"f{n}", facts=fact) for n, fact in enumerate(facts)]
    assert take(tmp_path, reports, (), Stated(version=stated)).version == version


def test_names_and_suppliers(tmp_path):
    reports = [report(tmp_path / "f")]
    assert take(tmp_path, reports, (), Stated()).name == tmp_path.name
    found = take(tmp_path, reports, (), Stated(name="n", supplier="s"))
    assert (found.name, found.supplier) == ("n", "s")


PACKAGES = [
    ({"name": "Scikit_Learn", "version": "1"}, ("scikit-learn", "1", ())),
    ({"name": "a.b__c", "version": None}, ("a-b-c", "", ())),
    ({"name": "a", "version": 1}, ("a", "", ())),
    (
        {"name": "a", "version": "1", "hashes": ["sha256:" + "b" * 64, "a" * 64]},
        ("a", "1", ("a" * 64, "b" * 64)),
    ),
    (
        {"name": "a", "version": "1", "hashes": ["md5:x", "sha256:short", 5, "sha256:" + "A" * 64]},
        ("a", "1", ()),
    ),
    ({"name": "a", "version": "1", "hashes": "x"}, ("a", "1", ())),
    ({"name": ""}, None),
    ({"name": "-a"}, None),
    ({"name": "a b"}, None),
    ({"name": "a" * 215}, None),
    ({"name": "a" * 214, "version": "1"}, ("a" * 214, "1", ())),
    ({"name": 5}, None),
    ({"version": "1"}, None),
    ("a==1", None),
]


@pytest.mark.parametrize(("item", "expected"), PACKAGES)
def test_packages_that_files_name(tmp_path, item, expected):
    found = take(
        tmp_path, [report(tmp_path / "r.txt", "requirements", None, {"packages": [item, item]})], (), Stated()
    )
    assert found.packages == ((Package(*expected, "r.txt"),) if expected else ())


def test_licences_and_data_sets_once_and_sorted(tmp_path):
    reports = [
        report(tmp_path / "a", facts={"licence": "mit", "datasets": ["z", "a", 3]}),
        report(tmp_path / "b", facts={"licence": ["apache-2.0", "mit", ""], "datasets": "a"}),
    ]
    found = take(tmp_path, reports, (), Stated())
    assert (found.licences, found.datasets) == (("apache-2.0", "mit"), ("a", "z"))


def test_the_digest_is_of_names_and_contents(tmp_path):
    reports = [report(tmp_path / "b"), report(tmp_path / "a")]
    found = take(tmp_path, reports, (), Stated(name="n", version="1"))
    listed = [["n", "1"], *([name, hashlib.sha256(name.encode()).hexdigest()] for name in "ab")]
    assert found.digest == hashlib.sha256(json.dumps(listed, separators=(",", ":")).encode()).hexdigest()
    assert take(tmp_path, reports[::-1], (), Stated(name="n", version="1")).digest == found.digest
    assert take(tmp_path, reports, (), Stated(name="m", version="1")).digest != found.digest


# --- documents ----------------------------------------------------------------------------------------------


@pytest.fixture
def inventory(tmp_path):
    facts = {
        "framework": "torch", "architecture": "ResNet", "inputs": ["x"], "outputs": ["y", "z"], "parameters": 5, "sharded": True,
        "dtypes": {"f32": 2, "i8": 1}, "licence": "mit", "metadata": {"a": "b"},
    }  # fmt: skip
    reports = [
        report(
            tmp_path / "m.pt", "torch-zip", "inert", facts, [Finding("r", "low", "m", Location("", None))]
        ),
        report(
            tmp_path / "r.txt",
            "requirements",
            None,
            {"packages": [{"name": "Torch", "version": "2", "hashes": ["sha256:" + "a" * 64]}]},
        ),
        report(tmp_path / "c.md", "model-card", None, {"datasets": ["imdb"], "licence": "mit"}),
    ]
    return take(
        tmp_path,
        reports,
        [report(tmp_path / "t.csv", "csv", None)],
        Stated(name="n", version="1", supplier="s"),
    )


def properties(part):
    return {item["name"].removeprefix("modelward:"): item["value"] for item in part.get("properties", ())}


def test_a_cyclonedx_document(inventory):
    content = json.loads(cyclonedx(inventory, version="7", at=AT))
    parts = {part["bom-ref"]: part for part in content["components"]}
    assert set(parts) == {"file:m.pt", "file:r.txt", "file:c.md", "training:t.csv", "package:r.txt:torch@2"}
    model = properties(parts["file:m.pt"])
    assert (model["format"], model["bytes"], model["load-verdict"], model["findings:low"]) == (
        "torch-zip",
        "4",
        "inert",
        "1",
    )
    assert (model["dtypes:f32"], model["dtypes:i8"], model["parameters"], model["sharded"]) == (
        "2",
        "1",
        "5",
        "true",
    )
    assert "metadata" not in model
    assert properties(parts["file:r.txt"])["load-verdict"] == "none"
    card = parts["file:m.pt"]["modelCard"]["modelParameters"]
    assert (card["architectureFamily"], card["modelArchitecture"]) == ("torch", "ResNet")
    assert (card["inputs"], card["outputs"]) == ([{"format": "x"}], [{"format": "y"}, {"format": "z"}])
    assert card["datasets"] == [{"ref": "training:t.csv"}, {"type": "dataset", "name": "imdb"}]
    assert parts["package:r.txt:torch@2"]["purl"] == "pkg:pypi/torch@2"
    assert content["metadata"]["timestamp"] == "2026-01-02T03:04:05+00:00"
    (needs,) = [item["dependsOn"] for item in content["dependencies"] if item["ref"] == "root"]
    assert set(needs) == set(parts)


def test_the_serial_number_is_a_uuid_of_the_content(inventory):
    import uuid

    serial = uuid.UUID(
        json.loads(cyclonedx(inventory, version="7", at=AT))["serialNumber"].removeprefix("urn:uuid:")
    )
    assert (serial.version, serial.variant) == (8, uuid.RFC_4122)
    assert serial.hex[:12] == inventory.digest[:12]
    assert cyclonedx(inventory, version="7", at=AT) == cyclonedx(inventory, version="7", at=AT)


@pytest.mark.parametrize(
    ("licences", "shown"),
    [
        (("mit",), [{"license": {"id": "MIT"}}]),
        (("MIT OR Apache-2.0",), [{"expression": "MIT OR Apache-2.0"}]),
        (("my own",), [{"license": {"name": "my own"}}]),
        (
            ("MIT OR Apache-2.0", "my own"),
            [{"license": {"name": "MIT OR Apache-2.0"}}, {"license": {"name": "my own"}}],
        ),
    ],
)
def test_licences_of_the_whole(licences, shown):
    empty = {"name": "n", "version": "", "supplier": "", "entries": (), "packages": (), "datasets": ()}
    content = json.loads(cyclonedx(Inventory(licences=licences, **empty), version="1", at=AT))
    found = content["metadata"]["component"]["licenses"]
    stripped = [{kind: value if isinstance(value, str) else {k: v for k, v in value.items() if k in {"id", "name"}} for kind, value in item.items() if kind in {"license", "expression"}} for item in found]  # fmt: skip
    assert sorted(stripped, key=str) == shown


def test_an_spdx_document_names_every_file_and_package(inventory):
    text = spdx(inventory, version="7", at=AT).decode()
    graph = json.loads(text)["@graph"]
    names = {item.get("name") for item in graph}
    assert {"m.pt", "r.txt", "c.md", "t.csv", "torch"} <= names
    assert hashlib.sha256(b"m.pt").hexdigest() in text
    assert spdx(inventory, version="7", at=AT).decode() == text


@pytest.mark.parametrize(("epoch", "year"), [("0", 1970), ("1700000000", 2023)])
def test_the_time_can_be_stated(monkeypatch, epoch, year):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert stated_time() == datetime.fromtimestamp(int(epoch), UTC)
    assert stated_time().year == year


@pytest.mark.parametrize("epoch", ["", "soon", "-5"])
def test_otherwise_the_time_is_now(monkeypatch, epoch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert abs((stated_time() - datetime.now(UTC)).total_seconds()) < 60
