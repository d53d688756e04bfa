"""What is written about the program is what the program does."""

from __future__ import annotations

import importlib.util
import re
import tomllib

import pytest
from click.testing import CliRunner

from modelward.cli.main import root as command
from modelward.core.catalogue import CHECKS, CLAIMS
from modelward.core.policy import BASELINE
from modelward.verbs.config import read_config

VERBS = [
    "amend", "audit", "bom", "harden", "init", "keys", "ledger", "open", "report", "scan", "seal", "verify",
]  # fmt: skip
LINK = re.compile(r"\]\((?!https?://|#|mailto:)(?P<target>[^)#]+)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def writer(root):
    spec = importlib.util.spec_from_file_location("readme", root / "tools" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_help_blocks_are_what_the_program_prints(root, writer):
    text = (root / "README.md").read_text(encoding="utf-8")
    assert len(writer.BLOCK.findall(text)) == 1 + len(VERBS)
    assert writer.with_help(text) == text, "run `make readme`"


def test_tables_are_those_of_the_catalogue(root, writer):
    text = (root / "docs" / "checks.md").read_text(encoding="utf-8")
    assert len(writer.TABLE.findall(text)) == 2
    assert writer.with_tables(text) == text, "run `make readme`"


def test_every_check_and_claim_is_explained(root):
    """Beyond its line in a table: a section of its own."""
    text = (root / "docs" / "checks.md").read_text(encoding="utf-8")
    for entry in (*CHECKS, *CLAIMS):
        assert re.search(rf"^#+ .*`{re.escape(entry.id)}`", text, re.MULTILINE), entry.id


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_an_example(verb):
    shown = CliRunner().invoke(command, [verb, "--help"]).output
    assert re.search(rf"Examples?:\s+modelward {verb}\b", shown)


def test_every_verb_is_listed(root):
    assert sorted(command.list_commands(None)) == VERBS
    shown = CliRunner().invoke(command, ["--help"]).output
    readme = (root / "README.md").read_text(encoding="utf-8")
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", shown, re.MULTILINE)
        assert f"modelward {verb}" in readme


def test_links_lead_somewhere(root):
    for path in [*root.glob("*.md"), *(root / "docs").rglob("*.md")]:
        for target in LINK.findall(path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_configurations_in_the_docs_are_valid(root, tmp_path):
    """Every block of TOML that is a whole file is read as a user's file would be."""
    count = 0
    for path in [root / "README.md", *(root / "docs").glob("*.md")]:
        for block in re.findall(r"```toml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            file = tmp_path / f"{count}.toml"
            file.write_text(block, encoding="utf-8")
            tomllib.loads(block)
            read_config(file)
            count += 1
    assert count >= 2


def test_the_baseline_is_the_one_that_is_written_down(root):
    text = (root / "docs" / "policy.md").read_text(encoding="utf-8")
    assert f'max-severity = "{BASELINE.max_severity}"' in text
    assert "required-checks = [" + ", ".join(f'"{c}"' for c in BASELINE.required_checks) + "]" in text


def test_versions_agree(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"## {project['version']}" in (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "Apache License" in (root / project["license-files"][0]).read_text(encoding="utf-8")


def test_every_dependency_is_pinned(root):
    """What pyproject names is in constraints.txt, torch by its exact public version."""
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    known = {re.sub(r"[-_.]+", "-", name).lower() for name in pins}
    whole = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    project, groups = whole["project"], whole["dependency-groups"]
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    for wanted in [*project["dependencies"], *extras, *groups["test"], *groups["lint"], "hatchling>=1"]:
        name = re.match(r"[A-Za-z0-9._-]+", wanted)[0].lower()
        assert name in known | {"modelward"}, name
    assert re.fullmatch(r"\d+\.\d+\.\d+", pins["torch"])
    assert not [line for line in lines if "nvidia" in line or "file:" in line or "@" in line]


def test_the_workflow_is_the_one_that_is_described(root):
    make = (root / "Makefile").read_text(encoding="utf-8")
    readme = (root / "README.md").read_text(encoding="utf-8")
    for goal in ("demo", "test", "lint", "bench", "clean"):
        assert re.search(rf"^{goal}:", make, re.MULTILINE)
    assert "make demo" in readme
    assert "make test" in readme
