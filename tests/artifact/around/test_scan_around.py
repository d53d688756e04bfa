"""`docs/scan-around.md` names every rule of this room, and no other, with the severities that the code gives."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from modelward.artifact.around import credentials

ROOT = Path(__file__).parents[3]
ROOM = ROOT / "src/modelward/artifact/around"
SEVERITIES = {"critical", "high", "medium", "low", "info"}
FAMILIES = "source|dependencies|licence|card|secrets|workload|dockerfile|compose|kubernetes|torchserve|serving|mlserver"
RULE = re.compile(rf"(?:{FAMILIES})\.(?!toml$)[a-z0-9-]+")


def constant(node):
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def called(node):
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def pairs(tree):
    """(rule, severity or None) of every place in a module that names a rule."""
    for node in ast.walk(tree):
        if (text := constant(node)) and RULE.fullmatch(text):
            yield text, None
        named = isinstance(node, ast.Call) and called(node) in {"finding", "report"} and len(node.args) > 1
        if named and (rule := constant(node.args[0])):
            yield rule, constant(node.args[1])
        if isinstance(node, ast.Call) and called(node) == "note":
            yield constant(node.args[0]), "info"
        if isinstance(node, ast.Call) and called(node) == "weak" and (rule := constant(node.args[1])):
            yield f"source.{rule}", constant(node.args[2])
        shell = (
            isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 4
        )
        if shell and (rule := constant(node.value.elts[0])):
            yield f"source.{rule}", constant(node.value.elts[1])


@cache
def in_code():
    """Rule -> the severities that stand beside it as constants."""
    made = {}
    for path in sorted(ROOM.rglob("*.py")):
        for rule, severity in pairs(ast.parse(path.read_text(encoding="utf-8"))):
            made.setdefault(rule, set()).update({severity} & SEVERITIES)
    for pattern in tomllib.loads((ROOM / "secrets.toml").read_text(encoding="utf-8"))["pattern"]:
        made.setdefault(f"secrets.{pattern['rule']}", set()).add(pattern["severity"])
    for place in credentials.PLACES:
        made.setdefault(place.rule, set()).add(place.severity)
    return made


@cache
def in_document():
    """Rule -> (severities, what it says, remedy)."""
    text = (ROOT / "docs/scan-around.md").read_text(encoding="utf-8")
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| `")]
    names = [row[0].strip().strip("`") for row in rows]
    assert len(names) == len(set(names))
    return {
        name: (set(re.findall(r"\w+", row[1])), row[2].strip(), row[3].strip())
        for name, row in zip(names, rows, strict=True)
    }


def test_the_table_names_every_rule_and_no_other():
    code = in_code()
    assert len(code) > 90
    assert set(in_document()) == set(code)


@pytest.mark.parametrize("rule", sorted(in_code()))
def test_the_severities_are_those_of_the_code(rule):
    severities, what, remedy = in_document()[rule]
    assert severities <= SEVERITIES
    assert severities
    assert what
    assert remedy
    assert in_code()[rule] <= severities


def test_no_rule_is_made_in_a_way_that_this_test_does_not_see():
    made = set()
    for path in ROOM.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr) and re.fullmatch(
                rf"(?:{FAMILIES})\.", constant(node.values[0]) or ""
            ):
                made.add(constant(node.values[0]))
    assert made == {"source.", "secrets."}
