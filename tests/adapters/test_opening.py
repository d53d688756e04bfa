"""Every kind of file, opened with real data and compared with the library that wrote it."""

import numpy as np
import pytest

from modelward.adapters.data import DataOptions, open_data
from modelward.adapters.examine import examine
from modelward.adapters.opening import ModelOptions, open_file
from modelward.adapters.outputs import OutputOptions
from modelward.core.model import Differentiable, Probeable
from modelward.errors import (
    ConfigInvalid,
    FileDamaged,
    FormatUnknown,
    ModelNonFinite,
    ModelwardError,
    ShapeMismatch,
)

CSV = DataOptions(label="label")


def opened(files, name, data="table.csv", options=CSV, **stated):
    samples = open_data(files / data, options if data.endswith("csv") else DataOptions())
    path = files / name
    return open_file(path, examine(path), samples, None, ModelOptions(import_from=str(files), **stated))


@pytest.mark.parametrize("name", ["forest.joblib", "forest.joblib.z", "forest.pkl"])
def test_forests_answer_from_the_sandbox_as_they_do_outside(files, table, name):
    import joblib

    found = opened(files, name)
    x, y = table
    expected = joblib.load(files / "forest.joblib").predict_proba(x)
    np.testing.assert_array_equal(found.model.scores(found.data.x), expected)
    assert found.model.outputs.classes == ("no", "yes")
    assert found.model.outputs.kind == "probabilities"
    np.testing.assert_array_equal(found.data.y, y)
    assert not isinstance(found.model, Differentiable)
    assert isinstance(found.model, Probeable)
    assert "gradients" in found.absent


def test_columns_are_ordered_by_name(files):
    found = opened(files, "named.joblib")
    assert [c.name for c in found.data.columns] == ["d", "c", "b", "a"]


def test_a_margin_is_one_logit(files, table):
    import joblib

    found = opened(files, "margin.joblib", "table.npz")
    margins = joblib.load(files / "margin.joblib").decision_function(table[0])
    scores = found.model.scores(found.data.x)
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], margins)
    assert found.model.outputs.kind == "logits"


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_torch_weights_with_a_factory(files, name):
    torch = pytest.importorskip("torch")
    if not (files / name).exists():
        pytest.skip("safetensors is not installed")
    found = opened(files, name, "images.npz", factory="factory_module:build")
    module = found.model.module()
    x = found.data.x[:5]
    with torch.no_grad():
        np.testing.assert_array_equal(
            found.model.scores(x), module(torch.from_numpy(np.array(x))).double().numpy()
        )
    assert isinstance(found.model, Differentiable)
    assert found.model.tolerance == 0
    assert found.absent == {}


def test_one_logit_gives_a_module_with_two_columns(files):
    torch = pytest.importorskip("torch")
    found = opened(
        files,
        "logit.pt",
        "table.npz",
        factory="factory_module:one_logit",
        outputs=OutputOptions(outputs="logit"),
    )
    x = found.data.x[:7].astype(np.float32)
    with torch.no_grad():
        copy = found.model.module()(torch.from_numpy(x)).double().numpy()
    np.testing.assert_allclose(copy, found.model.scores(x), atol=1e-6)
    assert copy.shape == (7, 2)


@pytest.mark.parametrize(
    ("name", "stated", "error", "sentence"),
    [
        ("net.pt", {}, ConfigInvalid, "without an architecture"),
        ("net.pt", {"factory": "factory_module"}, ConfigInvalid, "not of the form"),
        (
            "net.pt",
            {"factory": "no_such_module_here:f"},
            ConfigInvalid,
            "No module named 'no_such_module_here'",
        ),
        ("net.pt", {"factory": "factory_module:absent"}, ConfigInvalid, "absent"),
        ("net.pt", {"factory": "factory_module:raises"}, ConfigInvalid, "ValueError: out of order"),
        ("net.pt", {"factory": "factory_broken:build"}, ConfigInvalid, "SyntaxError"),
        ("net.pt", {"factory": "factory_module:no_module"}, ConfigInvalid, "not a torch.nn.Module"),
        ("net.pt", {"factory": "factory_module:needs"}, ConfigInvalid, "without arguments"),
        ("net.pt", {"factory": "factory_module:wrong"}, ShapeMismatch, "do not fit"),
        ("whole_module.pt", {"factory": "factory_module:build"}, FileDamaged, "state_dict"),
        ("dict.joblib", {}, ShapeMismatch, "no predict"),
        ("table.csv", {}, FormatUnknown, "not a model"),
    ],
)
def test_what_cannot_be_opened_is_one_sentence(files, name, stated, error, sentence):
    with pytest.raises(error, match=sentence):
        opened(files, name, "images.npz", **stated)


def test_a_payload_is_not_loaded(files, payload):
    path, canary = payload
    samples = open_data(files / "table.csv", CSV)
    found = open_file(path, examine(path), samples, None, ModelOptions())
    assert found.model is None
    assert "payload" in found.absent["model"]
    assert not canary.exists()


