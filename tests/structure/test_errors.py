"""The error tree: drawn as it is, every leaf advised, raised and tested."""

from __future__ import annotations

import ast
import inspect
import re

import pytest

from modelward import errors

KINDS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.ModelwardError)
]
LEAVES = [kind for kind in KINDS if not kind.__subclasses__()]


def drawn():
    """Child -> parent, as the docstring's indentation says."""
    found, above = {}, []
    for line in errors.__doc__.splitlines():
        match = re.match(r"^( {4,})([A-Z][A-Za-z]+)  +\S", line)
        if match:
            depth = (len(match[1]) - 4) // 2
            above[depth:] = [match[2]]
            found[match[2]] = above[depth - 1] if depth else "Exception"
    return found


def test_the_tree_is_drawn_as_it_is():
    assert drawn() == {kind.__name__: kind.__bases__[0].__name__ for kind in KINDS}


def test_only_refusals_are_no_failure():
    refusals = {kind for kind in KINDS if kind.exit_code != 2}
    assert refusals == {errors.PolicyRefused} | {k for k in KINDS if issubclass(k, errors.SealRefused)}


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_leaf_has_advice_of_its_own_branch(kind):
    raised = kind("torch", "torch") if kind is errors.ExtraMissing else kind("what happened")
    assert raised.advice
    assert raised.advice.endswith(".")
    assert raised.advice != errors.ModelwardError.default_advice
    assert str(raised)


def test_advice_can_be_given_for_one_case():
    assert errors.FileMissing("x", advice="Look elsewhere.").advice == "Look elsewhere."


@pytest.fixture(scope="module")
def raised_names(trees):
    """Names of everything that is raised, constructed or handed on to be raised."""
    return {
        node.id
        for path, tree in trees.items()
        if path != "modelward/errors.py"
        for part in ast.walk(tree)
        if isinstance(part, ast.Raise | ast.Call | ast.Dict | ast.Set | ast.Tuple)
        for node in ast.walk(part)
        if isinstance(node, ast.Name)
    } | {
        node.attr
        for path, tree in trees.items()
        for part in ast.walk(tree)
        if isinstance(part, ast.Raise)
        for node in ast.walk(part)
        if isinstance(node, ast.Attribute)
    }


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_leaf_is_raised_somewhere(kind, raised_names):
    assert kind.__name__ in raised_names


@pytest.fixture(scope="module")
def expected_names(root):
    """Names that stand between the parentheses of some `raises`."""
    tests = [path for path in (root / "tests").rglob("test_*.py") if path.parent.name != "structure"]
    between = re.compile(r"raises\(\s*\(?([^)]*)")
    return {
        name
        for path in tests
        for found in between.findall(path.read_text(encoding="utf-8"))
        for name in re.findall(r"\w+", found)
    }


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_leaf_is_expected_by_a_test(kind, expected_names):
    assert kind.__name__ in expected_names
