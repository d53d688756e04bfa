"""Classes are final or abstract; nothing is inherited but where a framework demands it."""

from __future__ import annotations

import ast

import pytest

VALUES = {"msgspec.Struct", "Struct", "NamedTuple", "TypedDict", "Enum", "IntEnum"}
ERRORS = {"Exception", "ValueError"}


def classes(trees):
    return [
        (path, node)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]


def is_error(node, path, errors):
    bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    return path == "modelward/errors.py" or bool(bases & (ERRORS | errors))


def test_classes_are_final_or_abstract_or_values(trees):
    errors = {node.name for path, node in classes(trees) if path == "modelward/errors.py"}
    loose = []
    # Flags that several commands share; a TypedDict is a value and has no methods to override.
    shared = {node.name for _, node in classes(trees) if "TypedDict" in map(ast.unparse, node.bases)}
    for path, node in classes(trees):
        marks = {ast.unparse(mark).partition("(")[0] for mark in node.decorator_list}
        bases = {ast.unparse(base).partition("[")[0] for base in node.bases}
        fine = marks & {"final", "dataclass"} or bases & (VALUES | shared | {"Protocol", "ABC"})
        if not fine and not is_error(node, path, errors):
            loose.append((path, node.name))
    assert not loose


def test_value_types_are_frozen(trees):
    """What crosses rooms never changes; the pickle machine's own state does."""
    rooms = ("modelward/core/", "modelward/engine/", "modelward/governance/", "modelward/reporting/")
    for path, node in classes(trees):
        bases = {ast.unparse(base) for base in node.bases}
        if "msgspec.Struct" in bases and path.startswith((*rooms, "modelward/verbs/", "modelward/adapters/")):
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert options.get("frozen") == "True", (path, node.name)
        for mark in node.decorator_list:
            if ast.unparse(mark).startswith("dataclass") and path.startswith(rooms):
                assert "frozen=True" in ast.unparse(mark), (path, node.name)


def test_super_only_where_a_framework_demands_it(trees):
    errors = {node.name for path, node in classes(trees) if path == "modelward/errors.py"}
    for path, node in classes(trees):
        uses = [n for n in ast.walk(node) if isinstance(n, ast.Call) and ast.unparse(n.func) == "super"]
        if uses:
            bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
            assert bases & {"Module", "Interpreter"} or is_error(node, path, errors), (path, node.name)


def test_nothing_is_sniffed_with_hasattr(trees):
    for path, tree in trees.items():
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "hasattr"]
        assert not calls, path


@pytest.mark.parametrize("room", ["modelward/numeric/"])
def test_formulas_name_their_source(trees, room):
    """Every public function of the statistics, or its module, says where its formula comes from."""
    for path, tree in trees.items():
        if not path.startswith(room) or path.endswith(("__init__.py", "types.py")):
            continue
        module = ast.get_docstring(tree) or ""
        for node in tree.body:
            overload = any("overload" in ast.unparse(mark) for mark in getattr(node, "decorator_list", ()))
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not overload:
                text = ast.get_docstring(node) or ""
                assert "Source" in text or "Source" in module, (path, node.name)


def test_everything_public_is_documented(trees):
    for path, tree in trees.items():
        assert ast.get_docstring(tree), path
