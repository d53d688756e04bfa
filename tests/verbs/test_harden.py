"""The verb `harden`: the same points before and after, files that are whole, and a model that is left alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

import modelward
from modelward.errors import ConfigInvalid, OutputUnwritable, ShapeMismatch
from modelward.ledger.store import Ledger
from modelward.reporting.comparison import notes, to_html, to_json_bytes, to_text

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def clouds(n, seed):
    """Two classes; the first feature is safe up to 0.2, the second sharper but safe up to 0.02 only."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    first = 0.5 + (2 * y - 1) * random.uniform(0.2, 0.3, n)
    second = 0.5 + (2 * y - 1) * random.uniform(0.02, 0.03, n)
    return np.stack([first, second], 1).astype(np.float32), y


def fragile():
    """Looks at the second feature almost alone, so a change of 0.1 breaks every point."""
    module = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[0.0, 40.0], [0.0, -40.0], [1.0, 0.0], [-1.0, 0.0]]))
        module[0].bias.copy_(torch.tensor([-20.0, 20.0, -0.5, 0.5]))
        module[2].weight.copy_(torch.tensor([[-1.0, 1.0, -0.1, 0.1], [1.0, -1.0, 0.1, -0.1]]))
        module[2].bias.zero_()
    return module


def options(folder, *, audit=None, **changes):
    training = {
        "method": "pgd",
        "eps": 0.1,
        "epochs": 15,
        "batch": 32,
        "rate": 0.05,
        "steps": 3,
    } | changes.pop("training", {})
    stated = {
        "train": clouds(300, 1), "bounds": (0.0, 1.0), "limit": 40, "preset": "quick",
        "checks": ("quality", "evasion.gradient", "evasion.certified"), "store": folder / "store",
    } | (audit or {})  # fmt: skip
    return modelward.HardenOptions(
        training=modelward.Training(**training),
        audit=modelward.AuditOptions(**stated),
        output=folder / "made",
        **changes,
    )


@pytest.fixture(scope="module")
def hardened(tmp_path_factory):
    """One hardening that several tests look at."""
    folder = tmp_path_factory.mktemp("hardened")
    module = fragile()
    found = modelward.harden(module, clouds(100, 2), options(folder, onnx=True, detectors=("squeezing",)))
    return folder, module, found


def row(found, name):
    return next(row for row in found.rows if row.name == name)


def test_a_fragile_model_withstands_more_afterwards(hardened):
    _, _, found = hardened
    attacked = row(found, "right under every attack tried")
    assert attacked.before == 0.0
    assert attacked.after > 0.9
    assert row(found, "certified").after > 0.9
    assert row(found, "clean accuracy").before == 1.0
    assert attacked.n == 40


def test_both_audits_look_at_the_same_points(hardened):
    _, _, found = hardened
    rows = [
        [run.evidence[0].outcome["rows"] for run in audit.checks if run.check == "evasion.gradient"]
        for audit in (found.before, found.after)
    ]
    assert rows[0] == rows[1]
    assert len(rows[0][0]) == 40


def test_the_given_model_is_left_alone(hardened):
    _, module, _ = hardened
    assert all(
        torch.equal(module.state_dict()[name], value) for name, value in fragile().state_dict().items()
    )


def test_the_weights_are_those_that_were_audited(hardened):
    safetensors = pytest.importorskip("safetensors.torch")
    folder, module, found = hardened
    module.load_state_dict(safetensors.load_file(folder / "made" / "model.safetensors"))
    x, y = clouds(100, 2)
    right = (module(torch.from_numpy(x)).argmax(1).numpy() == y).mean()
    assert right == pytest.approx(row(found, "clean accuracy").after)
    module.load_state_dict(fragile().state_dict())


def test_the_onnx_file_answers_as_the_weights_do(hardened):
    import onnxruntime

    folder, _, found = hardened
    session = onnxruntime.InferenceSession(folder / "made" / "model.onnx", providers=["CPUExecutionProvider"])
    x, y = clouds(100, 2)
    (scores,) = session.run(None, {"input": x})
    assert (scores.argmax(1) == y).mean() == pytest.approx(row(found, "clean accuracy").after)


def test_the_files_are_private_and_say_the_same(hardened):
    folder, _, found = hardened
    made = folder / "made"
    for name in ("model.safetensors", "comparison.json", "comparison.html", "training.checkpoint"):
        assert (made / name).stat().st_mode & 0o777 == 0o600
    content = json.loads((made / "comparison.json").read_text())
    assert content["schema"] == 1
    assert content["method"] == "pgd"
    assert content["rows"] == [json.loads(json.dumps(r)) for r in content["rows"]]
    by_name = {r["name"]: r for r in content["rows"]}
    assert by_name["clean accuracy"]["after"] == row(found, "clean accuracy").after
    assert content["defence"]["check"] == "evasion.training"
    assert "<script" not in (made / "comparison.html").read_text()


