import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.threats.evasion.text.measure import edits
from modelward.threats.evasion.text.moves import MAKERS, CharacterMoves, Probe
from modelward.threats.evasion.text.normalise import normalised
from modelward.threats.evasion.text.words import Neighbours, WordMoves

TEXTS = st.text(st.sampled_from("aZ 3.\u00e9\u200b\ud800\0\n"), min_size=1, max_size=12)


@pytest.mark.parametrize("kind", MAKERS)
@given(text=TEXTS, data=st.data())
def test_every_edit_costs_what_it_says(kind, text, data):
    make, cost = MAKERS[kind]
    i = data.draw(st.integers(0, len(text) - 1))
    for new in make(text, i):
        assert 0 < edits(text, new, 10) <= cost


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("deletion", {"fee"}),
        ("swap", {"fere"}),
        ("doubled letter", {"frree"}),
        ("neighbouring key", {"feee", "ftee", "fdee", "ffee", "f4ee", "f5ee"}),
        ("compatibility character", {"f\uff52ee", "f\U0001d5cbee"}),
        ("directional reordering", {"f\u202eer\u202ce"}),
        ("case", {"fRee"}),
        ("digit for letter", set()),
        ("white space", {"f ree"}),
    ],
)
def test_edits_of_the_second_letter(kind, made):
    assert set(MAKERS[kind][0]("free", 1)) == made


@pytest.mark.parametrize(
    "kind",
    [
        "lookalike",
        "invisible character",
        "directional mark",
        "directional reordering",
        "compatibility character",
    ],
)
@given(text=st.text(st.sampled_from("abeghosSTZ1 "), min_size=2, max_size=10), data=st.data())
def test_a_reader_sees_no_difference(kind, text, data):
    i = data.draw(st.integers(0, len(text) - 1))
    for new in MAKERS[kind][0](text, i):
        assert new != text
        assert normalised(new) == text


def test_short_texts_are_probed_by_character_and_long_ones_by_words():
    moves = CharacterMoves(variety=1, places=4)
    assert moves.probes("abc") == [Probe("bc", 0, 1), Probe("ac", 1, 2), Probe("ab", 2, 3)]
    assert moves.probes("aa bb cc") == [Probe(" bb cc", 0, 2), Probe("aa  cc", 3, 5), Probe("aa bb ", 6, 8)]
    joined = moves.probes(" ".join("abcdefghij"))
    assert [(p.start, p.end) for p in joined] == [(0, 5), (6, 11), (12, 17), (18, 19)]
    assert moves.probes("") == []
    assert moves.probes("      ") == []  # nothing but white space, too long to be probed


def test_variety_bounds_the_variants_of_a_kind():
    random = np.random.default_rng(0)
    moves = CharacterMoves(variety=2, places=100, kinds=("invisible character", "deletion"))
    found = moves.moves("free", Probe("", 1, 2), random)
    assert [move.kind for move in found] == ["invisible character"] * 2 + ["deletion"]
    assert all(move.cost == 1 for move in found)
    long = CharacterMoves(variety=2, places=2, kinds=("deletion",)).moves(
        "free prize", Probe("", 0, 10), random
    )
    assert len(long) == 2


def test_neighbours(word_vectors):
    near = Neighbours(word_vectors, 0.7)
    assert near.of("film", 5) == ("movie", "picture")
    assert near.of("film", 1) == ("movie",)
    assert near.of("FILM", 5) == ("MOVIE", "PICTURE")
    assert near.of("Film", 5) == ("Movie", "Picture")
    assert near.of("paris", 5) == ()  # its vector is that of the capitalised word alone
    assert near.of("unknown", 5) == ()
    assert near.cosine("Good", "fine") == pytest.approx(np.cos(0.2), abs=1e-6)
    assert near.cosine("good", "unknown") == -1


def test_words_are_replaced_one_at_a_time(word_vectors):
    moves = WordMoves(Neighbours(word_vectors, 0.7), variety=2, places=10)
    probes = moves.probes("a good film!")
    assert [(p.text, p.start, p.end) for p in probes] == [("a  film!", 2, 6), ("a good !", 7, 11)]
    found = moves.moves("a good film!", probes[1], np.random.default_rng(0))
    assert [move.text for move in found] == ["a good movie!", "a good picture!"]
    assert WordMoves(Neighbours(word_vectors, 0.7), variety=2, places=1).probes("good film") == [
        Probe(" film", 0, 4)
    ]
