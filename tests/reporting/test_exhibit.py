from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.reporting.exhibit import Cell, Exhibit, Picture, pieces, units
from modelward.reporting.html import MAX_BYTES, to_html
from modelward.reporting.png import png
from modelward.reporting.terminal import to_text
from modelward.reporting.text import spelled

PLAIN = {
    "row": 7,
    "check": "evasion.query",
    "norm": "linf",
    "eps": 0.1,
    "unit": "box width",
    "size": 0.05,
    "label": "cat",
    "prediction": "dog",
    "touched": 3,
}
DOT = png(b"\0", 1, 1, 1)


def exhibit(**more):
    return Exhibit(**PLAIN | more)


def drawn(size=8, colours=1):
    import random

    noise = random.Random(0).randbytes(size * size * colours)
    file = png(noise, size, size, colours)
    return exhibit(
        picture=Picture(width=size, height=size, original=file, change=file, changed=file, gain=4.0)
    )


def row(**more):
    return exhibit(
        cells=(
            Cell(column="income", before="10", after="60", units=0.5),
            Cell(column="town", before="a", after="b"),
        ),
        **more,
    )


def test_a_text_is_cut_where_it_differs():
    found = pieces("a prlze for you", [(4, 5)])
    assert [(p.text, p.changed) for p in found] == [("a pr", False), ("l", True), ("ze for you", False)]
    assert [(p.text, p.changed) for p in pieces("abc", [])] == [("abc", False)]
    gone = pieces("ab", [(1, 1)])
    assert [(p.text, p.changed) for p in gone] == [("a", False), ("", True), ("b", False)]


def test_a_change_at_the_start_is_no_reason_to_show_more_of_what_follows():
    tails = [pieces("x" + "a" * 60, spans)[-1].text for spans in ([(0, 1)], [(0, 0)])]
    assert tails == ["a" * 40 + "…", "x" + "a" * 39 + "…"]


def test_what_cannot_be_seen_is_named():
    (_, odd, _) = pieces("pr\u0456ze", [(2, 3)])
    assert odd.text == "\u0456"
    assert odd.names == "U+0456 CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I"
    (_, unseen, _) = pieces("pr\u200dze", [(2, 3)])
    assert (unseen.text, unseen.names) == ("\\u200d", "U+200D ZERO WIDTH JOINER")


def test_long_stretches_keep_their_ends_at_the_changes():
    text = "a" * 500 + "X" + "b" * 500 + "Y" + "c" * 500
    found = pieces(text, [(500, 501), (1001, 1002)])
    assert [p.text for p in found] == ["…" + "a" * 40, "X", "b" * 40 + "…" + "b" * 40, "Y", "c" * 40 + "…"]


@given(st.text(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_pieces_put_together_are_the_text(text, cuts):
    edges = sorted({min(cut, len(text)) for cut in cuts})
    spans = [*itertools.pairwise(edges)][::2]
    found = pieces(text, spans)
    together = "".join(p.text for p in found)
    if "…" not in together:
        assert together == spelled(text)
    assert sum(p.changed for p in found) == len(spans)
    assert all(char.isprintable() for char in together)


def test_no_row_of_data_is_shown_unless_asked_for(audits):
    page = to_html(audits["fail"])
    assert "Worst witnesses" not in page
    assert "img-src" not in page
    assert "No rows of data are shown." in page
    assert "Worst witnesses" not in to_text(audits["fail"])


def test_pictures_may_be_loaded_from_the_page_itself_only(audits):
    page = to_html(audits["fail"], exhibits=[drawn()])
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.endswith("; img-src data:")
    assert policy.startswith("default-src &#39;none&#39;")
    assert page.count('<img src="data:image/png;base64,') == 3
    assert "change, 4 times as strong" in page
    assert "It shows rows of data." in page
    assert "img-src" not in to_html(audits["fail"], exhibits=[row()])


def test_the_changed_cells_are_a_table(audits):
    page = to_html(audits["fail"], exhibits=[row(touched=14)])
    assert "row 7: cat → dog" in page
    assert "L∞ 0.05 of at most 0.1 box width · 14 cells changed · evasion.query" in page
    assert "<mark>60</mark>" in page
    assert "+0.5" in page
    assert "12 more cells changed." in page


def test_a_text_shows_what_changed_and_escapes_it(audits):
    before, after = pieces("<b>hi</b>", [(1, 2)]), pieces("<\u0431>hi</b>", [(1, 2)])
    page = to_html(audits["fail"], exhibits=[exhibit(before=before, after=after)])
    assert '&lt;<mark title="U+0431 CYRILLIC SMALL LETTER BE">\u0431</mark>&gt;hi&lt;/b&gt;' in page


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "a\u202eb\x1b[31m", '"><img src=x>'])
def test_names_and_values_are_escaped(audits, hostile):
    cell = Cell(column=hostile, before=hostile, after=hostile)
    shown = exhibit(
        label=hostile, prediction=hostile, check=hostile, norm=hostile, unit=hostile, cells=(cell,)
    )
    page = to_html(audits["fail"], exhibits=[shown])
    assert "<script" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "\x1b" not in to_text(audits["fail"], exhibits=[shown])