def test_the_canary_works(payload):
    """The control: the same bytes do run their payload when they are loaded."""
    import pickle

    path, canary = payload
    pickle.loads(path.read_bytes())
    assert canary.exists()
    canary.unlink()


def test_without_data_nothing_is_opened(files):
    found = open_file(files / "forest.pkl", examine(files / "forest.pkl"), None, None, ModelOptions())
    assert found.model is None
    assert "no data" in found.absent["model"]


def test_features_that_do_not_fit(files):
    with pytest.raises(ShapeMismatch, match="takes 4 features"):
        opened(files, "forest.pkl", "images.npz")


def test_classes_that_do_not_fit(files):
    with pytest.raises(ShapeMismatch, match="labels that the model does not know: 0, 1"):
        opened(files, "forest.pkl", "table.npz")


def test_a_model_that_answers_nan(files, tmp_path):
    x = np.random.default_rng(0).normal(size=(5, 4))
    x[2, 1] = np.nan  # a missing value, which a table may have and this model cannot take
    np.savez(tmp_path / "nan.npz", x=x, y=np.arange(5) % 2)
    path = files / "logit.pt"
    samples = open_data(tmp_path / "nan.npz", DataOptions())
    with pytest.raises(ModelNonFinite, match="unmodified"):
        open_file(
            path,
            examine(path),
            samples,
            None,
            ModelOptions(factory="factory_module:one_logit", import_from=str(files)),
        )


@pytest.mark.parametrize("name", ["forest.joblib", "forest.joblib.z", "forest.pkl", "net.pt"])
@pytest.mark.parametrize("keep", [0.2, 0.6, 0.95])
def test_truncated_files_are_refused(files, tmp_path, name, keep):
    whole = (files / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: int(len(whole) * keep)])
    samples = open_data(
        files / ("images.npz" if name == "net.pt" else "table.csv"),
        CSV if name != "net.pt" else DataOptions(),
    )
    try:
        found = open_file(
            path,
            examine(path),
            samples,
            None,
            ModelOptions(factory="factory_module:build", import_from=str(files)),
        )
    except ModelwardError:
        return
    assert found.model is None


def test_probes_run_in_the_sandbox(files):
    found = opened(files, "forest.pkl")
    with found.model.probe(5) as probe:
        assert probe.ask(found.data.x[:2]).kind == "answered"
        wrong = probe.ask(np.zeros((1, 3)))
        assert wrong.kind == "raised"
        assert "3 features" in wrong.detail
        assert probe.ask(np.array([["a"] * 4])).kind == "raised"
        assert probe.ask(np.float64(3)).kind == "raised"


def test_two_factories_of_the_same_name_are_two_modules(files, tmp_path):
    torch = pytest.importorskip("torch")
    (tmp_path / "factory_module.py").write_text(
        "from torch import nn\n\n\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))\n"
    )
    torch.save(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).state_dict(), tmp_path / "other.pt"
    )
    first = opened(files, "net.pt", "images.npz", factory="factory_module:build")
    samples = open_data(files / "images.npz", DataOptions())
    stated = ModelOptions(factory="factory_module:build", import_from=str(tmp_path))
    second = open_file(tmp_path / "other.pt", examine(tmp_path / "other.pt"), samples, None, stated)
    again = opened(files, "net.pt", "images.npz", factory="factory_module:build")
    assert len(list(first.model.module().parameters())) == 4
    assert len(list(second.model.module().parameters())) == 2
    assert len(list(again.model.module().parameters())) == 4


def test_a_pipeline_on_texts_gets_the_training_sets_texts(tmp_path):
    """Test data that lacks a category of the training data must not shift the codes of the others."""
    joblib = pytest.importorskip("joblib")
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    colours = ["amber", "blue", "cyan", "dark"] * 10
    train = pd.DataFrame(
        {"colour": colours, "size": np.arange(40.0), "y": [int(c in {"cyan", "dark"}) for c in colours]}
    )
    test = train[train.colour != "amber"]
    pipe = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["colour"])),
        LogisticRegression(C=1e3),
    ).fit(train[["colour", "size"]], train.y)
    joblib.dump(pipe, tmp_path / "pipe.joblib")
    train.to_csv(tmp_path / "train.csv", index=False)
    test.to_csv(tmp_path / "test.csv", index=False)
    label = DataOptions(label="y")
    path = tmp_path / "pipe.joblib"
    found = open_file(
        path,
        examine(path),
        open_data(tmp_path / "test.csv", label),
        open_data(tmp_path / "train.csv", label),
        ModelOptions(),
    )
    expected = pipe.predict_proba(test[["colour", "size"]])
    np.testing.assert_allclose(found.model.scores(found.data.x), expected)
    assert (expected.argmax(1) == found.data.y).all()
