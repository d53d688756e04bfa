import json

import numpy as np
import pytest

from modelward.adapters.data import from_arrays
from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.errors import ModelRaised
from modelward.threats.evasion.arena import examine
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.text.arena import BATCH, Candidate, TextArena, margins
from modelward.threats.evasion.text.threat import TextThreat
from modelward.threats.evasion.text.words import Neighbours

FREE = "claim your free prize now"
TURNED = "claim your fre prize now"
MEETING = "see you at the meeting tomorrow"


def has_free(text):
    return float("free" in text.split()) - 0.5


@pytest.fixture
def arena_of(text_model):
    """An arena: ``arena_of(texts, labels, score, eps=1, queries=None)``."""

    def make(texts, labels, score=has_free, *, eps=1.0, queries=None, kind="edits", neighbours=None):
        model = text_model(score)
        data = from_arrays(list(texts), list(labels))
        meter = Meter(Budget(queries=queries))
        points = examine(Subjects(model=model, data=data, attachments=None), Settings(), meter)
        model.asked = 0
        return TextArena(points, TextThreat(kind, eps), share=Share(meter), neighbours=neighbours)

    return make


def test_what_counts_as_a_witness(arena_of):
    arena = arena_of([FREE, MEETING, "no free lunch at all"], ["yes", "no", "no"])
    assert [arena.stands(i) for i in range(3)] == [True, True, False]  # the last is wrong unmodified
    found = arena.submit(
        [
            Candidate(0, "claim your free prise now", ("neighbouring key",)),  # still right
            Candidate(0, "claim you fre prize now", ("deletion",)),  # two edits
            Candidate(0, TURNED, ("deletion",)),
            Candidate(1, "see you at the free meeting tomorrow", ("words",)),  # too many edits
        ]
    )
    np.testing.assert_allclose(found, [0.5, -0.5, -0.5, -0.5])
    assert arena.broken.tolist() == [0]
    assert arena.witnesses[0].text == TURNED
    assert arena.witnesses[0].kinds == ("deletion",)
    assert arena.tried.tolist() == [True, True, False]


def test_nothing_is_asked_of_points_that_fell(arena_of):
    arena = arena_of([FREE, MEETING], ["yes", "no"])
    first = [Candidate(0, TURNED, ())]
    later = [Candidate(0, FREE, ()), Candidate(1, MEETING, ())] * 2
    arena.submit(first)
    found = arena.submit(later)
    assert arena.points.model.asked == 3
    assert np.isnan(found).tolist() == [True, False, True, False]


def test_batches_stop_where_the_budget_ends(arena_of):
    arena = arena_of([MEETING], ["no"], queries=11)
    found = arena.submit([Candidate(0, MEETING, ())] * 25)
    assert arena.points.model.asked == 10
    assert np.isnan(found).sum() == 15
    assert arena.share.cut == "queries"
    assert arena.ask([MEETING], np.array([0])) is None


def test_more_than_one_batch(arena_of):
    arena = arena_of([MEETING], ["no"])
    found = arena.submit([Candidate(0, f"{MEETING} {i}", ()) for i in range(BATCH + 5)])
    assert not np.isnan(found).any()
    assert arena.points.model.asked == BATCH + 5


def test_witnesses_are_taken_over_where_they_hold(arena_of):
    texts, labels = [FREE, "claim a free holiday today"], ["yes", "yes"]
    large, small = (arena_of(texts, labels, eps=eps) for eps in (3.0, 1.0))
    large.submit([Candidate(0, TURNED, ()), Candidate(1, "claim a fr holiday tody", ())])
    assert large.broken.tolist() == [0, 1]
    assert small.adopt(large) == 1
    assert small.broken.tolist() == [0]
    assert small.adopt(large) == 0
    assert small.points.model.asked == 0


def test_answers_without_witnesses(arena_of):
    arena = arena_of([FREE, MEETING], ["yes", "no"])
    assert arena.ask([TURNED, MEETING], np.array([0, 1])).tolist() == [False, True]
    assert arena.ask([], np.array([], np.int64)).tolist() == []
    assert arena.broken.tolist() == []


def test_a_batch_that_raises_is_asked_one_by_one(arena_of):
    def strict(text):
        if "\u200b" in text:
            raise ModelRaised("no such character")
        return has_free(text)

    arena = arena_of([FREE, MEETING], ["yes", "no"], strict)
    bad = FREE.replace("free", "fr\u200bee")
    found = arena.submit(
        [Candidate(0, FREE, ()), Candidate(0, bad, ("invisible",)), Candidate(1, MEETING, ())]
    )
    assert np.isnan(found).tolist() == [False, True, False]
    assert arena.witnesses[0].decision == -1
    assert arena.stored()["prediction"].tolist() == [-1]


def test_what_could_not_be_asked_alone_is_not_a_witness(arena_of):
    def strict(text):
        if text.endswith("!"):
            raise ModelRaised("no exclamation")
        return has_free(text)

    arena = arena_of([FREE, MEETING], ["yes", "no"], strict, queries=2 + 3 + 1)
    arena.submit([Candidate(1, f"{MEETING}.", ()), Candidate(0, TURNED, ()), Candidate(0, f"{FREE}!", ())])
    assert arena.points.correct.all()
    assert arena.broken.tolist() == []  # one was asked alone and is right; for the others the budget ended
    assert arena.share.cut == "queries"


def test_stored_arrays(arena_of):
    arena = arena_of([FREE, MEETING], ["yes", "no"])
    arena.submit([Candidate(0, TURNED, ("deletion",))])
    held = arena.stored()
    assert held["index"].tolist() == [0]
    assert (held["x"].tolist(), held["original"].tolist()) == ([TURNED], [FREE])
    assert held["classes"].tolist() == ["no", "yes"]
    assert (held["label"].tolist(), held["prediction"].tolist()) == ([1], [0])
    assert json.loads(held["changed"][0]) in ([[13, 13]], [[14, 14]])
    assert (len(held["columns"]), len(held["categories"])) == (0, 0)


def test_words_need_neighbours(arena_of, word_vectors):
    given = {"kind": "words", "eps": 1.0}
    candidates = [Candidate(0, "a fine film", ("synonym",))]
    plain = arena_of(["a good film"], ["yes"], lambda t: ("good" in t) - 0.5, **given)
    plain.submit(candidates)
    assert plain.broken.tolist() == []
    near = Neighbours(word_vectors, 0.7)
    helped = arena_of(["a good film"], ["yes"], lambda t: ("good" in t) - 0.5, neighbours=near, **given)
    helped.submit(candidates)
    assert helped.broken.tolist() == [0]


def test_margins():
    scores = np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0], [np.nan, 1.0, 2.0]])
    found = margins(scores, np.array([1, 0, 2]))
    assert found[:2].tolist() == [1.0, 0.0]
    assert np.isnan(found[2])
