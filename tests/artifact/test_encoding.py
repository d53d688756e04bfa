"""Texts in other encodings than UTF-8: what they say counts, whatever their bytes look like."""

import codecs
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact import encoding
from modelward.artifact.around.source import analyse
from modelward.artifact.verdict import inspect_bytes

YAML = "_target_: os.system\n_args_: [id]\n"
JSON = '{"_target_": "os.system", "_args_": ["id"]}'


def scanned(data, name):
    report = inspect_bytes(data, name)
    return report.format, report.verdict


@pytest.mark.parametrize("name", ["utf-16", "utf-32"])
@pytest.mark.parametrize(("text", "file"), [(YAML, "c.yaml"), (JSON, "c.json"), (JSON, "c")])
def test_an_attack_in_wide_characters_is_dangerous(name, text, file):
    assert scanned(text.encode(name), file)[1] == "dangerous"


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_json_needs_no_mark(name):
    assert encoding.wide(JSON.encode(name)) == name
    assert scanned(JSON.encode(name), "c.json")[1] == "dangerous"


@pytest.mark.parametrize(
    ("text", "file", "kind"),
    [("torch==2.0\n", "requirements.txt", "requirements"), ("import torch\n", "a.py", "python"),
     ("only a few words", "notes.txt", "text")],
)  # fmt: skip
def test_harmless_wide_texts_have_no_verdict(text, file, kind):
    assert scanned(codecs.BOM_UTF16_LE + text.encode("utf-16-le"), file) == (kind, None)


@pytest.mark.parametrize(
    ("data", "file", "kind"),
    [
        ("# café\nx = 1\n".encode("latin-1"), "a.py", "python"),
        ("# 你好世界\nprint(1)\n".encode("gbk"), "a.py", "python"),
        ("torch==2.0  # déjà vu\n".encode("cp1252"), "requirements.txt", "requirements"),
        ("#!/bin/sh\necho é\n".encode("latin-1"), "run.sh", "shell"),
        ("un café, s'il vous plaît".encode("latin-1"), "a.txt", "text"),
        ("こんにちは世界".encode("shift_jis"), "a.txt", "text"),
    ],
)
def test_texts_of_one_byte_are_known_by_their_names(data, file, kind):
    assert scanned(data, file) == (kind, None)


def test_a_weakness_in_latin_1_is_found():
    report = inspect_bytes("# é\nimport os\nos.system(input())\n".encode("latin-1"), "a.py")
    assert "source.shell-injection" in {finding.rule for finding in report.findings}


def test_bytes_with_control_characters_are_no_text():
    data = random.Random(0).randbytes(4000).replace(b"\0", b"\x01")
    assert scanned(data, "model.py") == ("unknown", "unproven")
    assert scanned(b"\x80\x81\x82\x83" * 2, "model.py") == ("unknown", "unproven")


def test_a_binary_that_starts_with_a_mark_is_no_text():
    assert encoding.wide(b"\xff\xfe" + "\x01\x02".encode("utf-16-le") * 99) is None
    assert encoding.wide(b"\xff\xfe" + b"\x00\xd8" * 99) is None


def test_wide_text_larger_than_is_read_is_reported(monkeypatch):
    monkeypatch.setattr(encoding, "LARGEST", 100)
    report = inspect_bytes(("x" * 200).encode("utf-16"), "a.txt")
    assert report.verdict == "unproven"
    assert "100 are read" in report.coverage.unread[0]


@pytest.mark.parametrize(
    "content",
    [
        b"# -*- coding: utf-7 -*-\n+AGkAbQBwAG8AcgB0ACAAbwBzADsAbwBzAC4AcwB5AHMAdABlAG0AKAAiAGkAZAAiACk-",
        b"# coding: unicode_escape\n#\\nimport os\\nos.system('id')\n",
        b"#!/usr/bin/python\n# vim: set fileencoding=raw_unicode_escape :\n\\u0069mport os\nos.system('id')\n",
        b"\xef\xbb\xbfimport os\nos.system('id')\n",
        b"# coding: latin-1\nimport os\nos.system('\xe9')\n",
    ],
)
def test_source_is_read_as_python_decodes_it(content):
    assert analyse(encoding.source(content)).level == "dangerous"


@pytest.mark.parametrize("cookie", [b"no-such-codec", b"rot13", b"hex", b"undefined"])
def test_an_unknown_encoding_is_utf_8(cookie):
    assert encoding.source(b"# coding: " + cookie + b"\nx = 1\n").endswith("x = 1\n")


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_left(data):
    assert isinstance(encoding.source(data), str)
    name = encoding.wide(data)
    assert name is None or isinstance(encoding.narrowed(data, name), bytes)
    assert data == b"" or encoding.text(data, data) is None or b"\0" not in data or name is not None
