"""Odd texts: each is what it says, and what a model does with them is judged as for any other input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.model import ProbeAnswer
from modelward.threats.robustness import text_cases as module
from modelward.threats.robustness.inputs import InputsCheck
from modelward.threats.robustness.judge import judge_inputs
from modelward.threats.robustness.text_cases import text_cases

TEXTS = ["see you at home", "claim your prize", "ok", "é\U0001f600"]
FINE = ProbeAnswer(kind="answered", scores=[0.5, 0.5], finite=True)
RAISED = ProbeAnswer(kind="raised", detail="TypeError: no text")


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(module, "HUGE_ROWS", 500)


def array(texts):
    made = np.empty(len(texts), dtype=object)
    made[:] = texts
    return made


def careful(x):
    """Answers one str a sample, whatever it holds; refuses all else."""
    if x.ndim != 1 or x.dtype.kind not in "OS":
        return RAISED
    return ProbeAnswer(kind="answered", scores=[0.5] * min(64, 2 * len(x)), finite=True)


@pytest.fixture
def ask(lab):
    def ask(react, texts=TEXTS):
        model = lab.probed(lambda x: lab.two(np.zeros(len(x))), react)
        found = lab.run(InputsCheck, lab.subjects(model, lab.texts(array(texts))))
        return model, found, judge_inputs(found)

    return ask


def made(texts=TEXTS):
    return {case.name: (case, case.make()) for case in text_cases(array(texts))}


def test_a_careful_model_has_no_fault(ask):
    model, found, judgement = ask(careful)
    assert judgement.claims[0].value == 0.0
    assert judgement.claims[0].n == found[0].outcome["planned"] == len(model.sent) - 1
    assert not judgement.findings
    assert found[0].parameters["missing by design"] is False
    assert sorted(model.sent[0].tolist()) != model.sent[0].tolist() or set(model.sent[0]) <= set(TEXTS)


def test_a_model_that_answers_what_is_no_text_is_found(ask):
    judgement = ask(lambda x: FINE)[2]
    found = {finding.rule: finding for finding in judgement.findings}
    assert set(found) == {"robustness.silent"}
    for name in ("numbers", "a table of numbers", "two texts a sample", "one axis too many", "no texts"):
        assert name in found["robustness.silent"].message
    assert found["robustness.silent"].severity == "low"


@pytest.mark.parametrize(
    ("odd", "name"),
    [
        (lambda text: text == "", "empty texts"),
        (lambda text: "\0" in text, "zero characters inside"),
        (lambda text: "\ud800" in text, "a lone surrogate"),
        (lambda text: len(text) >= 100_000 and " " not in text, "one word of 100,000 letters"),
        (lambda text: "\u202e" in text, "directional overrides"),
    ],
)
def test_a_text_that_crashes_the_process_is_critical_and_named(ask, odd, name):
    def react(x):
        if x.ndim == 1 and x.dtype.kind == "O" and any(odd(text) for text in x):
            return ProbeAnswer(kind="crashed", detail="signal 11")
        return careful(x)

    (finding,) = ask(react)[2].findings
    assert (finding.rule, finding.severity, finding.location) == (
        "robustness.crash",
        "critical",
        "inputs: text",
    )
    assert finding.message.endswith(f": {name}.")


def test_a_text_without_words_that_divides_by_zero(ask):
    def react(x):
        if x.ndim == 1 and x.dtype.kind == "O" and len(x) and not any(text.strip() for text in x):
            return ProbeAnswer(kind="answered", scores=[None, None], finite=False)
        return careful(x)

    (finding,) = ask(react)[2].findings
    assert finding.rule == "robustness.non-finite"
    assert finding.message.endswith(": empty texts; white space alone.")


def test_a_long_text_that_hangs_is_a_fault_and_many_texts_are_a_note(ask):
    def react(x):
        slow = x.ndim == 1 and x.dtype.kind == "O" and len(x) and (len(x[0]) >= 100_000 or len(x) == 500)
        return ProbeAnswer(kind="hung") if slow else careful(x)

    judgement = ask(react)[2]
    (finding,) = judgement.findings
    assert finding.rule == "robustness.hang"
    assert "500 texts" not in finding.message
    assert "500 texts" in judgement.claims[0].note


@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_each_is_made_of_any_texts_and_leaves_them_alone(texts):
    given_ = array(texts)
    listed = list(text_cases(given_))
    values = [case.make() for case in listed]
    assert given_.tolist() == texts
    assert len({case.name for case in listed}) == len(listed) > 20
    for case, value in zip(listed, values, strict=True):
        assert case.rows == len(value)
        if case.family == "text":
            assert value.dtype == object
            assert value.shape == (len(texts),)
            assert all(isinstance(text, str) for text in value)


def test_what_they_say_they_are():
    by_name = {name: value for name, (_, value) in made().items()}
    assert set(by_name["empty texts"]) == {""}
    assert not any(text.strip() for text in by_name["white space alone"])
    assert {len(text) for text in by_name["texts of 100,000 characters"]} == {100_000}
    assert {len(text) for text in by_name["one word of 100,000 letters"]} == {100_000}
    assert all(
        text.count("\0") == len(plain)
        for text, plain in zip(by_name["zero characters inside"], TEXTS, strict=True)
    )
    assert all(text.startswith(plain) for text, plain in zip(by_name["a lone surrogate"], TEXTS, strict=True))
    with pytest.raises(UnicodeEncodeError):
        by_name["a lone surrogate"][0].encode()
    assert by_name["1,000 marks on one letter"][0].count("\u0301") == 1000
    assert by_name["texts as UTF-8 bytes"].dtype.kind == "S"
    assert by_name["texts as UTF-8 bytes"][3] == TEXTS[3].encode()
    assert by_name["no texts"].shape == (0,)
    assert by_name["no texts"].dtype == object
    assert by_name["two texts a sample"].shape == (4, 2)


def test_many_texts_are_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(module, "HUGE_BYTES", 8 * 4 * 16 * 10)
    case = list(text_cases(array(["x" * 16])))[-1]
    assert (case.name, case.rows, len(case.make())) == ("10 texts", 10, 10)
    monkeypatch.setattr(module, "HUGE_BYTES", 1)
    assert list(text_cases(array(["x" * 16])))[-1].rows == 1
