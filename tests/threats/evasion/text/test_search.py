"""The search itself: what it asks, in which order, and that it goes on where it stopped."""

import numpy as np
import pytest

from modelward.adapters.data import from_arrays
from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.threats.evasion.arena import examine
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.text.arena import TextArena
from modelward.threats.evasion.text.moves import CharacterMoves
from modelward.threats.evasion.text.search import Effort, Hunt
from modelward.threats.evasion.text.threat import TextThreat

TEXT = "the quick brown fox jumps over the lazy dog again and again"


@pytest.fixture
def hunt_of(text_model):
    """Points and a search of one kind of move: ``hunt_of(score, kinds)`` gives model, points, hunt, meter."""

    def make(score, kinds=("deletion",), *, texts=(TEXT,), beam=1, spots=3, queries=None, guided=True):
        model = text_model(score)
        meter = Meter(Budget(queries=queries))
        data = from_arrays(list(texts), ["yes"] * len(texts))
        points = examine(Subjects(model=model, data=data, attachments=None), Settings(), meter)
        moves = CharacterMoves(variety=2, places=200, kinds=kinds)
        model.asked = 0
        return model, points, Hunt(points, moves, Effort(beam, spots), seed=1, guided=guided), meter

    return make


def arena(points, meter, eps):
    return TextArena(points, TextThreat("edits", eps), share=Share(meter))


def letters(text):
    return 0.5 + text.count("o") - 2  # four of them


def test_the_letters_that_count_are_found_one_after_the_other(hunt_of):
    _, points, hunt, meter = hunt_of(letters)
    for eps, falls in ((1.0, False), (2.0, False), (3.0, True)):
        stage = arena(points, meter, eps)
        hunt.deepen(stage)
        assert (stage.broken.tolist() == [0]) is falls
    assert stage.witnesses[0].text.count("o") == 1
    assert stage.witnesses[0].kinds == ("deletion",) * 3


def test_a_larger_bound_goes_on_where_the_smaller_ended(hunt_of):
    model, points, hunt, meter = hunt_of(letters)
    hunt.deepen(arena(points, meter, 1.0))
    first = model.asked
    assert len(TEXT) <= first <= len(TEXT) + 3
    hunt.deepen(arena(points, meter, 1.0))
    assert model.asked == first  # nothing is left to try
    hunt.deepen(arena(points, meter, 2.0))
    assert first < model.asked <= 2 * (len(TEXT) + 3)


def test_a_beam_keeps_what_greed_drops(hunt_of):
    """Taking an x gives most at first; only without both a's does the decision turn."""

    def trap(text):
        a, x = text.count("A"), text.count("X")
        return -1.0 if a == 0 else 2.0 + (0.5 if a == 1 else 1.0) + x

    text = f"A A {TEXT} X X X"
    falls = {}
    for beam in (1, 12):
        _, points, hunt, meter = hunt_of(trap, texts=(text,), beam=beam, spots=8)
        stage = arena(points, meter, 2.0)
        hunt.deepen(stage)
        falls[beam] = len(stage.broken)
    assert falls == {1: 0, 12: 1}


def test_changes_are_tried_at_the_parts_that_count(hunt_of):
    """Only the word fox counts: lookalikes and the like are asked there and nowhere else."""
    seen = []

    def word(text):
        seen.append(text)
        return 1.0 if "fox" in text.split() else 0.4

    _, points, hunt, meter = hunt_of(word, ("case",), spots=2)
    seen.clear()
    hunt.deepen(arena(points, meter, 1.0))
    changed = [text for text in seen if len(text) == len(TEXT)]
    assert 1 <= len(changed) <= 2  # taking the blank before it counts as much, and has no case
    assert all(text.lower() == TEXT and "fox" not in text for text in changed)


def test_no_more_than_two_parts_of_a_word(hunt_of):
    seen = []

    def word(text):
        seen.append(text)
        return 1.0 if "quick" in text else 0.5

    _, points, hunt, meter = hunt_of(word, ("case",), spots=5)
    seen.clear()
    hunt.deepen(arena(points, meter, 1.0))
    changed = [text for text in seen if len(text) == len(TEXT)]
    assert sum("quick" not in text for text in changed) == 2


def test_without_guidance_the_order_is_random_and_all_rooms_are_used(hunt_of):
    model, points, hunt, meter = hunt_of(letters, guided=False)
    stage = arena(points, meter, 3.0)
    hunt.deepen(stage)
    assert model.asked > 2 * len(TEXT)
    assert stage.tried.all()


@pytest.mark.parametrize("queries", [2, 30, 65, 100])
def test_a_search_that_is_cut_keeps_what_it_found(hunt_of, queries):
    model, points, hunt, meter = hunt_of(
        letters, texts=(TEXT, "one o in this text and no other letter like"), queries=queries
    )
    stage = arena(points, meter, 5.0)
    hunt.deepen(stage)
    assert model.asked <= queries - 2
    assert stage.share.cut == "queries"
    assert all(letters(w.text) < 0 for w in stage.witnesses.values())


def test_texts_without_room_cost_nothing(hunt_of):
    model, points, hunt, meter = hunt_of(lambda _: 1.0, texts=("ok", "", "no"))
    hunt.deepen(arena(points, meter, 5.0))
    assert model.asked == 0


def test_shares_of_characters(hunt_of):
    long = " ".join(["o"] + ["filler"] * 20)
    _, points, hunt, meter = hunt_of(lambda t: t.count("o") - 0.5, texts=("o and a few words", long))
    stage = arena(points, meter, 0.05)
    hunt.deepen(stage)
    assert stage.broken.tolist() == [1]  # 5 % of 17 characters is not one edit
    assert np.isclose(stage.threat.size(long, stage.witnesses[1].text), 1 / len(long))