def test_a_page_is_never_too_large(audits):
    page = to_html(audits["crowd"], exhibits=[drawn(64, 3)] * 50)
    assert len(page.encode()) <= MAX_BYTES
    assert re.search(r"\d+ more would make this page too large", page)
    assert page.count("<img") >= 3


def test_no_witness_is_said(audits):
    assert "No witness was stored." in to_html(audits["pass"], exhibits=[])
    assert "Worst witnesses (0)" in to_text(audits["pass"], exhibits=[])


def test_a_terminal_shows_cells_and_texts(audits):
    text = exhibit(before=pieces("prize", [(2, 3)]), after=pieces("prlze", [(2, 3)]))
    lines = to_text(audits["fail"], width=100, exhibits=[row(), text])
    assert "Worst witnesses (2)" in lines
    assert "income  10 → 60  +0.5 of the range" in lines
    assert "town  a → b" in lines
    assert "pr[i]ze" in lines
    assert "pr[l]ze" in lines
    for line in to_text(audits["fail"], width=60, exhibits=[row(), text]).splitlines():
        assert len(line) <= 64 or "ledger head" in line


def test_changes_beyond_the_last_one_shown_are_counted_and_never_shown_as_unchanged():
    text = "ab" * 30
    spans = [(2 * i + 1, 2 * i + 2) for i in range(30)]
    found = pieces(text, spans)
    assert [p.text for p in found if p.changed] == ["b"] * 24
    assert [p.text for p in found if not p.changed][-2:] == ["a", "… 6 more changes"]
    assert sum("b" in p.text for p in found if not p.changed) == 0
    exact = pieces(text[:48], spans[:24])
    assert sum(p.changed for p in exact) == 24
    assert not any("more change" in p.text for p in exact)
    assert pieces(text[:50], spans[:25])[-1].text == "… 1 more change"


def test_a_long_change_is_cut_and_says_so():
    (piece,) = pieces("x" * 121, [(0, 121)])
    assert piece.text == "x" * 120 + "…"
    (whole,) = pieces("x" * 120, [(0, 120)])
    assert whole.text == "x" * 120


def test_at_most_four_characters_are_named_each_once():
    (piece,) = pieces("\u0430\u0430\u0435\u043e\u0440\u0441", [(0, 6)])
    assert piece.names.count("U+") == 4
    assert piece.names.count("U+0430") == 1
    assert pieces("plain ~", [(0, 7)])[0].names == ""
    assert pieces("\ue000", [(0, 1)])[0].names == "U+E000 without a name"


@pytest.mark.parametrize(("units_", "shown"), [(0.5, "+0.5"), (-1.25, "-1.25"), (None, ""), (0.0, "+0")])
def test_units_are_signed(units_, shown):
    assert units(Cell(column="c", before="1", after="2", units=units_)) == shown


def test_the_json_of_an_exhibit_has_what_is_shown_and_no_picture():
    content = row(prediction=None).to_json()
    assert content["prediction"] is None
    assert content["cells"][0] == {"column": "income", "before": "10", "after": "60", "units": 0.5}
    assert "picture" not in drawn().to_json()
    text = exhibit(before=pieces("ab", [(1, 2)]), after=pieces("ac", [(1, 2)])).to_json()
    assert text["after"] == [{"text": "a", "changed": False}, {"text": "c", "changed": True}]
    assert text["before"][1] == {"text": "b", "changed": True}


def test_titles_and_facts_name_what_was_changed():
    assert exhibit(prediction=None).title == "row 7: cat → no answer"
    assert "3 cells changed" in row().facts
    assert "3 pixels changed" in drawn().facts
    assert "1 place changed" in exhibit(touched=1, after=pieces("a", [(0, 1)])).facts