def test_the_defence_is_in_the_ledger(hardened):
    folder, _, found = hardened
    ledger = Ledger.open_read_only(folder / "store")
    kinds = [record for record in ledger.records() if record["kind"] == "control"]
    ledger.close()
    assert kinds[0]["evidence"]["outcome"] == found.defence.outcome
    assert [record["evidence"]["check"] for record in kinds] == ["evasion.training", "evasion.detector"]


def test_the_text_has_every_row_and_no_more_than_the_width(hardened):
    _, _, found = hardened
    text = to_text(found, width=80)
    for row_ in found.rows:
        assert row_.name in text
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith(("Wrote", "Detector")))
    assert "before" in text
    assert "Defence:" in text


def test_detectors_are_shown_under_both_attacks(hardened):
    folder, _, found = hardened
    assert [item.name for item in found.detectors] == [
        "squeezing, blind attack",
        "squeezing, adaptive attack",
    ]
    blind, adaptive = found.detectors
    assert adaptive.passed[0] >= blind.passed[0]
    assert "Detector squeezing, adaptive attack: " in to_text(found)
    assert "squeezing, adaptive attack" in (folder / "made" / "comparison.html").read_text()


def test_names_cannot_steer_the_page(hardened):
    import msgspec

    _, _, found = hardened
    evil = msgspec.structs.replace(found, method="<script>alert(1)</script>\x1b[2J")
    assert "<script>alert" not in to_html(evil)
    assert b"\x1b" not in to_json_bytes(evil)
    assert "\x1b" not in to_text(evil)


def test_a_cut_defence_is_noted(tmp_path):
    module, ticks = fragile(), {"minutes": 1e-9}
    found = modelward.harden(module, clouds(50, 2), options(tmp_path, **ticks))
    assert found.defence.cut == "seconds"
    assert any("cut short (seconds)" in note for note in notes(found))
    assert any("no epoch at the full radius" in note for note in notes(found))


def test_a_second_run_continues_the_first(tmp_path):
    first = modelward.harden(fragile(), clouds(50, 2), options(tmp_path))
    again = modelward.harden(fragile(), clouds(50, 2), options(tmp_path))
    assert again.defence.outcome == first.defence.outcome
    assert again.defence.cost.forward == first.defence.cost.forward  # counted once, taken from the checkpoint


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"training": {"method": "magic"}}, ConfigInvalid, "magic"),
        ({"training": {"eps": -1.0}}, ConfigInvalid, "eps is -1"),
        ({"minutes": float("nan")}, ConfigInvalid, "minutes is nan"),
        ({"detectors": ("nose",)}, ConfigInvalid, "no detector is called 'nose'"),
        ({"audit": {"train": None}}, ConfigInvalid, "no training data"),
    ],
)
def test_bad_choices_are_refused_before_anything_is_done(tmp_path, change, error, sentence):
    with pytest.raises(error, match=sentence):
        modelward.harden(fragile(), clouds(50, 2), options(tmp_path, **change))
    assert not (tmp_path / "made").exists()


def test_a_model_without_a_module_is_refused(tmp_path, rule):
    x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
    with pytest.raises(ShapeMismatch, match=r"pgd cannot harden this model: .*no torch module"):
        modelward.harden(
            rule, (x, y), options(tmp_path, audit={"train": (x, y), "checks": ("quality",), "bounds": None})
        )


@pytest.mark.parametrize("rows", [8, None])
def test_training_data_that_does_not_do_is_what_the_advice_speaks_of(tmp_path, rows):
    x, y = clouds(100, 1)
    if rows is None:
        x[3, 1] = np.nan
    with pytest.raises(
        ShapeMismatch, match=r"cannot harden this model: .*(8 rows|missing values)"
    ) as refused:
        modelward.harden(fragile(), clouds(50, 2), options(tmp_path, audit={"train": (x[:rows], y[:rows])}))
    assert refused.value.advice == "Give more training data with --train, complete and of every class."


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "made").write_text("mine")
    with pytest.raises(OutputUnwritable, match="cannot be made"):
        modelward.harden(fragile(), clouds(50, 2), options(tmp_path))
    assert (tmp_path / "made").read_text() == "mine"
