"""The guide to seals, typed as it stands: every command of its first ten minutes and of the one who was sent a seal."""

from __future__ import annotations

import base64
import getpass
import json
import re
import shlex
import shutil

import numpy as np
import pytest

from modelward.vault.attest.provenance import read_stated
from modelward.verbs.attest import read_release_file

PHRASE = "correct horse battery staple"
PATIENCE = 100.0


@pytest.fixture
def guide(root_folder):
    return (root_folder / "docs" / "seal.md").read_text(encoding="utf-8")


def blocks(text, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text):
    """What is typed after each prompt, without comments and what it is piped to."""
    lines = [line for block in blocks(text, "console") for line in block.splitlines()]
    typed = [
        line.partition("  #")[0].partition(" | ")[0] for line in lines if line.startswith("$ modelward ")
    ]
    return [shlex.split(line)[2:] for line in typed]


def head(sealed):
    """As the guide's line with jq prints it."""
    bundle = json.loads((sealed / "attestations" / "evidence-0.json").read_text())
    return json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))["predicate"]["ledger"]["head"]


def test_the_guide_does_what_it_says(guide, files, start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(files / "linear.onnx", "model.onnx")
    shutil.copy(files / "test.npz", "test.npz")
    beginning, _, rest = guide.partition("## What is in the folder")
    (policy,) = blocks(beginning, "toml admission")
    (tmp_path / "policy.toml").write_text(policy)
    typed = commands(beginning)
    assert [words[0] for words in typed] == [
        *("keys", "keys", "audit", "seal", "verify", "open"),  # the one who sends it
        *("keys", "verify", "verify", "ledger", "report"),  # the one who was sent it
    ]
    for words in typed:
        made = [head(tmp_path / "model.sealed") if word == "HEAD" else word for word in words]
        out, err = (process := start(*made, MODELWARD_PASSPHRASE=PHRASE)).communicate(timeout=PATIENCE)
        assert process.returncode == 0, (words, out, err)
        if "json" in words:
            assert {"id", "statement", "n"} <= json.loads(out)["claims"][0].keys()
    unjudged = ("verify", "model.sealed", "--public-key", "release.pem.pub", "--format", "json")
    found = json.loads(start(*unjudged).communicate(timeout=PATIENCE)[0])
    assert found["verified"]
    assert {claim["status"] for claim in found["claims"]} == {None}
    assert (tmp_path / "model" / "model.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()

    monkeypatch.setattr(getpass, "getpass", lambda _: PHRASE)
    (example,) = blocks(rest, "python")
    seen = {}
    exec(compile(example.replace("session = ", "seen['it'] = "), "seal.md", "exec"), {"seen": seen})  # noqa: S102 (our own text)
    assert seen["it"].run(None, {seen["it"].get_inputs()[0].name: np.zeros((1, 4), np.float32)})


def test_what_is_stated_is_read_as_the_guide_has_it(root_folder, tmp_path):
    text = (root_folder / "docs" / "admission.md").read_text(encoding="utf-8")
    (release,) = blocks(text, "toml release")
    (tmp_path / "release.toml").write_text(release)
    assert read_release_file(tmp_path / "release.toml").environments == ("production",)
    (tmp_path / "train.parquet").write_bytes(b"rows")
    (stated,) = blocks(text, "toml provenance")
    (tmp_path / "provenance.toml").write_text(stated)
    assert [claim.id for claim in read_stated(tmp_path / "provenance.toml").claims] == ["accounted-epsilon"]
