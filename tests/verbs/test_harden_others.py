"""The verb `harden` on tree models and on models of texts: files, tables, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import modelward
from modelward.cli.harden import command
from modelward.errors import ConfigInvalid, ExtraMissing, FileDamaged, ShapeMismatch
from modelward.threats.evasion.harden.text import read, written

xgboost = pytest.importorskip("xgboost")

SPAM = "claim your free prize now and call us today"
HAM = "see you at home tonight after the long meeting"


def clouds(n, seed):
    """Feature 0 is safe against changes of 0.1, but wrong in a tenth; 1 is always right, but barely."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 2
    side = 2 * y - 1
    first = 0.5 + np.where(random.random(n) < 0.1, -1, 1) * side * random.uniform(0.2, 0.4, n)
    return np.stack([first, 0.5 + side * random.uniform(0.01, 0.03, n)], 1).astype(np.float32), y


def booster():
    x, y = clouds(300, 1)
    stated = {"objective": "binary:logistic", "max_depth": 3, "eta": 0.5, "nthread": 1}
    return xgboost.train(stated, xgboost.DMatrix(x, label=y), 8)


def keyword(texts):
    """Knows one word."""
    found = np.array([float("free" in text.split()) for text in texts])
    return np.column_stack([1 - found, found])


def row(found, name):
    return next(row for row in found.rows if row.name == name)


def options(folder, *, training=None, audit=None, **changes):
    return modelward.HardenOptions(
        training=modelward.Training(**({"method": "trees", "eps": 0.1, "trees": 9, "depth": 3} | (training or {}))),
        audit=modelward.AuditOptions(
            **{"bounds": (0.0, 1.0), "limit": 40, "preset": "quick", "checks": ("quality", "evasion.trees"),
               "store": folder / "store", "train": clouds(300, 1)} | (audit or {})
        ),
        output=folder / "made",
        **changes,
    )  # fmt: skip


def texts(folder, **changes):
    audit = {"bounds": None, "train": None, "classes": ("ham", "spam"), "checks": ("quality", "evasion.text"),
             "limit": 8}  # fmt: skip
    return options(
        folder, training={"method": "normalise", "eps": 1.0}, audit=audit | changes.pop("audit", {})
    )


MESSAGES = ([SPAM] * 4 + [HAM] * 4, ["spam"] * 4 + ["ham"] * 4)


def test_a_live_booster_stands_where_it_fell(tmp_path):
    found = modelward.harden(booster(), clouds(100, 2), options(tmp_path))
    attacked, proved = row(found, "right under every attack tried"), row(found, "certified")
    assert attacked.before == 0.0
    assert attacked.after >= proved.after > 0.7
    assert attacked.n == 40
    assert row(found, "clean accuracy").before == 1.0
    assert found.defence.check == "evasion.robust-trees"
    assert (tmp_path / "made" / "model.json").stat().st_mode & 0o777 == 0o600


def test_the_file_that_is_written_is_the_model_that_was_audited(tmp_path):
    path = tmp_path / "given.ubj"
    booster().save_model(path)
    before = path.read_bytes()
    found = modelward.harden(path, clouds(100, 2), options(tmp_path))
    assert path.read_bytes() == before
    made = xgboost.Booster()
    made.load_model(tmp_path / "made" / "model.json")
    x, y = clouds(100, 2)
    right = ((made.predict(xgboost.DMatrix(x, feature_names=made.feature_names)) > 0.5) == y).mean()
    assert right == pytest.approx(row(found, "clean accuracy").after)
    assert found.files["trees"].endswith("model.json")


def test_trees_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    booster().save_model(tmp_path / "given.json")
    for name, seed in (("train", 1), ("test", 2)):
        x, y = clouds(200, seed)
        np.savez(f"{name}.npz", x=x, y=y)
    words = "given.json --method trees --trees 9 --depth 3 --train train.npz --data test.npz --eps 0.1 --bounds 0,1"
    words += " --checks quality,evasion.trees --preset quick --limit 20 --output made --format json"
    result = CliRunner().invoke(command, words.split(), standalone_mode=False)
    assert result.exception is None
    content = json.loads((tmp_path / "made" / "comparison.json").read_text())
    by_name = {line["name"]: line for line in content["rows"]}
    assert content["method"] == "trees"
    assert by_name["certified"]["before"] < by_name["certified"]["after"]
    assert content["defence"]["outcome"]["trees"] == 9


def catboost_file(folder, x, y):
    library = pytest.importorskip("catboost", reason="catboost is not installed")
    stated = {"iterations": 8, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
    model = library.CatBoostClassifier(**stated).fit(x, y)
    model.save_model(str(folder / "model.json"), format="json")
    return folder / "model.json"


def lightgbm_file(folder, x, y):
    library = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    stated = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 5}
    library.train(stated, library.Dataset(x, label=y == "yes"), 8).save_model(folder / "model.txt")
    return folder / "model.txt"


def skops_file(folder, x, y):
    ensembles, skops = pytest.importorskip("sklearn.ensemble"), pytest.importorskip("skops.io")
    model = ensembles.RandomForestClassifier(8, max_depth=4, random_state=0).fit(x, y)
    skops.dump(model, folder / "model.skops")
    return folder / "model.skops"


