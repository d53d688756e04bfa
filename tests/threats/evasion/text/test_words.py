"""Words of much the same meaning: which they are, in which case, and where they are put."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.core.data import WordVectors
from modelward.core.subject import Subject
from modelward.threats.evasion.text.threat import TextThreat
from modelward.threats.evasion.text.words import Neighbours, WordMoves

LETTERS = st.text(st.sampled_from("abAB"), min_size=1, max_size=3)


def vectors(named):
    """Words at stated angles on a circle."""
    angles = np.array(list(named.values()))
    return WordVectors(
        subject=Subject(kind="dataset", name="vectors", digest="sha256:" + "3" * 64),
        words=tuple(named),
        vectors=np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32),
    )


def test_neighbours_come_nearest_first_and_no_farther_than_the_least(word_vectors):
    near = Neighbours(word_vectors, 0.7)
    assert near.of("movie", 9) == ("film", "picture")
    assert near.of("movie", 1) == ("film",)
    assert near.of("movie", 0) == ()
    assert near.of("bad", 9) == ()
    assert near.of("unknown", 9) == ()
    assert Neighbours(word_vectors, 0.97).of("movie", 9) == ("film",)


def test_cosines_are_those_of_the_vectors(word_vectors):
    near = Neighbours(word_vectors, 0.7)
    assert near.cosine("film", "movie") == pytest.approx(np.cos(0.2), abs=1e-6)
    assert near.cosine("FILM", "Movie") == pytest.approx(np.cos(0.2), abs=1e-6)
    assert near.cosine("film", "film") == pytest.approx(1)
    assert near.cosine("film", "unknown") == near.cosine("unknown", "film") == -1.0
    assert near.cosine("film", "good") < 0


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("film", ("movie", "picture")),
        ("Film", ("Movie", "Picture")),
        ("FILM", ("MOVIE", "PICTURE")),
        ("good", ("fine",)),
    ],
)
def test_the_case_of_the_word_is_kept(word_vectors, word, found):
    assert Neighbours(word_vectors, 0.7).of(word, 9) == found


def test_a_single_capital_is_a_beginning_and_no_shouting():
    near = Neighbours(vectors({"I": 0.0, "we": 0.1}), 0.7)
    assert near.of("I", 9) == ("We",)


def test_words_that_the_case_turns_into_others_are_left_out():
    """ "turkey" is near "Polish" here, and "Turkey", which its capital makes of it, is far from it."""
    near = Neighbours(vectors({"Polish": 0.0, "turkey": 0.1, "Turkey": 2.0, "Czech": 0.2}), 0.7)
    assert near.of("Polish", 9) == ("Czech",)


def test_what_is_no_word_is_no_neighbour():
    """It would change how many words a text has."""
    near = Neighbours(
        vectors({"well": 0.0, "as_well": 0.05, "as well": 0.1, "so-so": 0.15, "...": 0.2, "fine": 0.3}), 0.7
    )
    assert near.of("well", 9) == ("as_well", "fine")


def test_the_same_word_in_another_case_is_found_once():
    near = Neighbours(vectors({"good": 0.0, "Fine": 0.1, "fine": 0.2}), 0.7)
    assert near.of("Good", 9) == ("Fine",)


@given(st.dictionaries(LETTERS, st.floats(0, 6), min_size=2, max_size=8), LETTERS, st.floats(0.5, 0.99))
@settings(max_examples=60)
def test_every_neighbour_is_as_near_as_it_must_be_and_another_word(named, word, least):
    near = Neighbours(vectors(named), least)
    for other in near.of(word, 99):
        assert other != word
        assert near.cosine(word, other) >= least
    assert len(set(near.of(word, 99))) == len(near.of(word, 99))
    assert near.of(word, 99)[:2] == near.of(word, 2)


def test_moves_replace_the_word_and_nothing_else(word_vectors):
    moves = WordMoves(Neighbours(word_vectors, 0.7), variety=9, places=9)
    text = "A good film, a GOOD filmography; bad."
    probes = moves.probes(text)
    assert [text[p.start : p.end] for p in probes] == ["good", "film", "GOOD"]
    assert probes[1].text == "A good , a GOOD filmography; bad."
    made = [move.text for probe in probes for move in moves.moves(text, probe, np.random.default_rng(0))]
    assert made == [
        "A fine film, a GOOD filmography; bad.",
        "A good movie, a GOOD filmography; bad.",
        "A good picture, a GOOD filmography; bad.",
        "A good film, a FINE filmography; bad.",
    ]
    assert all(m.cost == 1 and m.kind == "synonym" for p in probes for m in moves.moves(text, p, None))


@pytest.mark.parametrize("places", [1, 2, 3, 5, 100])
def test_long_texts_are_probed_at_so_many_places(word_vectors, places):
    moves = WordMoves(Neighbours(word_vectors, 0.7), variety=1, places=places)
    probes = moves.probes("film good " * 8)
    assert 1 <= len(probes) <= places
    assert probes[0].start == 0
    assert moves.probes("bad unknown") == moves.probes("") == []


@given(
    st.lists(st.sampled_from(["film", "Good", "bad", "xyz", ",", "\n", "PICTURE", "é"]), max_size=8),
    st.integers(0, 9),
)
@settings(max_examples=60)
def test_every_single_move_is_admissible_as_one_word(words, seed):
    named = {"film": 0.0, "movie": 0.2, "picture": 0.5, "good": 1.6, "fine": 1.8, "bad": 3.1}
    near = Neighbours(vectors(named), 0.7)
    moves, text = WordMoves(near, variety=5, places=5), " ".join(words)
    threat = TextThreat("words", 1.0)
    for probe in moves.probes(text):
        for move in moves.moves(text, probe, np.random.default_rng(seed)):
            assert threat.admits(text, move.text, near)
            assert threat.size(text, move.text) == 1.0
            assert not threat.admits(text, move.text + " ", near)
