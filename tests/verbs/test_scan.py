import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import jsonschema
import pytest

from modelward import scan
from modelward.errors import FileDamaged, FileMissing
from modelward.reporting.scan_report import scan_json
from modelward.reporting.scan_sarif import scan_sarif
from modelward.reporting.scan_text import scan_text

EVIL = b"cos\nsystem\n(Vid\ntR."


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good.pkl").write_bytes(pickle.dumps({"a": [1.0, "x"]}))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "evil\x1b[31m.bin").write_bytes(EVIL)
    (tmp_path / "unknown.pkl").write_bytes(b"\x80\x04cmypkg.model\nNet\n.")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "link.pkl").symlink_to(tmp_path / "good.pkl")
    return tmp_path


def verdicts(reports):
    return {report.path.rsplit("/", 1)[-1]: report.verdict for report in reports}


def test_a_folder_is_walked_whole(folder):
    assert verdicts(scan(folder)) == {
        "good.pkl": "inert",
        "evil\x1b[31m.bin": "dangerous",
        "unknown.pkl": "unproven",
        "empty.pt": "error",
        "link.pkl": "inert",
    }


def test_a_named_file_that_cannot_be_read_is_an_error(folder, tmp_path):
    with pytest.raises(FileDamaged, match="empty"):
        scan(folder / "empty.pt")
    with pytest.raises(FileMissing, match="no such file"):
        scan(folder / "absent")
    (tmp_path / "hollow").mkdir()
    with pytest.raises(FileMissing, match="holds no file"):
        scan(tmp_path / "hollow")


def test_json_follows_the_contract(folder):
    content = json.loads(scan_json(scan(folder)))
    assert content["schema"] == "modelward.scan/1"
    assert content["summary"]["files"] == 5
    assert content["summary"]["verdicts"] == {"inert": 2, "dangerous": 1, "unproven": 1, "error": 1}
    assert content["summary"]["accepted"] == 0
    (evil,) = [a for a in content["artifacts"] if a["verdict"] == "dangerous"]
    assert set(evil) >= {"path", "format", "verdict", "coverage", "findings"}
    assert set(evil["findings"][0]) >= {"rule", "severity", "message", "location"}
    assert any(f.get("call") == "os.system('id')" for f in evil["findings"])


def test_text_is_safe_for_a_terminal(folder):
    text = scan_text(scan(folder))
    assert "\x1b" not in text
    assert "DANGEROUS" in text
    assert "os.system('id')" in text
    assert text.splitlines()[-1] == "5 files, 3 not proven harmless"


def test_sarif_fingerprints_do_not_depend_on_the_folder(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "evil.bin").write_bytes(EVIL)
    prints = [
        {
            r["partialFingerprints"]["modelward/v1"]
            for r in json.loads(scan_sarif(scan(path)))["runs"][0]["results"]
        }
        for path in (other / "evil.bin", next((folder / "sub").iterdir()))
    ]
    assert prints[0] == prints[1] != set()
    run = json.loads(scan_sarif(scan(folder)))["runs"][0]
    known = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in run["results"]} == known


def test_sarif_is_valid_by_the_official_schema(folder):
    schema = os.environ.get("MODELWARD_SARIF_SCHEMA")
    if not schema:
        pytest.skip("MODELWARD_SARIF_SCHEMA names no copy of the official schema")
    content = json.loads(scan_sarif(scan(folder)))
    jsonschema.Draft7Validator(json.loads(Path(schema).read_text(encoding="utf-8"))).validate(content)


def test_what_no_loader_takes_is_no_false_alarm(tmp_path):
    import sqlite3

    (tmp_path / "README.md").write_text("# A model\n\nIt answers, mostly.\n")
    (tmp_path / "curve.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    (tmp_path / "train.py").write_text("import os\n\nprint(os.name)\n")
    db = sqlite3.connect(tmp_path / "runs.db")
    db.execute("CREATE TABLE t (a)")
    db.commit()
    db.close()
    assert set(verdicts(scan(tmp_path)).values()) == {None}
    # A pickle of protocol 0 is text, too.
    (tmp_path / "notes.txt").write_bytes(EVIL)
    assert verdicts(scan(tmp_path))["notes.txt"] == "dangerous"
    # A picture with an archive behind it is opened by loaders that look from the end.
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", EVIL)
    (tmp_path / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50) + buffer.getvalue())
    assert verdicts(scan(tmp_path))["logo.png"] == "dangerous"
    (tmp_path / "weights.bin").write_bytes(bytes(range(256)) * 40)
    assert verdicts(scan(tmp_path))["weights.bin"] == "unproven"
