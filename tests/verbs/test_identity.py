"""What a run's identity covers, and what may be called what."""

import os
import shutil

import numpy as np
import pytest

import modelward
from modelward.errors import ConfigInvalid, FileDamaged, FileMissing, UnsafeArtifact
from modelward.verbs.audit import command_line
from modelward.verbs.config import read_config
from modelward.verbs.report import verify_store


@pytest.fixture
def quality(options):
    return options(checks=("quality",))


def accuracy(result):
    return next(claim.value for claim in result.claims if claim.id == "accuracy")


def test_external_weights_are_part_of_the_model(tmp_path, points, options, onnx_file):
    path = onnx_file(tmp_path / "m.onnx", external="w.bin")
    first = modelward.audit(path, points, options())
    digest = {s.kind: s.digest for s in first.subjects}
    weights = np.fromfile(tmp_path / "w.bin", dtype="<f4")
    (-weights).tofile(tmp_path / "w.bin")
    second = modelward.audit(path, points, options())
    assert second.run != first.run
    assert not any(outcome.resumed for outcome in second.checks)
    assert accuracy(second) == pytest.approx(1 - accuracy(first))
    changed = {s.kind: s.digest for s in second.subjects}
    assert changed["model"] != digest["model"]
    assert changed["artifact"] == digest["artifact"]


def test_external_weights_reach_the_sandboxed_probe(tmp_path, points, options, onnx_file):
    pytest.importorskip("onnxruntime")
    path = onnx_file(tmp_path / "m.onnx", external="w.bin")
    result = modelward.audit(path, points, options(checks=("robustness",)))
    assert [outcome.state for outcome in result.checks] == ["finished"]


def test_the_order_of_columns_is_part_of_the_identity(tmp_path, points, quality, onnx_file):
    # A model without names takes columns by position, so another order is another question.
    path = onnx_file(tmp_path / "m.onnx", weights=((-1, 1), (0, 0), (1, -1)))
    x, y = points
    x = x.copy()
    x[:, 2] = -x[:, 2]
    rows = ["a,b,c,y"] + [",".join([*map(repr, map(float, r)), str(t)]) for r, t in zip(x, y, strict=True)]
    (tmp_path / "abc.csv").write_text("\n".join(rows) + "\n")
    turned = [",".join(np.array(row.split(","))[[2, 1, 0, 3]]) for row in rows]
    (tmp_path / "cba.csv").write_text("\n".join(turned) + "\n")
    stated = modelward.AuditOptions(label="y", checks=quality.checks, store=quality.store)
    one = modelward.audit(path, tmp_path / "abc.csv", stated)
    other = modelward.audit(path, tmp_path / "cba.csv", stated)
    digests = [next(s.digest for s in r.subjects if s.kind == "dataset") for r in (one, other)]
    assert digests[0] == digests[1]
    assert one.run != other.run
    assert accuracy(one) == pytest.approx(1 - accuracy(other))


def test_norms_and_radii_said_twice_are_asked_once(linear, points, options):
    once = modelward.audit(linear, points, options(checks=("evasion.query",)))
    twice = modelward.audit(
        linear, points, options(checks=("evasion.query",), eps=(0.1, 0.1), norm=("linf", "linf"))
    )
    assert twice.run == once.run
    assert len(twice.claims) == 1


@pytest.mark.parametrize("name", ["a,b.npz", "-d.npz", "ä é.npz", "\x1b[31m.npz", "x" * 250 + ".npz"])
def test_any_name_of_a_data_file(tmp_path, linear, points, quality, name):
    path = tmp_path / name
    np.savez(path, x=points[0], y=points[1])
    result = modelward.audit(linear, str(path), quality)
    assert next(s.name for s in result.subjects if s.kind == "dataset") == str(path)


def test_names_that_are_not_utf8_are_recorded_as_escapes(tmp_path, linear, points, quality):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.npz")
    try:
        np.savez(path, x=points[0], y=points[1])
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    result = modelward.audit(linear, path, quality)
    assert next(s.name for s in result.subjects if s.kind == "dataset").endswith("bad\\udcff.npz")
    assert modelward.report(quality.store).command.encode()
    verify_store(quality.store)


def test_a_comma_in_a_name_in_the_configuration(tmp_path, points):
    np.savez(tmp_path / "a,b.npz", x=points[0], y=points[1])
    (tmp_path / "modelward.toml").write_text('[data]\npath = "a,b.npz"\ntrain = "x.npy,y.npy"\n')
    plan = read_config(tmp_path / "modelward.toml")
    assert plan.data == str(tmp_path / "a,b.npz")
    assert plan.options.train == f"{tmp_path / 'x.npy'},{tmp_path / 'y.npy'}"


def test_the_command_states_bounds_exactly(options):
    assert "--bounds 0.1234567890123,1.0" in command_line("m", None, options(bounds=(0.1234567890123, 1.0)))


def test_an_endless_configuration_is_refused(tmp_path):
    (tmp_path / "modelward.toml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigInvalid, match="longer than"):
        read_config(tmp_path / "modelward.toml")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path, points, quality, kind):
    path = tmp_path / "model"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(FileMissing, match="is not a regular file"):
        modelward.audit(path, points, quality)
    with pytest.raises(FileMissing, match="neither a file nor a folder"):
        modelward.scan(path)


def test_weights_outside_the_folder_are_refused(tmp_path, points, quality, onnx_file):
    (tmp_path / "in").mkdir()
    onnx_file(tmp_path / "in" / "m.onnx", external="w.bin")
    shutil.move(tmp_path / "in" / "w.bin", tmp_path / "w.bin")
    with pytest.raises(FileMissing, match=r"w\.bin"):
        modelward.audit(tmp_path / "in" / "m.onnx", points, quality)
    (tmp_path / "in" / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(UnsafeArtifact, match="outside the model's folder"):
        modelward.audit(tmp_path / "in" / "m.onnx", points, quality)


def test_a_model_that_changes_while_it_is_opened(tmp_path, linear, points, quality, monkeypatch):
    from modelward.adapters import opening

    path = shutil.copy(linear, tmp_path / "m.onnx")
    load = opening.load_runtime

    def slow(spec):
        runtime = load(spec)
        with open(spec.path, "ab") as stream:  # noqa: PTH123  (spec.path is text)
            stream.write(b"\x3a\x00")
        return runtime

    monkeypatch.setattr(opening, "load_runtime", slow)
    with pytest.raises(FileDamaged, match="changed while"):
        modelward.audit(path, points, quality)


@pytest.mark.parametrize("head", ["5dc9da79a706", "xyz", "", "g" * 64])
def test_what_is_no_head_is_no_tampering(linear, points, quality, head):
    modelward.audit(linear, points, quality)
    with pytest.raises(ConfigInvalid, match="is not a head"):
        verify_store(quality.store, head)


def test_a_head_in_capitals_is_the_same_head(linear, points, quality):
    result = modelward.audit(linear, points, quality)
    assert verify_store(quality.store, f" {result.ledger_head.upper()}\n").root == result.ledger_head


def test_a_policy_of_findings_alone_does_not_pass_when_nothing_ran(linear, points, options):
    policy = modelward.Policy(max_severity="medium")
    result = modelward.audit(linear, points, options(checks=("bias",), policy=policy))
    assert not result.checks
    assert result.verdict.outcome == "unknown"
