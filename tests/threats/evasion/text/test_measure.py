from hypothesis import given
from hypothesis import strategies as st

from modelward.threats.evasion.text.measure import changed, edits, trigrams

SMALL = st.text(st.sampled_from("abc"), max_size=9)


@given(SMALL, SMALL, st.integers(0, 10))
def test_distance_within_the_band(alignment_distance, left, right, most):
    assert edits(left, right, most) == min(alignment_distance(left, right), most + 1)


@given(SMALL, SMALL)
def test_distance_is_symmetric_and_zero_for_equal_texts_only(left, right):
    assert edits(left, right, 20) == edits(right, left, 20)
    assert (edits(left, right, 20) == 0) == (left == right)


@given(SMALL, SMALL)
def test_trigrams(left, right):
    value = trigrams(left, right)
    assert 0 <= value <= 1
    assert value == trigrams(right, left)
    assert trigrams(left, left) == 1


def test_known_values():
    assert edits("ca", "abc", 5) == 3  # the alignment distance; Damerau's unrestricted one is 2
    assert edits("free", "fere", 5) == 1
    assert edits("", "abc", 1) == 2
    assert edits("lone \ud800", "lone \ud801", 3) == 1
    # ..a .ab abc bc. c.. against ..a .ab abd bd. d..: two of five
    assert trigrams("abc", "abd") == 0.4
    assert trigrams("", "") == 1


@given(SMALL, SMALL)
def test_spans_hold_every_difference(left, right):
    spans = changed(left, right)
    assert all(0 <= start <= end <= len(right) for start, end in spans)
    assert spans == sorted(spans)
    kept = "".join(c for i, c in enumerate(right) if not any(start <= i < end for start, end in spans))
    letters = iter(left)
    assert all(c in letters for c in kept)  # what is not marked is in the original, in this order
    assert (spans == []) == (left == right)


def test_spans_of_known_changes():
    assert changed("free prize", "fr\u200bee prize") == [(2, 3)]
    assert changed("free prize", "fre prize") in ([(3, 3)], [(2, 2)])
    assert changed("free", "free") == []
