import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.check import Settings, Similarity
from modelward.threats.evasion.text.threat import TextThreat, text_scope, text_threats, words_replaced
from modelward.threats.evasion.text.words import Neighbours

LONG = "claim your free prize now"


@pytest.mark.parametrize(
    ("eps", "text", "admitted"),
    [
        (1, "claim your fre prize now", True),
        (1, "claim your fre prze now", False),
        (2, "claim your fre prze now", True),
        (1, "claim your fere prize now", True),
        (0.04, "claim your fre prize now", True),  # 25 characters
        (0.03, "claim your fre prize now", False),
        (5, "claim \u202eyuor\u202c free prize now", True),
        (9, "claim xxxx xxxx prize now", False),  # more than a fifth of the characters
        (5, "cl\u200bai\u200bm yo\u200bur fr\u200bee\u200b prize now", True),
        (1, LONG, True),
    ],
)
def test_edits_within_reach(eps, text, admitted):
    assert TextThreat("edits", eps).admits(LONG, text) is admitted


def test_short_texts_admit_nothing():
    assert not TextThreat("edits", 5).admits("ok", "o")
    assert TextThreat("edits", 5).room("ok") == 0
    assert TextThreat("edits", 5).room("hello") == 1


def test_half_of_the_trigrams_must_stay():
    text = "abcdefghijklmnopqrstuvwxy"  # every third character of five changed touches 15 of 27 trigrams
    other = "abXdefXhijXlmnXpqrXtuvwxy"
    assert not TextThreat("edits", 5).admits(text, other)
    assert TextThreat("edits", 5).admits(text, "abXXXXXhijklmnopqrstuvwxy")


@given(st.text(max_size=60), st.sampled_from([1.0, 3.0, 0.1, 0.5]))
def test_room_is_never_less_than_what_is_admitted(text, eps):
    threat = TextThreat("edits", eps)
    inserted = text + "\u200b" * (threat.room(text) + 1)
    assert not threat.admits(text, inserted)


@pytest.mark.parametrize(
    ("floors", "text", "admitted"),
    [
        ({}, "claim your fre prze now", True),
        ({"levenshtein": 0.95}, "claim your fre prze now", False),  # 2 of 25 characters
        ({"levenshtein": 0.92}, "claim your fre prze now", True),
        ({"trigrams": 0.95}, "claim your fre prze now", False),
        ({"levenshtein": 1.0}, LONG, True),
        ({"levenshtein": 1.0}, LONG + "!", False),
        ({}, "cXaim XourXXfreX XXizX noX", False),
        ({"levenshtein": 0.0, "trigrams": 0.0}, "cXaim XourXXfreX XXizX noX", True),
    ],
)
def test_floors_are_the_users(floors, text, admitted):
    assert TextThreat("edits", 9, Similarity(**floors)).admits(LONG, text) is admitted


def test_a_stricter_floor_leaves_less_room():
    rooms = [TextThreat("edits", 50, Similarity(levenshtein=f)).room(LONG * 2) for f in (0, 0.5, 0.8, 0.9, 1)]
    assert rooms == [50, 50, 12, 5, 0]


@given(
    st.text(min_size=1, max_size=40), st.text(max_size=40),
    st.lists(st.floats(0, 1), min_size=2, max_size=2), st.lists(st.floats(0, 1), min_size=2, max_size=2),
)  # fmt: skip
def test_what_a_stricter_floor_admits_a_weaker_one_admits(original, text, edited, shared):
    (weak, strict), (few, many) = sorted(edited), sorted(shared)
    hard = TextThreat("edits", 20, Similarity(levenshtein=strict, trigrams=many))
    easy = TextThreat("edits", 20, Similarity(levenshtein=weak, trigrams=few))
    assert easy.admits(original, text) or not hard.admits(original, text)


def test_floors_of_words(word_vectors):
    near = Neighbours(word_vectors, 0.0)
    cosine = near.cosine("good", "fine")
    for floor, admitted in ((cosine - 1e-6, True), (cosine + 1e-6, False)):
        threat = TextThreat("words", 2, Similarity(cosine=floor))
        assert threat.admits("a good film", "a fine film", near) is admitted
        assert text_scope(threat)["box"] == {"similarity": {"cosine": floor}}


def test_floors_are_part_of_every_threat_and_scope():
    floors = Similarity(levenshtein=0.9, trigrams=0.6, cosine=0.8)
    found = text_threats(Settings(similarity=floors), words=True)
    assert {threat.floors for threat in found} == {floors}
    assert text_scope(found[0])["box"] == {"similarity": {"levenshtein": 0.9, "trigrams": 0.6}}


def test_sizes():
    assert TextThreat("edits", 2).size(LONG, "claim your fre prze now") == 2
    assert TextThreat("edits", 0.1).size(LONG, "claim your fre prze now") == 2 / 25
    assert TextThreat("words", 2).size("a good film", "a fine movie") == 2


def test_words_within_reach(word_vectors):
    near = Neighbours(word_vectors, 0.7)
    two = TextThreat("words", 2)
    assert two.admits("a good film!", "a fine movie!", near)
    assert not TextThreat("words", 1).admits("a good film!", "a fine movie!", near)
    assert not two.admits("a good film!", "a bad film!", near)
    assert not two.admits("a good film!", "a fine film", near)
    assert not two.admits("a good film!", "a fine film!")
    assert words_replaced("a b", "a  b") is None
    assert words_replaced("a b", "c b") == 1
    assert two.room("any") == 2


def test_bounds_of_a_run():
    assert [(t.kind, t.eps) for t in text_threats(Settings(), words=False)] == [
        ("edits", 1.0),
        ("edits", 2.0),
        ("edits", 5.0),
    ]
    settings = Settings(eps=(0.1, 3.0, 1.0, 3.0))
    assert [(t.kind, t.eps) for t in text_threats(settings, words=True)] == [
        ("edits", 1.0),
        ("edits", 3.0),
        ("edits", 0.1),
        ("words", 1.0),
        ("words", 3.0),
    ]


def test_scope_names_the_unit():
    assert text_scope(TextThreat("edits", 2.0))["unit"] == "edits"
    assert text_scope(TextThreat("edits", 0.1))["unit"] == "of the characters"
    words = text_scope(TextThreat("words", 1.0))
    assert (words["norm"], words["unit"], words["box"]) == (
        "words",
        "words",
        {"similarity": {"cosine": 0.7}},
    )
