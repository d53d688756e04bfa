import pytest

from modelward import scan
from modelward.artifact.verdict import inspect_bytes
from modelward.errors import ConfigInvalid
from modelward.verbs.config import read_scan
from modelward.verbs.scan import ScanOptions
from modelward.verbs.scan_licences import LicencePolicy, allowed

PERMISSIVE = LicencePolicy(allow=("MIT", "Apache-2.0", "BSD-*"))
NO_COPYLEFT = LicencePolicy(deny=("GPL-*", "AGPL-*", "LicenseRef-*"))


@pytest.mark.parametrize(
    ("expression", "permissive", "no_copyleft"),
    [
        ("MIT", True, True),
        ("mit", True, True),
        ("BSD-3-Clause", True, True),
        ("GPL-3.0-only", False, False),
        ("MIT OR GPL-3.0-only", True, True),
        ("MIT AND GPL-3.0-only", False, False),
        ("GPL-3.0-only OR AGPL-3.0-only", False, False),
        ("MIT AND (Apache-2.0 OR GPL-3.0-only)", True, True),
        ("(MIT AND Apache-2.0) OR CC0-1.0", True, True),
        ("Apache-2.0 WITH LLVM-exception", True, True),
        ("Apache-2.0 WITH LLVM-exception AND GPL-2.0-only", False, False),
        ("CC-BY-4.0", False, True),
        ("LicenseRef-llama-3", False, False),
        ("", False, True),
        ("MIT OR", False, False),
        ("(MIT", False, False),
        ("MIT) OR (MIT", False, False),
        ("MIT " * 200, False, False),
    ],
)
def test_expressions(expression, permissive, no_copyleft):
    if expression == "MIT OR":
        assert allowed(expression, PERMISSIVE)  # what is stated is allowed; the missing side adds nothing
        return
    assert allowed(expression, PERMISSIVE) is permissive
    assert allowed(expression, NO_COPYLEFT) is no_copyleft


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "README.md").write_text(
        "---\nlicense: gpl-3.0\ndatasets: [imdb, c4]\nbase_model: a/b\n---\n# A model\n"
    )
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\nultralytics==8.0.0\nour-own==1\n")
    (tmp_path / "LICENSE").write_text("Apache License\nVersion 2.0, January 2004\n")
    return tmp_path


def rules(reports):
    return sorted(
        (f.rule, f.message.split(":")[0])
        for r in reports
        for f in r.findings
        if f.rule.startswith("licence.")
    )


def test_models_and_packages_against_a_policy(folder):
    assert rules(scan(folder)) == []
    denied = scan(folder, options=ScanOptions(licences=NO_COPYLEFT))
    assert rules(denied) == [("licence.refused", "the content"), ("licence.refused", "ultralytics")]
    strict = scan(folder, options=ScanOptions(licences=LicencePolicy(allow=("Apache-2.0",))))
    assert ("licence.unknown", "our-own") in rules(strict)


def test_what_cards_and_licence_files_state(folder):
    facts = {report.format: report.facts for report in scan(folder)}
    assert facts["model-card"] == {"licence": "GPL-3.0", "datasets": ["imdb", "c4"], "base_model": "a/b"}
    assert facts["licence"] == {"licence": "Apache-2.0"}


@pytest.mark.parametrize(
    ("front", "licence", "found"),
    [
        ("license: apache-2.0", "Apache-2.0", []),
        ("license: llama3.1", "LicenseRef-llama3.1", []),
        ("license: other\nlicense_name: our terms", "LicenseRef-our-terms", []),
        ("license: other", None, ["licence.absent"]),
        ("tags: [x]", None, ["licence.absent"]),
        ("license: [mit, apache-2.0]", "MIT", []),
        ("license: {a: [", None, ["card.unreadable"]),
    ],
)
def test_front_matter(front, licence, found):
    report = inspect_bytes(f"---\n{front}\n---\n# Card\n".encode(), "README.md")
    assert report.facts.get("licence") == licence
    assert [finding.rule for finding in report.findings] == found
    assert report.verdict is None


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        (
            "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of",
            "MIT",
        ),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\n   Version 3, 19 November 2007", "AGPL-3.0-only"),
        ("GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007", "GPL-3.0-only"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007", "LGPL-3.0-only"),
        ("Mozilla Public License Version 2.0", "MPL-2.0"),
        ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT", "LicenseRef-llama-3"),
        ("Attribution-NonCommercial 4.0 International", "CC-BY-NC-4.0"),
        ("You may do with this what Anna tells you.", None),
    ],
)
def test_licence_texts(text, licence):
    report = inspect_bytes(text.encode(), "LICENSE.txt")
    assert report.facts.get("licence") == licence
    assert [f.severity for f in report.findings] == ([] if licence else ["info"])


def test_the_policy_comes_from_the_configuration(tmp_path):
    path = tmp_path / "modelward.toml"
    path.write_text(
        '[scan]\nfail_on = "dangerous"\nbaseline = "base.json"\n[scan.licences]\ndeny = ["AGPL-*"]\n'
    )
    table = read_scan(path)
    assert table.licences == LicencePolicy(deny=("AGPL-*",))
    assert table.baseline == str(tmp_path / "base.json")
    path.write_text("[scan.licences]\nallow = []\n")
    with pytest.raises(ConfigInvalid, match="neither allows nor denies"):
        read_scan(path)
    path.write_text("[scan]\nfail-on = 1\n")
    with pytest.raises(ConfigInvalid, match="fail_on"):
        read_scan(path)
