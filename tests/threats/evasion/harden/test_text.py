"""Normalisation in front of a model of texts: what it hides from the model, and what it leaves alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.check import Subjects
from modelward.core.data import Box, Dataset
from modelward.core.model import Outputs
from modelward.core.subject import Subject
from modelward.errors import ConfigInvalid, ShapeMismatch
from modelward.threats.evasion.harden.text import NormalisationControl, Normalised

LOOKALIKE = "Win fr\u0435e c\u200bash"  # a Cyrillic letter and a space of no width
HIDDEN = "fr\u200bee"


class Spam:
    """Looks for one word."""

    subject = Subject(kind="model", name="spam", digest="sha256:spam")
    outputs = Outputs(kind="probabilities", classes=("ham", "spam"), origin="stated")

    def scores(self, x):
        spam = np.array(["free" in str(text) for text in x], np.float64)
        return np.stack([1 - spam, spam], axis=1)


def subjects(texts, model=None):
    x = np.array(texts, dtype=object) if isinstance(texts, list) else texts
    one = np.ones(1)
    data = Dataset(
        subject=Subject(kind="dataset", name="texts", digest="sha256:texts"), x=x, y=np.zeros(len(x), np.int64),
        labels=("ham", "spam"), rows=np.arange(len(x)), total=len(x),
        box=Box(lower=0 * one, upper=one, scale=one, unit="box width", source="stated"),
    )  # fmt: skip
    return Subjects(model=model or Spam(), data=data, attachments=SimpleNamespace(put=lambda arrays: ""))


def test_what_a_reader_does_not_see_is_hidden_from_the_model_too():
    assert Spam().scores([LOOKALIKE, HIDDEN]).argmax(1).tolist() == [0, 0]
    assert Normalised(Spam())([LOOKALIKE, HIDDEN]).argmax(1).tolist() == [1, 1]


def test_only_the_named_defences_are_applied():
    assert Normalised(Spam(), ("invisible characters stripped",))([LOOKALIKE, HIDDEN]).argmax(1).tolist() == [
        0,
        1,
    ]


def test_plain_texts_are_answered_as_before():
    texts = ["free", "hello there", "Free", ""]
    assert np.array_equal(Normalised(Spam())(texts), Spam().scores(texts))


def test_the_evidence_counts_what_changed():
    meter = Meter()
    made = NormalisationControl().apply(subjects(["hello", "free", HIDDEN]), budget=meter, seed=0)
    assert made.evidence.outcome == {"changed_texts": 1, "changed_answers": 1}
    assert made.evidence.n == 3
    assert made.evidence.cost.queries == meter.cost.queries == 6
    assert made.model([HIDDEN]).argmax(1).tolist() == [1]


def test_without_a_budget_nothing_is_claimed():
    made = NormalisationControl().apply(subjects(["hello"]), budget=Meter(Budget(queries=1)), seed=0)
    assert made.evidence.outcome == {"changed_texts": None, "changed_answers": None}
    assert made.evidence.cut == "queries"
    assert made.model(["free"]).argmax(1).tolist() == [1]


@pytest.mark.parametrize(
    ("defences", "sentence"), [(("prayer",), "'prayer' is no"), ((), "no normalisation was")]
)
def test_unknown_defences_are_refused(defences, sentence):
    with pytest.raises(ConfigInvalid, match=sentence):
        NormalisationControl(defences)


def test_numbers_are_declined():
    given = subjects(np.zeros((3, 2)))
    assert "holds numbers, not texts" in NormalisationControl().declines(given)
    with pytest.raises(ShapeMismatch, match="not texts"):
        NormalisationControl().apply(given, budget=Meter(), seed=0)
