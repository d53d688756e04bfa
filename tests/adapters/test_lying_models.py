"""Whatever a sandboxed process says of its model and answers, the model is opened or refused in words."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.adapters import remote
from modelward.adapters.data import DataOptions, from_arrays
from modelward.adapters.opening import ModelOptions, _pair
from modelward.adapters.outputs import OutputOptions
from modelward.adapters.runtime import RuntimeSpec
from modelward.core.subject import Subject
from modelward.errors import ModelwardError
from modelward.sandbox import RawArray

WORDS = st.sampled_from(
    ["a", "b", "x0", "x1", "yes", "no", "0", "1", "1.0", "nan", "", "\x1b[31m", "é" * 400]
)
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "features": st.lists(WORDS, max_size=4),
        "n_features": st.sampled_from([-1, 0, 1, 2, 3, 10**9, 2**63]),
        "shape": st.lists(st.sampled_from([None, -1, 0, 1, 2, 2**40]), max_size=3),
        "classes": st.lists(WORDS, max_size=4),
        "kind": st.sampled_from(["logits", "probabilities", "labels"]),
        "missing": st.booleans(),
        "texts": st.booleans(),
        "whole": st.booleans(),
        "strings": st.none() | st.booleans(),
        "origin": st.text(max_size=5),
    },
)
DTYPES = ["<f8", "<f4", "<f2", "<f16", "<i8", "<u8", "|b1", "<c16", "<c32", "<U3", "|S2"]
SHAPES = [(), (0,), (None,), (None, 1), (None, 2), (None, 3), (None, 0), (None, 2, 2), (None, 1, 1)]
PLAIN = [0.0, 1.0, 0.5, -3.0, 1e30, np.nan, np.inf]


@st.composite
def answers(draw):
    """What comes back for so many rows: a shape, a type, and bytes that are any, or plain numbers."""
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(SHAPES))
    off, plain = draw(st.sampled_from([0, 0, 0, 0, 1])), draw(st.booleans())
    seed = draw(st.integers(0, 2**32 - 1))
    known = draw(st.sampled_from([["yes", "no"], ["0", "1"], ["zzz"]]))

    def answer(rows):
        size = tuple(rows + off if axis is None else axis for axis in shape)
        random, count = np.random.default_rng(seed), int(np.prod(size))
        kind = np.dtype(dtype)
        if kind.kind in "US" and plain:
            values = random.choice(known, count).astype(kind)
        elif plain:
            with np.errstate(all="ignore"):
                values = random.choice(PLAIN[:4] if seed % 3 else PLAIN, count).astype(kind)
        else:
            return RawArray(dtype, size, random.bytes(count * kind.itemsize))
        return RawArray(dtype, size, values.tobytes())

    return answer


class Process:
    """Says what it was given, and answers the first batch one way and all later ones another."""

    def __init__(self, facts, first, later):
        self.facts, self.pending, self.later = msgspec.json.encode(facts), [first], later

    def call(self, method, *arguments):
        if method == "open":
            return self.facts
        if method == "forest":
            return self.later(3)
        rows = arguments[0].shape[0] if method == "raw" else arguments[1].shape[0]
        return (self.pending.pop() if self.pending else self.later)(rows)

    def close(self):
        pass


@pytest.fixture(scope="module")
def data():
    pandas = pytest.importorskip("pandas")
    x, y = np.random.default_rng(0).random((20, 2)), np.array(["yes", "no"] * 10)
    table = pandas.DataFrame({"a": x[:, 0], "b": x[:, 1], "kind": ["p", "q"] * 10, "label": y})
    return [
        from_arrays(x, y),
        from_arrays(x, np.arange(20) % 2),
        from_arrays(x, None),
        from_arrays(["a b", "c d"] * 10, y),
        from_arrays(table, options=DataOptions(label="label")),
    ]


STATEMENTS = st.builds(
    OutputOptions,
    outputs=st.none() | st.sampled_from(["logits", "probabilities", "labels", "logit", "probability"]),
    classes=st.sampled_from([(), ("yes", "no"), ("0", "1"), ("a",)]),
)
LIES = st.tuples(
    st.builds(Process, FACTS, answers(), answers()), STATEMENTS, st.integers(0, 4), st.booleans()
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lie=LIES)
def test_a_model_is_opened_or_refused_in_words(tmp_path, monkeypatch, data, lie):
    process, outputs, which, trained = lie
    (tmp_path / "m").write_bytes(b"model")
    monkeypatch.setattr(remote.Sandbox, "start", lambda *args, **more: process)
    spec = RuntimeSpec(path=str(tmp_path / "m"), format="pickle", digest="sha256:0")
    subject = Subject(kind="model", name="m", digest="sha256:0", format="pickle")
    chosen = data[which]
    found, sentence = None, ""
    try:
        given_ = (chosen, chosen if trained else None, ModelOptions(outputs=outputs))
        found = _pair(remote.RemoteRuntime(spec), spec, subject, given_)
        scores = found.model.scores(found.data.x)
    except ModelwardError as error:
        sentence = str(error)
    if sentence:
        assert len(sentence) < 2000
    else:
        assert scores.shape == (20, len(found.model.outputs.classes))
        assert scores.dtype == np.float64
        assert len(found.model.outputs.classes) >= 2
        msgspec.json.encode(found.model.subject)
