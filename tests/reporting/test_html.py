from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import resources

import msgspec
import pytest
from jinja2 import UndefinedError

from modelward.core.claim import Claim
from modelward.core.evidence import Cost
from modelward.reporting import html as room
from modelward.reporting.html import MAX_BYTES, IndexEntry, key_claims, to_html, to_index_html
from modelward.reporting.view import Limits, page_view, place

NAMES = ("fail", "pass", "unknown", "nothing", "skipped", "crowd", "hostile")
VOID = {"meta", "path", "rect", "line", "circle", "img", "br", "link", "input"}
ALLOWED = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "a",
        "header",
        "div",
        "span",
        "svg",
        "defs",
        "pattern",
        "rect",
        "figure",
        "figcaption",
        "g",
    ),
    *(
        "path",
        "line",
        "circle",
        "text",
        "desc",
        "main",
        "section",
        "article",
        "nav",
        "footer",
        "h1",
        "h2",
        "h3",
        "p",
    ),
    *(
        "b",
        "abbr",
        "ul",
        "li",
        "dl",
        "dt",
        "dd",
        "details",
        "summary",
        "pre",
        "code",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    ),
}


class Page(HTMLParser):
    """Tags, attributes, text and ids of a page; complains when tags do not nest."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.tags = []
        self.text = []
        self.open = []
        self.styles = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.styles if self.open[-1:] == ["style"] else self.text).append(data)

    def values(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def pages(audits, glossary):
    made = {name: to_html(audit, glossary=glossary) for name, audit in audits.items()}
    entries = [
        IndexEntry(name=f"<{name}>", href=f"{name}/report.html", result=audit)
        for name, audit in audits.items()
    ]
    made["index"] = to_index_html(entries)
    return {name: (source, Page(source)) for name, source in made.items()}


EVERY = (*NAMES, "index")


@pytest.mark.parametrize("name", EVERY)
def test_it_is_self_contained_and_runs_nothing(name, pages):
    source, page = pages[name]
    assert {tag for tag, _ in page.tags} <= ALLOWED
    for tag, attrs in page.tags:
        assert not any(
            key.startswith("on") or key in {"style", "src", "srcset", "xlink:href"} for key in attrs
        ), tag
    for href in page.values("href"):
        assert href.startswith("#") or re.fullmatch(r"[a-z]+/report\.html", href)
    for fill in page.values("fill"):
        assert fill == "url(#hatch)"
    assert "@import" not in source
    assert not re.search(r"url\((?!#hatch\))", source)


@pytest.mark.parametrize("name", EVERY)
def test_the_policy_names_the_only_style(name, pages):
    _, page = pages[name]
    policies = [
        attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    sheet = "".join(page.styles)
    expected = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    assert policies == [
        f"default-src 'none'; style-src 'sha256-{expected}'; base-uri 'none'; form-action 'none'"
    ]
    assert [tag for tag, _ in page.tags].count("style") == 1


@pytest.mark.parametrize("name", EVERY)
def test_anchors_are_unique_and_every_link_lands(name, pages):
    _, page = pages[name]
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {href[1:] for href in page.values("href") if href.startswith("#")} <= set(ids)
    for label in page.values("aria-labelledby"):
        assert set(label.split()) <= set(ids)


@pytest.mark.parametrize("name", EVERY)
def test_it_is_small(name, pages):
    assert len(pages[name][0].encode()) < 200_000


def test_however_much_there_is_the_page_stays_below_its_limit(audits):
    text = "<&'\">" * 2000
    finding = msgspec.structs.replace(
        audits["fail"].findings[0], title=text, message=text, remedy=text, location=text
    )
    claim = msgspec.structs.replace(audits["fail"].claims[0], statement=text, note=text, scope={text: text})
    flood = msgspec.structs.replace(audits["fail"], findings=(finding,) * 900, claims=(claim,) * 900)
    source = to_html(flood)
    assert len(source.encode()) <= MAX_BYTES
    words = Page(source).words
    assert "more entries are left off this page" in words
    assert "Findings 900 900 high" in words
    assert "Claims 900 of 1 kind" in words


@pytest.mark.parametrize("name", EVERY)
def test_it_has_one_h1_a_language_a_title_and_named_sections(name, pages):
    _, page = pages[name]
    tags = [tag for tag, _ in page.tags]
    assert tags.count("h1") == 1
    assert tags.count("main") == 1
    assert ("html", {"lang": "en"}) in page.tags
    for tag, attrs in page.tags:
        if tag == "svg":
            assert attrs.get("aria-hidden") == "true" or (attrs["role"] == "img" and attrs["aria-labelledby"])


def test_the_order_of_the_page(pages):
    ids = pages["fail"][1].values("id")
    order = ["verdict", "risks", "measured", "unseen", "checks", "provenance"]
    assert [ident for ident in ids if ident in order] == order


def test_everything_an_auditor_asks_for_is_there(pages, audits):
    words, audit = pages["fail"][1].words, audits["fail"]
    for reason in audit.verdict.reasons:
        assert reason.requirement in words
        assert reason.detail in words
    for finding in audit.findings:
        for part in (finding.title, finding.message, finding.remedy, finding.rule, finding.location):
            assert part in words
    for claim in audit.claims:
        assert claim.statement in words
        assert claim.note in words
        assert f"n = {claim.n}" in words
    for skipped in audit.skipped:
        assert skipped.reason in words
    for subject in audit.subjects:
        assert subject.digest in words
    for run in audit.checks:
        assert run.check in words
        for evidence in run.evidence:
            assert evidence.digest in words
            assert str(evidence.seed) in words
    assert words.count(audit.command) == len(audit.checks) + 1
    assert audit.ledger_head in words
    assert audit.run in words
    assert "torch 2.13.0" in words
    assert "Cut short by the budget: queries" in words
    assert "Maps to AML.T0043" in words
    assert ("abbr", {"class": "tag mono", "title": "Craft Adversarial Data"}) in pages["fail"][1].tags


def test_a_place_that_the_message_names_is_not_told_twice(audits):
    finding = msgspec.structs.replace(
        audits["fail"].findings[0], message="Column age decides.", location="age"
    )
    told = msgspec.structs.replace(finding, location="a/" + "long/" * 60)
    assert place(finding) == ""
    assert len(place(told)) < 120
    assert place(told).startswith("a/long/")


def test_evidence_of_a_finding_links_to_the_check_that_recorded_it(pages, audits):
    source, _ = pages["fail"]
    digest = audits["fail"].findings[0].evidence[0]
    found = re.search(rf'<a class="hash" href="#(e\d+-\d+)">{digest[:8]}</a>', source)
    row = source[source.index(f'<tr id="{found[1]}">') :]
    assert digest in row[: row.index("</tr>")]


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("pass", "Pass Every requirement holds."),
        ("fail", "Fail At least"),
        ("unknown", "Unknown Nothing is refuted"),
    ],
)
def test_the_verdict_comes_first(name, heading, pages):
    assert heading in pages[name][1].words


def test_nothing_measured_looks_like_nothing_measured(pages):
    words = pages["nothing"][1].words
    for part in (
        "No check was started, so none could.",
        "No claim was made.",
        "Everything. No check was planned.",
    ):
        assert part in words
    assert "Every planned check ran" not in words


def test_everything_skipped_says_so_for_each(pages, audits):
    words = pages["skipped"][1].words
    assert words.count("The budget was spent before it began.") == len(audits["skipped"].skipped)
    assert "0 of 7 ran to their end" in words


def test_a_crowd_is_folded_but_complete_and_worst_first(pages, audits):
    source, page = pages["crowd"]
    assert "94 more findings" in page.words
    for i in range(100):
        assert f"column {i}" in page.words
    order = [source.index(f'class="sev {name}"') for name in ("critical", "high", "medium", "low", "info")]
    assert order == sorted(order)


def test_hostile_text_is_shown_and_never_obeyed(pages, audits):
    for name in ("hostile", "index"):
        source, _ = pages[name]
        assert "<script" not in source
        assert "<img" not in source
        assert "onload=alert(1)>" not in source
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff]", source)
        source.encode()
    words = pages["hostile"][1].words
    assert "<script>alert(1)</script>" in words
    assert "{{ 7*7 }}{% raw %}" in words
    assert "49" not in {word for word in words.split() if len(word) == 2}
    assert "invoice\\u202egpj.exe" in words
    assert "more characters)" in words


@pytest.mark.parametrize(
    "raw", ["<script>alert(1)</script>", "\"'><img src=x>", "</style><b>", "</title><b>", "--><b>"]
)
def test_every_text_of_a_result_is_escaped(raw, audits):
    """Replace each string of the plain result, one audit with all of them, and look for the raw form."""

    def poison(value):
        if isinstance(value, str):
            return value + raw
        if isinstance(value, dict):
            return {key + raw: poison(item) for key, item in value.items()}
        if isinstance(value, list):
            return [poison(item) for item in value]
        return value

    keep = {"severity", "confidence", "status", "outcome", "kind", "identity", "basis", "better", "state"}

    def poison_struct(struct):
        changed = {}
        for field in struct.__struct_fields__:
            value = getattr(struct, field)
            if field in keep and isinstance(value, str | None):
                continue
            if isinstance(value, msgspec.Struct):
                changed[field] = poison_struct(value)
            elif isinstance(value, tuple):
                changed[field] = tuple(
                    poison_struct(v) if isinstance(v, msgspec.Struct) else poison(v) for v in value
                )
            else:
                changed[field] = poison(value)
        return msgspec.structs.replace(struct, **changed)

    audit = poison_struct(audits["fail"])

    def explained(result, words):
        references = [(*finding.techniques, *finding.controls) for finding in result.findings]
        return to_html(result, glossary={ref: words for listed in references for ref in listed})

    source, clean = explained(audit, raw), explained(audits["fail"], "words")
    assert source.count(raw) == clean.count(raw) == 0
    assert [tag for tag, _ in Page(source).tags].count("script") == 0
    sweep = {
        "figure",
        "figcaption",
        "g",
    }  # poisoned keys of a scope are no radius, so nothing is drawn over it
    assert {tag for tag, _ in Page(source).tags} == {tag for tag, _ in Page(clean).tags} - sweep


def test_no_row_of_data_is_shown(audits, pages):
    assert "survived" not in pages["fail"][1].words


def test_an_asserted_identity_is_marked(audits):
    subject = msgspec.structs.replace(audits["fail"].subjects[0], identity="asserted")
    assert (
        "Asserted identity"
        in Page(to_html(msgspec.structs.replace(audits["fail"], subjects=(subject,)))).words
    )
    assert "Asserted identity" not in Page(to_html(audits["fail"])).words


def test_index_lists_the_worst_first_and_links_each(pages, audits):
    source, page = pages["index"]
    outcomes = re.findall(r'class="card entry (\w+)"', source)
    order = ("fail", "unknown", "pass")
    assert outcomes == sorted(outcomes, key=order.index)
    assert len(outcomes) == len(audits)
    assert sorted(page.values("href"))[1:] == sorted(f"{name}/report.html" for name in audits)
    assert "7 audits · 3 fail · 3 unknown · 1 pass" in page.words
    assert "Robust accuracy L∞ · eps 0.03 71.5 % to 90.5 %" in page.words


@pytest.mark.parametrize(
    ("href", "safe"),
    [
        ("javascript:alert(1)", "javascript%3Aalert%281%29"),
        ("//evil.example/x", "evil.example/x"),
        ("a b/r.html", "a%20b/r.html"),
        ("images\\r.html", "images/r.html"),
        ('"><b>', "%22%3E%3Cb%3E"),
    ],
)
def test_an_index_link_is_a_relative_path_whatever_it_was(href, safe, audits):
    page = Page(to_index_html([IndexEntry(name="n", href=href, result=audits["pass"])]))
    assert page.values("href") == ["#main", safe]


def test_an_empty_index():
    assert "No audit yet." in Page(to_index_html([], title="Nothing & more")).words


def test_key_claims_prefer_accuracy_then_brackets_then_the_policys(audits):
    ids = [claim.id for claim in key_claims(audits["fail"].claims, 6)]
    assert ids == ["accuracy", *["robust-accuracy"] * 4, "membership-auc"]


def test_only_our_own_drawings_are_marked_safe():
    folder = resources.files("modelward.reporting").joinpath("templates")
    marked = [
        m for path in folder.iterdir() for m in re.findall(r"([\w.]+) \| safe", path.read_text("utf-8"))
    ]
    assert set(marked) == {"css", "defs", "axis", "c.chart", "p.chart", "s.picture", "claim.chart"}
    assert not any("autoescape" in path.read_text("utf-8") for path in folder.iterdir())


@pytest.mark.parametrize("module", ["html", "terminal", "sarif", "json_report", "view"])
def test_importing_a_report_imports_no_renderer(module):
    code = f"import sys, modelward.reporting.{module}; print([m for m in ('rich', 'jinja2', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_templates_refuse_undefined_names():
    with pytest.raises(UndefinedError):
        room._environment().from_string("{{ nothing_of_the_kind }}").render()


def test_values_of_unknown_kinds_come_after_the_catalogues(audits):
    new = Claim(id="zz-new", statement="s", scope={}, value=0.5, n=1, cost=Cost(), evidence=())
    view = page_view(
        msgspec.structs.replace(audits["fail"], claims=(new, *audits["fail"].claims)), {}, Limits()
    )
    assert [group.title for group in view.groups] == ["Robust accuracy", "Measured values"]
    labels = [row.label for row in view.groups[1].claims]
    assert (labels[0], labels[-1]) == ("Accuracy", "Zz new")


def _variables(sheet, *, dark):
    start = sheet.index("prefers-color-scheme: dark") if dark else 0
    block = sheet[start : sheet.index("--shadow", start)]
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})\b", block))


def _luminance(color):
    """WCAG 2.2, relative luminance."""
    digits = color[1:] if len(color) == 7 else "".join(2 * char for char in color[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one, two):
    high, low = sorted((_luminance(one), _luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


TEXT = [(ink, ground) for ink in ("ink", "soft", "muted", "link") for ground in ("bg", "card", "sunk")]
TEXT += [(tone, ground) for tone in ("good", "bad", "open") for ground in ("card", f"{tone}-bg")]
TEXT += [
    ("ink", "open-bg"),
    ("muted", "bad-bg"),
    ("muted", "open-bg"),
    ("soft", "bad-bg"),
    ("proved", "card"),
    ("broken-ink", "card"),
    ("card", "bad"),
]
SHAPES = [
    ("proved", "card"),
    ("broken", "card"),
    ("gap-b", "card"),
    ("good", "card"),
    ("bad", "card"),
    ("open", "card"),
]


@pytest.mark.parametrize("dark", [False, True])
def test_contrast_meets_wcag_aa(dark):
    sheet = resources.files("modelward.reporting").joinpath("templates/report.css").read_text("utf-8")
    colors = _variables(sheet, dark=dark)
    assert colors["bg"] != "#fff"
    weak = {pair: round(_contrast(colors[pair[0]], colors[pair[1]]), 2) for pair in TEXT}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}
    faint = {pair: round(_contrast(colors[pair[0]], colors[pair[1]]), 2) for pair in SHAPES}
    assert {pair: ratio for pair, ratio in faint.items() if ratio < 3} == {}
