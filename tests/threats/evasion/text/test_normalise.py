import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.threats.evasion.text.characters import (
    CONTROLS,
    INVISIBLE,
    KEYBOARD,
    LEET,
    LOOKALIKES,
    MARKS,
    PROTOTYPE,
    SPACES,
    ignorable,
)
from modelward.threats.evasion.text.normalise import (
    DEFENCES,
    HARMLESS,
    compatible,
    displayed,
    folded,
    lowered,
    normalised,
    spaced,
    unrepeated,
    visible,
)

ODD = "".join([*PROTOTYPE, *INVISIBLE, *CONTROLS, *SPACES, "\ufb01\uff21\u0130\u1e9e\u0645\u03a3\0\ud800"])
TEXTS = st.one_of(
    st.text(st.sampled_from(ODD + string.ascii_letters + "  .!0")),
    st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, categories=None)),
)
PLAIN = st.text(st.sampled_from(string.ascii_letters + string.digits + string.punctuation + " "))


@pytest.mark.parametrize("name", DEFENCES)
@given(text=TEXTS)
def test_once_is_enough(name, text):
    once = DEFENCES[name](text)
    assert DEFENCES[name](once) == once


@pytest.mark.parametrize("name", [name for name in DEFENCES if "NFKC" not in name])
@given(text=TEXTS)
def test_never_longer(name, text):
    assert len(DEFENCES[name](text)) <= len(text)


@given(text=TEXTS)
def test_at_most_eighteen_times_as_long(text):
    assert len(compatible(text)) <= 18 * len(text)


@pytest.mark.parametrize("name", HARMLESS)
@given(text=PLAIN)
def test_printable_ascii_stays(name, text):
    assert DEFENCES[name](text) == text


@given(text=PLAIN)
def test_all_harmless_defences_keep_plain_text(text):
    assert normalised(text) == text


@given(text=TEXTS, names=st.lists(st.sampled_from([*DEFENCES]), unique=True))
def test_several_together_are_stable(text, names):
    once = normalised(text, names)
    assert normalised(once, names) == once


@given(text=PLAIN, data=st.data())
def test_a_lookalike_of_one_letter_in_a_word_is_folded(text, data):
    places = [i for i, c in enumerate(text) if c in LOOKALIKES]
    if not places:
        return
    i = data.draw(st.sampled_from(places))
    other = data.draw(st.sampled_from(LOOKALIKES[text[i]]))
    assert folded(text[:i] + other + text[i + 1 :]) == text


def test_an_underscore_beside_a_lookalike_is_of_no_other_script():
    assert folded("\u3007_") == "0_"


@given(text=PLAIN, place=st.integers(0, 50), char=st.sampled_from([*INVISIBLE]))
def test_an_invisible_character_is_stripped(text, place, char):
    assert visible(text[:place] + char + text[place:]) == text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\u202ecb\u202cd", "abcd"),  # override
        ("a\u202dbc\u202cd", "abcd"),
        ("\u202e\u2066ab\u2069\u2066cd\u2069\u202c", "cdab"),  # isolates move as pieces
        (
            "\u202dx\u2066\u202e\u2066b\u2069\u2066a\u2069\u202c\u2069y\u202c",
            "xaby",
        ),  # Boucher et al., listing 1
        ("\u2067ab\u2069", "ab"),  # Latin letters keep their order in a right-to-left isolate
        ("\u202ecba", "abc"),  # never closed
        ("\u2066a\u202ecb\u2069d", "abcd"),  # the isolate's end also ends what was opened in it
        ("\u202ecb\u2066\u202cd\u2069\u202c", "dbc"),  # an override's end does not reach out of an isolate
        ("a\u202c\u2069b\u200f", "ab"),  # closes nothing
        ("\u202e" * 1000 + "ab", "ba"),  # more levels than the standard has; odd ones all run leftwards
        ("\u202e\u0645\u0631\u202c", "\u0631\u0645"),
        ("", ""),
    ],
)
def test_order_on_screen(text, seen):
    assert displayed(text) == seen


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("fr\u0435e", "free"),
        ("\u0440\u0430\u0443\u0440\u0430l", "paypal".replace("p", "p")),
        ("\u0441\u043e\u0440", "cop"),  # every letter has a Latin double
        (
            "\u043f\u0440\u0438\u0432\u0435\u0442",
            "\u043f\u0440\u0438\u0432\u0435\u0442",
        ),  # a Russian word stays
        ("\u03bb\u03cc\u03b3\u03bf\u03c2", "\u03bb\u03cc\u03b3\u03bf\u03c2"),  # a Greek one too
        ("it\u2019s", "it's"),
        ("caf\u00e9", "caf\u00e9"),
    ],
)
def test_folding(text, plain):
    assert folded(text) == plain


def test_each_by_example():
    assert compatible("\uff26\uff32\uff25\uff25 \ufb01ne \U0001d5ba") == "FREE fine a"
    assert visible("fr\u200bee\u00ad\U000e0061\ufe0f\0 caf\u00e9") == "free caf\u00e9"
    assert visible("line\nbreak\ttab") == "line\nbreak\ttab"
    assert visible("a\u202eb") == "a\u202eb"  # directional controls are another's task
    assert lowered("FREE \u0130") == "free \u0130"
    assert unrepeated("sooooo freee 10000 !!!!") == "soo free 10000 !!!!".replace("free", "free")
    assert spaced(" a\u00a0\u2009b \t\n c ") == "a b c"
    with pytest.raises(KeyError):
        normalised("a", ["magic"])


def test_one_defence_uncovers_work_for_another():
    assert normalised("\uff26r\u200b\u0435\u202eee\u202c", HARMLESS) == "Freee"
    assert (
        normalised("fre\u200be\u200bee", ["invisible characters stripped", "repeated letters shortened"])
        == "free"
    )


def test_table_of_lookalikes():
    for plain, others in LOOKALIKES.items():
        assert plain.isascii()
        for other in others:
            assert not other.isascii()
            assert unicodedata.normalize("NFKC", other) == other  # else NFKC alone would undo it
            assert PROTOTYPE[other] == plain
            assert plain.isalnum() == (plain in string.ascii_letters + string.digits)
    letters = {other: plain for other, plain in PROTOTYPE.items() if plain.isalpha()}
    scripts = {unicodedata.name(other).split()[0] for other in letters}
    assert scripts == {"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "LATIN"}
    for other, plain in letters.items():
        name = unicodedata.name(other)
        if name.startswith("LATIN LETTER SMALL CAPITAL"):
            assert name.endswith(plain.upper())


def test_tables_of_unseen_characters():
    assert all(ignorable(char) for char in INVISIBLE)
    assert not any(ignorable(char) for char in [*CONTROLS, *string.printable, "\u00e9", "\u0645"])
    assert set(MARKS) <= CONTROLS
    assert all(
        unicodedata.bidirectional(c) in {"L", "R", "AL"} or unicodedata.category(c) == "Cf" for c in CONTROLS
    )


def test_keyboard_neighbours_are_mutual():
    assert set(KEYBOARD["g"]) == set("fhtyvb")
    assert all(key in KEYBOARD[other] for key, others in KEYBOARD.items() for other in others)
    assert all(key.isalpha() and digit.isdigit() for key, digit in LEET.items())