@pytest.mark.parametrize("write", [catboost_file, lightgbm_file, skops_file])
def test_files_of_every_library_are_replaced_and_classes_keep_their_names(tmp_path, write):
    """The table has texts as labels; the file that is written numbers them in the given model's order."""
    for name, seed in (("train", 1), ("test", 2)):
        x, y = clouds(200, seed)
        label = np.array(["no", "yes"])[y]
        rows = [f"{a:.6f},{b:.6f},{text}" for (a, b), text in zip(x.tolist(), label, strict=True)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["first,second,label", *rows]))
    x, y = clouds(200, 1)
    path = write(tmp_path, x, np.array(["no", "yes"])[y])
    audit = {"train": tmp_path / "train.csv", "label": "label"}
    found = modelward.harden(path, tmp_path / "test.csv", options(tmp_path, audit=audit))
    proved = row(found, "certified")
    assert proved.before < 0.3
    assert proved.after > 0.7
    assert row(found, "clean accuracy").after > 0.8
    again = modelward.audit(
        tmp_path / "made" / "model.json",
        tmp_path / "test.csv",
        modelward.AuditOptions(
            checks=("quality",), label="label", classes=("no", "yes"), store=tmp_path / "again"
        ),
    )
    accuracy = next(claim for claim in again.claims if claim.id == "accuracy")
    assert accuracy.value > 0.8


def test_trees_without_their_runtime_are_refused_before_they_are_grown(tmp_path, monkeypatch):
    monkeypatch.setattr("modelward.verbs.harden.find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match="xgboost is not installed"):
        modelward.harden(booster(), clouds(50, 2), options(tmp_path))


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"onnx": True}, ConfigInvalid, "no torch module"),
        ({"detectors": ("squeezing",)}, ConfigInvalid, "no torch module"),
        ({"audit": {"train": None}}, ConfigInvalid, "no training data"),
        ({"training": {"trees": 0}}, ConfigInvalid, "trees is 0"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, change, error, sentence):
    with pytest.raises(error, match=sentence):
        modelward.harden(booster(), clouds(50, 2), options(tmp_path, **change))
    assert not (tmp_path / "made").exists()


def test_a_model_without_trees_is_refused(tmp_path, rule):
    x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
    audit = {"train": (x, y), "checks": ("quality",), "bounds": None}
    with pytest.raises(ShapeMismatch, match=r"trees cannot harden this model: .*no tree ensemble") as refused:
        modelward.harden(rule, (x, y), options(tmp_path, audit=audit))
    assert refused.value.advice.startswith("Give a classifier of trees")


@pytest.mark.parametrize(("rows", "reason"), [(8, "has 8 rows"), (None, "no sample of")])
def test_too_little_training_data_is_not_blamed_on_the_model(tmp_path, rows, reason):
    x, y = clouds(300, 1)
    train = (x[:rows], y[:rows]) if rows else (x[y == 0], y[y == 0])
    with pytest.raises(ShapeMismatch, match=f"trees cannot harden this model: .*{reason}") as refused:
        modelward.harden(booster(), clouds(50, 2), options(tmp_path, audit={"train": train}))
    assert refused.value.advice == "Give more training data with --train, complete and of every class."


def test_texts_withstand_what_a_reader_does_not_see(tmp_path):
    found = modelward.harden(keyword, MESSAGES, texts(tmp_path))
    assert row(found, "clean accuracy").after == row(found, "clean accuracy").before == 1.0
    attacked = row(found, "right under every attack tried")
    assert attacked.before == 0.5
    assert attacked.after is not None
    assert attacked.after >= attacked.before
    assert found.defence.outcome == {"changed_texts": 0, "changed_answers": 0}
    document = (tmp_path / "made" / "normaliser.json").read_bytes()
    assert read(document)[0] == "compatibility characters (NFKC)"
    assert found.files["normaliser"].endswith("normaliser.json")


def test_a_model_that_tells_labels_alone_tells_labels_afterwards(tmp_path):
    def named(given):
        return np.array(["ham", "spam"])[keyword(given).argmax(axis=1)]

    found = modelward.harden(named, MESSAGES, texts(tmp_path, audit={"checks": ("quality",), "classes": ()}))
    assert row(found, "clean accuracy").after == 1.0


def test_normalising_numbers_is_refused(tmp_path):
    with pytest.raises(ShapeMismatch, match=r"normalise cannot harden this model: .*numbers, not texts"):
        modelward.harden(
            booster(),
            clouds(50, 2),
            options(tmp_path, training={"method": "normalise"}, audit={"checks": ("quality",)}),
        )


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (b"", "cannot be read"),
        (b'{"schema": 1}', "cannot be read"),
        (b'{"schema": 2, "defences": ["case ignored"], "unicode": "15"}', "schema 2"),
        (b'{"schema": 1, "defences": ["prayer"], "unicode": "15"}', "'prayer'"),
        (b'{"schema": 1, "defences": [], "unicode": "15"}', "no defence"),
    ],
)
def test_damaged_files_of_normalisers_are_refused(document, sentence):
    with pytest.raises(FileDamaged, match=sentence):
        read(document)
    assert read(written(["case ignored"])) == ("case ignored",)
