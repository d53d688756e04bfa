"""Text classifiers of every kind answer as the library that wrote them."""

import numpy as np
import pandas as pd
import pytest

from modelward.adapters.data import DataOptions, from_arrays, open_data
from modelward.adapters.examine import examine
from modelward.adapters.opening import ModelOptions, open_file, open_live
from modelward.core.model import Differentiable, TreeEnsemble
from modelward.errors import ModelRaised, ShapeMismatch

OPTIONS = DataOptions(label="label", text="text")


def opened(files, name, **stated):
    path = files / name
    data = open_data(files / "messages.csv", OPTIONS)
    return open_file(path, examine(path), data, None, ModelOptions(import_from=str(files), **stated))


@pytest.mark.parametrize("name", ["spam.pkl", "spam.joblib", "spam.skops"])
def test_pipelines_answer_from_the_sandbox(files, pipeline, messages, name):
    found = opened(files, name)
    np.testing.assert_array_equal(found.model.scores(found.data.x), pipeline.predict_proba(messages[0]))
    assert found.model.outputs.classes == ("ham", "spam")
    assert found.absent["gradients"] == "texts have no gradients"
    assert not isinstance(found.model, Differentiable | TreeEnsemble)


def test_odd_texts_reach_the_sandbox_unchanged(files, pipeline, surrogates):
    found = opened(files, "spam.pkl")
    np.testing.assert_array_equal(found.model.scores(surrogates), pipeline.predict_proba(surrogates))


@pytest.mark.parametrize("name", ["keyword.onnx", "column.onnx"])
def test_onnx_with_strings(files, messages, name):
    from modelward.adapters.outputs import OutputOptions

    found = opened(files, name, outputs=OutputOptions(outputs="probability"))
    expected = [float("free" in text) for text in messages[0]]
    np.testing.assert_array_equal(found.model.scores(found.data.x)[:, 1], expected)
    with pytest.raises(ModelRaised, match="valid Unicode"):
        found.model.scores(np.array(["\ud800"], dtype=object))
    with pytest.raises(ModelRaised, match="one text a sample"):
        found.model.scores(np.zeros((2, 3)))


def test_torch_with_a_factory_that_reads_texts(files, messages):
    found = opened(files, "keyword.pt", factory="keyword_factory:build")
    expected = [2 * text.count("free") - 1.0 for text in messages[0]]
    np.testing.assert_allclose(found.model.scores(found.data.x)[:, 1], expected)
    assert not isinstance(found.model, Differentiable)


def test_live_models(pipeline, messages):
    data = from_arrays(*messages)
    live = open_live(pipeline, data, None, ModelOptions())
    np.testing.assert_array_equal(live.model.scores(data.x), pipeline.predict_proba(messages[0]))

    def keyword(texts):
        assert isinstance(texts, list)
        found = np.array([float("free" in text) for text in texts])
        return np.column_stack([1 - found, found])

    called = open_live(keyword, data, None, ModelOptions())
    assert called.model.scores(data.x[:2]).tolist() == [[0, 1], [0, 1]]


def test_a_model_of_texts_needs_texts(files, pipeline):
    numbers = from_arrays(np.zeros((4, 2)), ["ham", "spam"] * 2)
    with pytest.raises(ShapeMismatch, match="the model takes texts") as caught:
        open_live(pipeline, numbers, None, ModelOptions())
    assert "--text" in (caught.value.advice or "")
    path = files / "keyword.onnx"
    with pytest.raises(ShapeMismatch, match="the model takes texts"):
        open_file(path, examine(path), numbers, None, ModelOptions())


def test_a_model_of_numbers_takes_none(messages):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(np.eye(4), [0, 1, 0, 1])
    with pytest.raises(ShapeMismatch, match="the model takes numbers"):
        open_live(model, from_arrays(*messages), None, ModelOptions())


def test_the_one_column_of_texts_is_what_a_model_of_texts_reads(pipeline, messages):
    texts, labels = messages
    texts = ["" if i == 3 else text for i, text in enumerate(texts)]
    table = pd.DataFrame({"n": range(len(texts)), "text": [t or None for t in texts], "label": labels})
    data = from_arrays(table, options=DataOptions(label="label"))
    assert not data.textual
    found = open_live(pipeline, data, data, ModelOptions())
    assert found.data.x.tolist() == texts
    assert found.train.textual
    assert (found.data.columns, found.data.box.unit) == ((), "edits")
    assert found.data.subject.digest == data.subject.digest
    np.testing.assert_array_equal(found.model.scores(found.data.x), pipeline.predict_proba(texts))
    with pytest.raises(ShapeMismatch, match="no column of texts, or several"):
        open_live(
            pipeline,
            from_arrays(table.assign(more="a"), options=DataOptions(label="label")),
            None,
            ModelOptions(),
        )
