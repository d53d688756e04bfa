from __future__ import annotations

import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.claim import Bracket, Claim, Interval
from modelward.core.evidence import Cost
from modelward.reporting import text


def claim(**changes):
    base = Claim(id="accuracy", statement="s", scope={}, n=10, cost=Cost(), evidence=())
    return msgspec.structs.replace(base, **changes)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain words", "plain words"),
        ("  two \n lines\t", "two lines"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("\x9b2J", "\\x9b2J"),
        ("nul\x00", "nul\\x00"),
        ("gpj\u202eexe", "gpj\\u202eexe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("\udcff", "\\udcff"),
        ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),  # Persian needs the joiner
        ("<b>&\"'", "<b>&\"'"),
        ("größe Ω 漢字", "größe Ω 漢字"),
    ],
)
def test_clean_makes_the_invisible_visible(raw, shown):
    assert text.clean(raw) == shown


def test_clean_counts_what_it_cuts():
    assert text.clean("x" * 10_000, 100) == "x" * 100 + "… (9,900 more characters)"
    assert text.clean("x" * 100, 100) == "x" * 100


@given(st.text(st.characters(codec=None), max_size=300), st.integers(1, 400))
def test_clean_never_leaves_a_control_or_direction_character(raw, limit):
    shown = text.clean(raw, limit)
    for char in shown:
        assert unicodedata.category(char) not in {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
        assert unicodedata.bidirectional(char) not in {
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        }
    assert len(shown) <= limit + 40
    shown.encode()


def test_plain_replaces_what_json_cannot_hold():
    nested = {"a": [float("nan"), float("inf"), 1.5], "\udcff": "x\udc00", "deep": {"t": (1, None, True)}}
    assert text.plain(nested) == {
        "a": [None, None, 1.5],
        "\\udcff": "x\\udc00",
        "deep": {"t": [1, None, True]},
    }


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0.0 %"),
        (1, "100.0 %"),
        (0.715, "71.5 %"),
        (0.99999, "99.9 %"),
        (0.00001, "0.001 %"),
        (0.5, "50.0 %"),
    ],
)
def test_percent_rounds_neither_to_all_nor_to_nothing(share, shown):
    assert text.percent(share) == shown


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_percent_of_a_true_part_is_never_all_or_nothing(share):
    assert text.percent(share) not in {"0.0 %", "0 %", "100.0 %", "100 %"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (12.3, "12 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_seconds(value, shown):
    assert text.seconds(value) == shown


def test_cost_leaves_out_what_was_not_spent():
    assert text.cost_text(Cost(seconds=1, queries=1200)) == "1.0 s · 1,200 queries"
    assert text.cost_text(Cost()) == "0.0 s"
    assert text.samples_text(Cost(forward=2, backward=1)) == "2 forward · 1 backward"


@pytest.mark.parametrize(("count", "shown"), [(0, "no findings"), (1, "1 finding"), (1200, "1,200 findings")])
def test_plural(count, shown):
    assert text.plural(count, "finding") == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "none"),
        (True, "yes"),
        (3, "3"),
        (12345, "12,345"),
        (0.123456, "0.1235"),
        (float("inf"), "not finite"),
        ([1, 8, 8], "1, 8, 8"),
        (list(range(500)), "list of 500"),
        ([[1, 2], [3]], "list of 2"),
        ({"a": 1, "b": [1, 2]}, "a 1, b 1, 2"),
        ("a\u202eb", "a\\u202eb"),
    ],
)
def test_value_text(value, shown):
    assert text.value_text(value) == shown


def test_scope_puts_norm_and_eps_first_and_the_unit_beside_the_box():
    scope = {
        "box": {"lower": 0.0, "upper": 1.0, "unit": "box width", "source": "stated"},
        "eps": 0.1,
        "norm": "linf",
    }
    assert text.scope_text(scope) == "L∞ · eps 0.1 · box 0 to 1, unit box width"
    assert text.scope_text({**scope, "unit": "box width"}) == "L∞ · eps 0.1 · box 0 to 1 · unit box width"
    assert text.scope_text({}) == ""
    alike = {"similarity": {"levenshtein": 0.8, "trigrams": 0.5}}
    assert text.scope_text({"box": alike}) == "similarity levenshtein 0.8, trigrams 0.5"


@pytest.mark.parametrize(
    ("bracket", "words", "short"),
    [
        (Bracket(0.25, 0.75), ("25.0 % proved", "50.0 % undecided", "25.0 % broken"), "25.0 % to 75.0 %"),
        (Bracket(None, 0.5), ("nothing proved", "50.0 % undecided", "50.0 % broken"), "? to 50.0 %"),
        (Bracket(0.5, None), ("50.0 % proved", "50.0 % undecided", "no attack ran"), "50.0 % to ?"),
        (Bracket(None, None), ("nothing proved", "100.0 % undecided", "no attack ran"), "? to ?"),
    ],
)
def test_bracket_words_keep_unknown_apart_from_zero(bracket, words, short):
    assert text.bracket_words(bracket) == words
    assert text.claim_text(claim(bracket=bracket)) == short


def test_claim_text_of_values():
    assert text.claim_text(claim()) == "unknown"
    assert text.claim_text(claim(value=0.5)) == "0.500"
    assert text.claim_text(claim(value=0.5, interval=Interval(0.4, 0.6, 0.95))) == "0.500 (0.400 to 0.600)"


def test_only_shares_are_drawn():
    assert text.is_share(claim(bracket=Bracket(None, None)))
    assert text.is_share(claim(value=1.0))
    assert not text.is_share(claim(value=-0.2))
    assert not text.is_share(claim(value=0.9, interval=Interval(0.8, 1.2, 0.9)))
    assert not text.is_share(claim())


def test_a_box_of_a_table_is_not_one_range():
    box = {"lower": 0.0, "upper": 1_484_705.0, "unit": "training range", "source": "training data"}
    said = text.scope_text({"norm": "linf", "eps": 0.05, "unit": "training range", "box": box})
    assert "box each feature's own range, training data" in said
    assert "1,484,705" not in said


def test_what_proofs_sent_backward_is_named_beside_the_samples():
    cost = Cost(seconds=1, forward=12_000, backward=8_000, bounds=1_500_000, queries=3)
    assert text.samples_text(cost) == "12,000 forward · 8,000 backward · 1,500,000 bounds · 3 queries"
