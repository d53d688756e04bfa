import ast
import json
import re
from pathlib import Path

import msgspec
import pytest

from modelward.governance.catalogue import Catalogue, catalogue, glossary

ROOT = Path(__file__).parents[2]
OFFICIAL = ROOT.parent / "shared" / "govern"
ID = re.compile(r"AML\.T\d{4}(\.\d{3})?|(GV|ID|PR|DE|RS|RC)\.[A-Z]{2}-\d{2}|(risk|control)[A-Z][A-Za-z]+")
official = pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the official files are not beside the checkout")


def ids_in_source():
    """Every string constant of the source that has the shape of an id."""
    found = set()
    for path in (ROOT / "src" / "modelward").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and ID.fullmatch(node.value):
                found.add(node.value)
    return found


def test_every_id_on_a_finding_is_in_the_catalogue():
    used = ids_in_source()
    assert {"AML.T0015", "AML.T0011.000"} <= used  # the search finds something
    assert used - set(catalogue().entries) == set()


def test_every_entry_is_used_or_a_parent_of_what_is_used():
    used = ids_in_source()
    unused = {key for key in catalogue().entries if not any(name.startswith(key) for name in used)}
    assert unused == set()


def test_glossary_names_the_framework():
    assert glossary()["AML.T0015"] == "MITRE ATLAS: Evade AI Model"
    assert set(glossary()) == set(catalogue().entries)


def test_texts_are_sentences():
    for key, entry in catalogue().entries.items():
        assert entry.text.endswith("."), key
        assert 20 < len(entry.text) < 160, key


def test_an_unknown_framework_is_refused():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"frameworks": {"other": {"title": "x", "version": "1"}}, "entries": {}}, Catalogue)


@official
def test_atlas_ids_and_names_are_official():
    text = (OFFICIAL / "mitre-atlas" / "ATLAS.yaml").read_text(encoding="utf-8")
    assert f"version: {catalogue().frameworks['atlas'].version}" in text
    for key, entry in catalogue().entries.items():
        if entry.framework == "atlas":
            assert f"- id: {key}\n    name: {entry.name}\n" in text, key


@official
def test_csf_ids_are_official_and_not_withdrawn():
    tree = json.loads((OFFICIAL / "nist-csf-2.0" / "csf-2.0.compact.json").read_text(encoding="utf-8"))
    current = {}

    def walk(node):
        if isinstance(node, dict):
            if node.get("class") == "subcategory":
                current[node["id"]] = node.get("props", {})
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(tree)
    for key, entry in catalogue().entries.items():
        if entry.framework == "csf":
            assert key in current
            assert current[key].get("status") != "withdrawn"


@official
def test_cosai_ids_and_names_are_official():
    text = "".join(
        (OFFICIAL / "cosai-risk-map" / "yaml" / name).read_text(encoding="utf-8")
        for name in ("risks.yaml", "controls.yaml")
    )
    for key, entry in catalogue().entries.items():
        if entry.framework == "cosai":
            assert f"- id: {key}\n    title: {entry.name}\n" in text, key
