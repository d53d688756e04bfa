import time

import numpy as np
import pytest

from modelward.adapters.data import DataOptions, from_arrays
from modelward.adapters.live import live_runtime, live_subject
from modelward.adapters.opening import ModelOptions, open_live
from modelward.core.model import Differentiable
from modelward.errors import FormatUnknown, InputError, ModelHung, ModelRaised


@pytest.fixture
def data(table):
    return from_arrays(*table, name="t", options=DataOptions())


def by_first_feature(x):
    return np.stack([-x[:, 0], x[:, 0]], axis=1)


def test_a_function(data):
    found = open_live(by_first_feature, data, None, ModelOptions(name="first"))
    assert found.model.subject.identity == "asserted"
    assert found.model.subject.name == "first"
    assert found.model.outputs.kind == "logits"
    assert (found.model.scores(data.x).argmax(1) == data.y).mean() > 0.9


def test_an_estimator(data, table):
    linear = pytest.importorskip("sklearn.linear_model")
    model = linear.LogisticRegression().fit(*table)
    found = open_live(model, data, None, ModelOptions())
    np.testing.assert_allclose(found.model.scores(data.x), model.predict_proba(data.x))


def test_a_module_has_gradients_and_a_digest_of_its_weights(data):
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(4, 2)
    found = open_live(net, data, None, ModelOptions())
    assert isinstance(found.model, Differentiable)
    before = live_subject(net, "torch-module", None).digest
    assert live_subject(net, "torch-module", "other name").digest == before
    with torch.no_grad():
        net.bias += 1
    assert live_subject(net, "torch-module", None).digest != before


def test_boosters(data, table):
    xgboost = pytest.importorskip("xgboost")
    x, y = table
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(x, y), 5)
    found = open_live(booster, data, None, ModelOptions())
    np.testing.assert_allclose(
        found.model.scores(data.x)[:, 1], booster.predict(xgboost.DMatrix(x)), rtol=1e-6
    )


def test_what_cannot_be_asked():
    with pytest.raises(FormatUnknown, match="type int"):
        live_runtime(3)


def test_a_function_that_raises_on_unmodified_data(data):
    def broken(x):
        raise KeyError("weights")

    with pytest.raises(ModelRaised, match="KeyError"):
        open_live(broken, data, None, ModelOptions())


def test_a_function_that_hangs_on_unmodified_data(data):
    with pytest.raises(ModelHung, match=r"0\.1 s"):
        open_live(lambda x: time.sleep(2), data, None, ModelOptions(seconds=0.1))


def test_probes_of_a_live_object(data):
    def picky(x):
        if np.isnan(x).any():
            raise ValueError("no NaN")
        if (x > 1e20).any():
            time.sleep(2)
        return by_first_feature(np.where(np.isinf(x), np.nan, x))

    found = open_live(picky, data, None, ModelOptions())
    with found.model.probe(0.2) as probe:
        assert probe.ask(np.zeros((1, 4))).finite is True
        assert probe.ask(np.full((1, 4), np.nan)).kind == "raised"
        assert probe.ask(np.full((1, 4), 1e30)).kind == "hung"
        assert probe.ask(np.full((1, 4), -np.inf)).finite is False


def test_a_pipeline_on_texts_is_given_texts():
    pytest.importorskip("sklearn")
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = pd.DataFrame({"colour": ["red", "blue", "green"] * 20, "size": np.arange(60.0)})
    y = (frame.colour == "red").astype(int)
    model = make_pipeline(make_column_transformer((OneHotEncoder(), ["colour"])), LogisticRegression()).fit(
        frame, y
    )
    found = open_live(model, from_arrays(frame, y.to_numpy(), options=DataOptions()), None, ModelOptions())
    np.testing.assert_allclose(found.model.scores(found.data.x), model.predict_proba(frame))


def test_a_lightgbm_booster(data, table):
    lightgbm = pytest.importorskip("lightgbm")
    x, y = table
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1}, lightgbm.Dataset(x, y), 5
    )
    found = open_live(booster, data, None, ModelOptions())
    np.testing.assert_allclose(found.model.scores(data.x)[:, 1], booster.predict(x))


def test_the_users_module_is_left_as_it_was(data):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Dropout(0.9)).train()
    found = open_live(net, data, None, ModelOptions())
    assert net.training
    assert net[1].training
    np.testing.assert_array_equal(found.model.scores(data.x), found.model.scores(data.x))  # no dropout


def test_texts_need_the_training_data_where_the_model_takes_numbers():
    import pandas as pd

    frame = pd.DataFrame({"colour": ["red", "blue"] * 10, "size": np.arange(20.0)})
    samples = from_arrays(frame, np.arange(20) % 2, options=DataOptions())

    def by_code(x):
        return np.stack([x[:, 0], 1 - x[:, 0]], axis=1)

    with pytest.raises(InputError, match="'colour' holds texts"):
        open_live(by_code, samples, None, ModelOptions())
    found = open_live(by_code, samples, samples, ModelOptions())
    assert "sorted texts of the training data" in found.model.subject.details["texts_numbered"]
