"""`hubconf.py` of a repository for torch.hub, in folders and in archives."""

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.formats.torch_hub import read
from modelward.artifact.reading import Reading
from modelward.artifact.verdict import inspect, inspect_bytes

PLAIN = b"dependencies = ['torch']\n\n\ndef net(pretrained=False):\n    return None\n"
EVIL = b"import os\nos.system('true')\n"


def folder(path, files):
    for name, content in files.items():
        place = path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return inspect(path / "hubconf.py")


@pytest.mark.parametrize(("files", "verdict"), [
    ({"hubconf.py": PLAIN}, "unproven"), ({"hubconf.py": PLAIN + EVIL}, "dangerous"),
    ({"hubconf.py": b"from models.net import Net\n", "models/net.py": EVIL}, "dangerous"),
    ({"hubconf.py": b"from models.net import Net\n", "models/__init__.py": EVIL, "models/net.py": PLAIN}, "dangerous"),
    ({"hubconf.py": b"import torch, models as m\n", "models.py": b"from lib import a\n", "lib/__init__.py": b"from .x import y\n",
      "lib/x.py": EVIL}, "dangerous"),
    ({"hubconf.py": b"from models.net import Net\n", "models/net.py": b"from ..top import x\n", "top.py": EVIL}, "dangerous"),
    ({"hubconf.py": b"from lib.a import x\n", "lib/a.py": b"from . import b\n", "lib/__init__.py": EVIL}, "dangerous"),
    ({"hubconf.py": b"from models.net import Net\n", "models/net.py": PLAIN, "setup.py": EVIL}, "unproven"),
    ({"hubconf.py": b"import a\n", "a.py": b"import hubconf, a\n"}, "unproven"),
    ({"hubconf.py": b"def (\n"}, "unproven"),
])  # fmt: skip
def test_the_file_and_what_it_imports_are_judged(tmp_path, files, verdict):
    report = folder(tmp_path, files)
    assert (report.format, report.verdict) == ("python", verdict)
    rules = {finding.rule for finding in report.findings}
    assert ("shipped.payload" if verdict == "dangerous" else "torch-hub.source") in rules


def test_other_python_has_no_verdict():
    assert inspect_bytes(PLAIN, "train.py").verdict is None
    assert inspect_bytes(PLAIN, "myhubconf.py").verdict is None


def test_in_an_archive():
    for source, verdict in ((PLAIN, "unproven"), (EVIL, "dangerous")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("vision-main/hubconf.py", b"from models.a import b\n")
            file.writestr("vision-main/models/a.py", source)
        assert inspect_bytes(buffer.getvalue(), "main.zip").verdict == verdict


def test_modules_have_a_limit():
    def beside(name):
        stem = name.removesuffix(".py")
        return f"import m{int(stem[1:]) + 1}\n".encode() if stem[1:].isdigit() else None

    into = Reading("hubconf.py", beside=beside)
    read(b"import m0\n", into)
    assert [event.rule for event in into.events] == ["torch-hub.source"]


@given(st.binary(max_size=200), st.text("from import.,*\\ \tabc\n", max_size=80))
def test_any_source_is_survived(raw, text):
    for data in (raw, text.encode()):
        into = Reading("hubconf.py", beside={f"{stem}.py": data for stem in "abcfromipt"}.get)
        read(data, into)
        assert any(event.level != "note" for event in into.events)
