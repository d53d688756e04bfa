from __future__ import annotations

import io
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.core.claim import Bracket, Claim, Interval
from modelward.core.evidence import Cost
from modelward.reporting.terminal import MIN_WIDTH, bar, print_result, to_text

NAMES = ("fail", "pass", "unknown", "nothing", "skipped", "crowd", "hostile")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
BASE = Claim(id="c", statement="s", scope={}, n=1, cost=Cost(), evidence=())


class Stream(io.StringIO):
    def __init__(self, encoding, terminal):
        super().__init__()
        self._kind = encoding
        self._terminal = terminal

    @property
    def encoding(self):
        return self._kind

    def isatty(self):
        return self._terminal


@pytest.mark.parametrize("width", [40, 60, 80, 87, 88, 100, 160])
@pytest.mark.parametrize("name", NAMES)
def test_no_line_is_wider_than_the_terminal_but_the_ledger_head(name, width, audits):
    *lines, head = to_text(audits[name], width=width).splitlines()
    assert max(len(line) for line in lines) <= width
    assert head == f"ledger head {audits[name].ledger_head}"


@pytest.mark.parametrize("name", NAMES)
def test_colour_adds_colour_and_nothing_else(name, audits):
    plain, colored = (to_text(audits[name], width=100, color=color) for color in (False, True))
    assert "\x1b" not in plain
    assert "\x1b[" in colored
    assert [line.rstrip() for line in ANSI.sub("", colored).splitlines()] == plain.splitlines()


def test_the_order_is_verdict_reasons_risks_claims_unseen_head(audits):
    text = to_text(audits["fail"], width=100)
    order = ["FAIL", "Requirements not met", "Top risks", "Claims (9)", "Not looked at", "ledger head"]
    places = [text.index(word) for word in order]
    assert places == sorted(places)


def test_everything_that_matters_is_said(audits):
    text = " ".join(to_text(audits["fail"], width=100).split())
    for part in (
        "policy release, 8 requirements: 1 refuted, 2 undecided, 5 met".replace("policy", "Policy"),
        "no finding worse than medium: 1 worse: evasion.fragile",
        "HIGH Small changes flip most decisions",
        "→ Refuse non-finite values",
        "Robust accuracy L∞ n = 200 eps 0.03 ███",
        "71.5 % to 90.5 % ? undecided eps 0.1 ▒▒▒",
        "0.975 (0.953 to 0.987) 360 ✔ holds",
        "evasion.query cut: queries",
        "bias.groups No sensitive column was named",
        "6 of 9 checks finished",
        "seed 7",
    ):
        assert part in text


def test_requirements_that_hold_are_not_listed(audits):
    assert "Requirements not met" not in to_text(audits["pass"])
    assert "membership-auc at most" not in to_text(audits["fail"])


@pytest.mark.parametrize(("name", "word"), [("pass", "✔ PASS"), ("fail", "✘ FAIL"), ("unknown", "? UNKNOWN")])
def test_the_verdict_has_a_sign_and_a_word(name, word, audits):
    assert word in to_text(audits[name]).splitlines()[1]


def test_nothing_measured_is_never_shown_as_good(audits):
    text = to_text(audits["nothing"])
    assert "? UNKNOWN" in text
    assert "No claim was made" in text
    assert "Everything: no check was planned." in text
    assert "every planned check ran" not in text.lower()


def test_a_crowd_is_cut_to_the_worst(audits):
    text = to_text(audits["crowd"], width=100)
    assert text.count("CRITICAL") == 5
    assert "and 95 more, none of them worse" in text


def test_hostile_text_cannot_move_the_cursor_or_mark_up(audits):
    text = to_text(audits["hostile"], width=100, color=True)
    rest = ANSI.sub("", text)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff]", rest)
    assert "[bold]hi[/bold]" in rest


@pytest.mark.parametrize("width", [0, 1, MIN_WIDTH])
def test_below_the_least_width_it_stops_shrinking(width, audits):
    assert to_text(audits["fail"], width=width) == to_text(audits["fail"], width=MIN_WIDTH)


@pytest.mark.parametrize(
    ("claim", "drawn"),
    [
        ({"bracket": Bracket(0.5, 0.75)}, "████▒▒··"),
        ({"bracket": Bracket(None, 0.5)}, "▒▒▒▒····"),
        ({"bracket": Bracket(0.0, 1.0)}, "▒▒▒▒▒▒▒▒"),
        ({"bracket": Bracket(1.0, 1.0)}, "████████"),
        ({"bracket": Bracket(0.01, 0.99)}, "█▒▒▒▒▒▒·"),
        ({"value": 0.5}, "····●···"),
        ({"value": 1.0}, "·······●"),
        ({"value": 0.5, "interval": Interval(0.13, 0.8, 0.9)}, "·├──●─┤·"),
        ({"value": -1.0}, ""),
        ({}, ""),
    ],
)
def test_bars(claim, drawn):
    assert bar(msgspec.structs.replace(BASE, **claim), 8) == drawn


@given(st.floats(0, 1), st.floats(0, 1), st.integers(5, 80))
def test_a_bracket_bar_is_as_long_as_asked_and_hides_no_part(one, two, cells):
    low, high = sorted((one, two))
    drawn = bar(msgspec.structs.replace(BASE, bracket=Bracket(low, high)), cells)
    assert len(drawn) == cells
    assert ("█" in drawn) == (low > 0)
    assert ("▒" in drawn) == (high > low)
    assert ("·" in drawn) == (high < 1)


def test_a_pipe_gets_plain_text_of_80_columns(audits):
    stream = Stream("utf-8", terminal=False)
    print_result(audits["fail"], stream)
    assert stream.getvalue() == to_text(audits["fail"], width=80)


def test_a_terminal_gets_its_width_and_colour(audits, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Stream("utf-8", terminal=True)
    print_result(audits["fail"], stream)
    assert stream.getvalue() == to_text(audits["fail"], width=60, color=True)


def test_no_color_is_respected(audits, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Stream("utf-8", terminal=True)
    print_result(audits["fail"], stream)
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("name", NAMES)
def test_an_old_encoding_gets_stand_ins(name, encoding, audits):
    stream = Stream(encoding, terminal=False)
    print_result(audits[name], stream)
    assert stream.getvalue().encode(encoding)
    assert "L8" not in stream.getvalue()
    assert name in {"nothing", "skipped"} or "proved" in stream.getvalue()


@pytest.mark.parametrize(("name", "width"), [("fail", 100), ("fail", 60), ("pass", 80), ("nothing", 60)])
def test_golden(name, width, audits, golden):
    golden(f"{name}-{width}.txt", to_text(audits[name], width=width).encode())


@pytest.mark.parametrize("width", [60, 100])
def test_radii_of_one_norm_stand_below_each_other_with_bars_of_one_length(width, audits):
    lines = to_text(audits["fail"], width=width).splitlines()
    swept = [line.split() for line in lines if line.startswith("    eps ")]
    assert [words[1] for words in swept] == ["0.03", "0.1", "0.25", "0.75"]
    assert len({len(words[2]) for words in swept}) == 1
    assert {char for words in swept for char in words[2]} == set("█▒·")


def test_a_terminal_too_narrow_for_bars_still_has_the_numbers(audits):
    text = to_text(audits["fail"], width=40)
    assert "eps 0.03" in text
    assert "71.5 % to 90.5 %" in text
