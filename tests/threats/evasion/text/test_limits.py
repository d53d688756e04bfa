"""Budgets that end at every stage of an attack on texts, models that raise, and what must hold of all witnesses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.errors import ModelRaised
from modelward.threats.evasion.text.measure import changed, edits, trigrams
from modelward.threats.evasion.text.threat import TextThreat, words_replaced

SPAM = "claim your free prize now please"
HAM = "see you at the meeting tomorrow"


def free(text):
    return text.split().count("free") - 0.5


@pytest.mark.parametrize("queries", [1, 2, 3, 5, 10, 34, 35, 60, 100, 200, 400, 800])
def test_a_budget_is_never_exceeded_and_what_was_found_is_kept(attack, text_model, queries):
    from modelward.core.budget import Budget

    model = text_model(free)
    found, store, meter = attack(
        [SPAM, HAM], ["yes", "no"], model, eps=(1.0, 2.0), preset="quick", budget=Budget(queries=queries)
    )
    assert model.asked == meter.cost.queries <= queries
    assert any(item.cut == "queries" for item in found) or queries >= 200
    for item in found:
        assert set(item.outcome.get("broken", [])) <= set(item.outcome.get("attacked", []))
        assert item.n in {0, 2}
        assert bool(item.outcome.get("broken")) == bool(item.attachments)
        # What could not be asked about each defence is unknown, and not none.
        assert item.outcome.get("removed_by") is None or all(
            isinstance(count, int) for count in item.outcome["removed_by"].values()
        )
    assert len(store.held) == sum(bool(item.attachments) for item in found)


def test_what_a_small_bound_broke_a_larger_one_inherits(attack, text_model):
    found, _, _ = attack([SPAM, HAM], ["yes", "no"], text_model(free), eps=(1.0, 2.0, 3.0), preset="quick")
    broken = [set(item.outcome["broken"]) for item in found]
    assert broken[0] <= broken[1] <= broken[2]
    assert [item.outcome["inherited"] for item in found] == [0, len(broken[0]), len(broken[1])]
    assert all(size <= item.parameters["eps"] for item in found for size in item.outcome["sizes"])


@pytest.mark.parametrize("eps", [1.0, 2.0, 0.1])
def test_every_stored_witness_holds_by_definitions_written_anew(attack, text_model, alignment_distance, eps):
    texts = [SPAM, HAM, "free entry today for all of you", "win a free cash prize this weekend"]
    found, store, _ = attack(texts, ["yes", "no", "yes", "yes"], text_model(free), eps=(eps,), preset="quick")
    (item,), (held,) = found, store.held
    assert len(item.outcome["broken"]) >= 3
    for x, original, spans, size in zip(
        held["x"], held["original"], held["changed"], item.outcome["sizes"], strict=True
    ):
        far = alignment_distance(original, x)
        most = eps if eps >= 1 else eps * len(original)
        assert 0 < far <= most
        assert 1 - far / max(len(original), len(x)) >= 0.8 - 1e-9
        assert size == pytest.approx(far if eps >= 1 else far / len(original))
        assert (free(x) > 0) != (free(original) > 0)
        assert [tuple(span) for span in json.loads(str(spans))] == changed(original, x)


def test_a_model_that_raises_on_half_of_what_it_is_asked(attack, text_model):
    """Odd characters are too much for it: such a text is a witness, and booked alone."""

    def answer(text):
        if not text.isascii():
            raise ModelRaised("not ASCII")
        return free(text)

    model = text_model(answer)
    found, store, meter = attack([HAM, SPAM], ["no", "yes"], model, eps=(1.0,), preset="quick")
    assert model.asked == meter.cost.queries
    assert found[0].outcome["broken"] == [0, 1]
    at = list(held := store.held[0]["index"]).index(0)
    assert len(held) == 2
    assert not str(store.held[0]["x"][at]).isascii()
    assert store.held[0]["prediction"][at] == -1


def test_a_point_that_is_wrong_already_is_not_attacked(attack, text_model):
    (item,), store, _ = attack([SPAM, HAM], ["no", "no"], text_model(free), eps=(1.0,), preset="quick")
    assert item.outcome["correct"] == [1]
    assert item.outcome["attacked"] == [1]
    assert item.outcome["broken"] == []
    assert store.held == []


@pytest.mark.parametrize("text", ["", "a", " ", "\u200b", "   "])
def test_texts_with_no_room_are_not_attacked_and_never_pass_as_tried(attack, text_model, text):
    (item,), _, _ = attack([text, HAM], ["no", "no"], text_model(free), eps=(1.0,), preset="quick")
    assert 0 not in item.outcome["attacked"]
    assert 0 not in item.outcome["broken"]


@given(st.text("abc ", max_size=9), st.text("abc ", max_size=9))
def test_bounds_agree_with_the_whole_table(alignment_distance, left, right):
    """Banded distances, admission and sizes, from one slow distance."""
    far = alignment_distance(left, right)
    for most in range(4):
        assert edits(left, right, most) == min(far, most + 1)
    for eps in (1.0, 2.0, 0.25):
        most = eps if eps >= 1 else int(eps * len(left) + 1e-9)
        alike = 1 - far / max(1, len(left), len(right)) >= 0.8 - 1e-9
        expected = far <= most and alike and trigrams(left, right) >= 0.5
        assert TextThreat("edits", eps).admits(left, right) == expected


@given(st.text("ab", min_size=1, max_size=30), st.integers(0, 29), st.sampled_from("abc"))
@settings(max_examples=60)
def test_edits_beyond_the_room_are_never_admitted(alignment_distance, text, place, letter):
    threat = TextThreat("edits", 5.0)
    worse = text
    for step in range(1, 8):
        worse = worse[:place] + letter + worse[place:]
        if threat.admits(text, worse):
            assert alignment_distance(text, worse) <= threat.room(text)
            assert alignment_distance(text, worse) <= step


@pytest.mark.parametrize(
    ("left", "right", "count"),
    [
        ("a b c", "a b c", 0), ("a b c", "a x c", 1), ("a b c", "x y z", 3), ("a b", "a  b", None), ("a b", "a b c", None),
        ("a, b", "a; b", None), ("", "", 0), ("a", "", None), ("don't", "don't", 0), ("don't", "won't", 1), ("é", "e", 1),
        ("a\nb", "a b", None), ("A", "a", 1),
    ],
)  # fmt: skip
def test_words_are_counted_where_only_words_differ(left, right, count):
    assert words_replaced(left, right) == count
    assert words_replaced(right, left) == count


def test_words_without_vectors_admit_nothing():
    threat = TextThreat("words", 2.0)
    assert not threat.admits("good film", "fine film")
    assert threat.room("good film") == 2
    assert threat.size("good film", "fine film") == 1.0
