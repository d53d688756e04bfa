import io
import tarfile

import pytest

from modelward.artifact.formats.shipped import payload, served, source
from modelward.artifact.reading import Reading
from modelward.artifact.verdict import inspect_bytes

EVIL = b"import os\nos.system('true')\n"
PLAIN = b"import torch\n\n\ndef model_fn(folder):\n    return torch.jit.load(folder + '/model.pt')\n"


def model(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "verdict"),
    [
        ("code/inference.py", EVIL, "dangerous"),
        ("code/inference.py", PLAIN, "unproven"),
        ("./code/inference.py", EVIL, "dangerous"),
        ("tools/inference.py", EVIL, "inert"),
        ("code/other.py", EVIL, "inert"),
    ],
)
def test_the_program_of_a_sagemaker_archive(name, content, verdict):
    assert (
        inspect_bytes(model({"weights.csv": b"a,b\n1,2\n", name: content}), "model.tar.gz").verdict == verdict
    )


@pytest.mark.parametrize(
    ("content", "levels"), [(EVIL, ["dangerous"]), (PLAIN, ["unproven"]), (b"", ["unproven"])]
)
def test_source_is_dangerous_or_unproven_and_never_less(content, levels):
    into = Reading("x.py")
    source(into, "x.py", content, "loading runs it")
    assert [event.level for event in into.events] == levels
    assert all("x.py" in event.message for event in into.events)
    again = Reading("x.py")
    served(content, again)
    assert [event.level for event in again.events] == levels


@pytest.mark.parametrize(("content", "found"), [(EVIL, True), (PLAIN, False), (b"def (", False)])
def test_payload_reports_payloads_alone(content, found):
    into = Reading("x.py")
    assert payload(into, "x.py", content, "it may be run") is found
    assert bool(into.events) is found
