"""The file of a normaliser: what it says comes back, and nothing else is taken for one."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.model import Outputs
from modelward.errors import FileDamaged
from modelward.threats.evasion.harden.text import Normalised, read, written
from modelward.threats.evasion.text.normalise import DEFENCES, HARMLESS, normalised

ANY = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, categories=None), max_size=40)


class Lengths:
    """Scores that tell every text from another: its length and the sum of its code points."""

    outputs = Outputs(kind="logits", classes=("short", "long"), origin="stated")

    def __init__(self):
        self.asked = []

    def scores(self, x):
        self.asked += list(x)
        return np.array([[len(text), sum(map(ord, text))] for text in x], np.float64).reshape(len(x), 2)


@given(st.lists(st.sampled_from(sorted(DEFENCES)), min_size=1, max_size=4))
def test_what_is_written_is_read(defences):
    document = written(defences)
    assert read(document) == tuple(defences)
    assert json.loads(document) == {
        "schema": 1, "defences": defences, "unicode": unicodedata.unidata_version,
    }  # fmt: skip
    assert document.endswith(b"\n")


def fine(**changes):
    plain = {"schema": 1, "defences": [*HARMLESS], "unicode": "14.0.0"} | changes
    return json.dumps({key: value for key, value in plain.items() if value is not None}).encode()


def test_the_version_of_the_tables_may_be_another():
    assert read(fine(unicode="16.0.0")) == tuple(HARMLESS)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"null", "cannot be read"),
        (b'{"\x80chema": 1}', "cannot be read"),
        (b'{"more": ' + b"[" * 50_000, "cannot be read"),
        (fine(schema=None), "cannot be read"),
        (fine(schema="1"), "cannot be read"),
        (fine(defences=None), "cannot be read"),
        (fine(defences="NFKC"), "cannot be read"),
        (fine(defences=[1]), "cannot be read"),
        (fine(unicode=None), "cannot be read"),
        (fine(more=1), "cannot be read"),
        (fine(schema=2), "schema 2 or no defence"),
        (fine(schema=-1), "schema -1 or no defence"),
        (fine(defences=[]), "schema 1 or no defence"),
        (fine(defences=["prayer"]), "the defence 'prayer'"),
        (fine(defences=[*HARMLESS, "x" * 200]), "the defence '" + "x" * 60 + "'"),
    ],
)
def test_what_is_no_such_file(document, sentence):
    with pytest.raises(FileDamaged) as caught:
        read(document)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.binary(max_size=60), st.integers(0, 200))
def test_any_bytes_are_read_or_refused(noise, at):
    whole = written(HARMLESS)
    for document in (noise, whole[:at] + noise + whole[at + len(noise) :]):
        try:
            found = read(document)
        except FileDamaged:
            continue
        assert found
        assert set(found) <= set(DEFENCES)


@given(st.lists(ANY, max_size=5), st.lists(st.sampled_from(sorted(DEFENCES)), min_size=1, max_size=3))
def test_the_model_sees_the_normal_forms_and_nothing_else(texts, defences):
    model = Lengths()
    scores = Normalised(model, defences)(texts)
    assert model.asked == [normalised(text, defences) for text in texts]
    assert scores.shape == (len(texts), 2)


@given(st.lists(ANY, min_size=1, max_size=4))
def test_texts_of_one_normal_form_get_one_answer(texts):
    """What a reader cannot tell apart, the model cannot either: invisible characters inside change nothing."""
    hidden = ["\u200b".join(text) for text in texts]
    wrapped = Normalised(Lengths(), ("invisible characters stripped",))
    alike = [
        normalised(a, wrapped.defences) == normalised(b, wrapped.defences)
        for a, b in zip(texts, hidden, strict=True)
    ]
    same = (wrapped(texts) == wrapped(hidden)).all(axis=1)
    assert all(s for s, a in zip(same.tolist(), alike, strict=True) if a)
    assert all(alike)


def test_labels_are_the_names_of_what_is_decided():
    wrapped = Normalised(Lengths())
    assert wrapped.labels(["", "abc"]).tolist() == ["short", "long"]
    assert wrapped.labels([]).shape == (0,)
    assert wrapped.outputs is Lengths.outputs
