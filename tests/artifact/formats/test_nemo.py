"""NeMo archives: what the configuration instantiates, the checkpoint, artifacts."""

import gzip
import io
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact.verdict import inspect_bytes

GOOD = b"\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s."
SYSTEM = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."
CONFIG = """\
sample_rate: 16000
preprocessor:
  _target_: nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor
  features: 80
encoder:
  _target_: nemo.collections.asr.modules.ConformerEncoder
optim:
  name: adamw
  sched: {name: CosineAnnealing}
tokenizer:
  model_path: nemo:abc_tokenizer.model
loss:
  _target_: torch.nn.CrossEntropyLoss
target: nemo.collections.asr.models.ctc_bpe_models.EncDecCTCModelBPE
nemo_version: 2.4.0
labels: [a, b]
target_lang: en
"""


def checkpoint(pickle):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickle)
    return buffer.getvalue()


def nemo(config=CONFIG, pickle=GOOD, **members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in {
            "./model_config.yaml": config.encode(),
            "./model_weights.ckpt": checkpoint(pickle),
            **members,
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def rules(report):
    return {finding.rule for finding in report.findings if finding.severity != "info"}


def test_an_ordinary_archive_is_inert():
    data = nemo(**{"./abc_tokenizer.model": b"\x0a\x0e\x0a\x05<unk>"})
    report = inspect_bytes(data, "m.nemo")
    assert (report.format, report.verdict, report.facts["framework"]) == ("nemo", "inert", "nemo")
    packed = inspect_bytes(gzip.compress(data), "m.nemo")
    assert (packed.format, packed.verdict) == ("compressed", "inert")
    assert "nemo" in {member.format for member in packed.members}


def test_the_checkpoint_is_walked():
    assert inspect_bytes(nemo(pickle=SYSTEM), "m").verdict == "dangerous"
    assert inspect_bytes(gzip.compress(nemo(pickle=SYSTEM)), "m").verdict == "dangerous"


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "eval",
        "torch.hub.load",
        "nemo.utils.os.system",
        "pickle.loads",
        "shutil.rmtree",
    ],
)
@pytest.mark.parametrize("key", ["_target_", "target", "cls", "class_path"])
def test_targets_that_run_anything(path, key):
    report = inspect_bytes(
        nemo(CONFIG + f"extra:\n  - inner:\n      {key}: {path}\n      args: [id]\n"), "m.nemo"
    )
    plain = "." not in path and key not in {"_target_", "class_path"}
    assert report.verdict == ("inert" if plain else "dangerous")


@pytest.mark.parametrize("path", ["my.module.Thing", "torch.load", "torch.jit.load", "'a b.c'", "${x}.y"])
def test_targets_of_unknown_libraries(path):
    assert inspect_bytes(nemo(CONFIG + f"extra:\n  _target_: {path}\n"), "m.nemo").verdict in {
        "unproven",
        "dangerous",
    }


@pytest.mark.parametrize(
    "line", ["target: text", "target: ''", "cls: token", "target: 0.5", "target: [a, b]"]
)
def test_words_that_are_no_names(line):
    assert (
        inspect_bytes(
            nemo(
                CONFIG.replace("target: nemo.collections.asr.models.ctc_bpe_models.EncDecCTCModelBPE", line)
            ),
            "m",
        ).verdict
        == "inert"
    )


def test_tags_and_artifacts_that_lead_out():
    tagged = inspect_bytes(nemo(CONFIG + "x: !!python/object/apply:os.system [id]\n"), "m")
    assert (tagged.verdict, "nemo.tag" in rules(tagged)) == ("dangerous", True)
    for name in ("nemo:../../etc/passwd", "nemo:/etc/passwd"):
        report = inspect_bytes(nemo(CONFIG + f"x: {name}\n"), "m")
        assert (report.verdict, "nemo.artifact" in rules(report)) == ("dangerous", True)


def test_members_that_lead_out():
    assert inspect_bytes(nemo(**{"../../x": b"text\n"}), "m").verdict == "dangerous"


def test_a_damaged_or_large_configuration_is_listed():
    for config in ("a: [", "a: *b", "x" * (5 << 20)):
        report = inspect_bytes(nemo(config), "m")
        assert report.verdict == "unproven"
        assert any("model_config.yaml" in text for text in report.coverage.unread)


@given(st.text(max_size=100), st.binary(max_size=60))
def test_any_configuration_gives_a_verdict(config, content):
    report = inspect_bytes(nemo(config, **{"./x": content}), "m")
    assert report.verdict in {"inert", "unproven", "dangerous"}
