from datetime import date

import pytest

from modelward.artifact.finding import Finding, Location
from modelward.artifact.suppress import suppress
from modelward.artifact.verdict import inspect_bytes

TODAY = date(2026, 11, 21)


def found(line, rule="source.pickle-load", level="note", member=""):
    return Finding(rule, "high", "m", Location(member, None, line), level=level)


def accepted(text, *findings):
    return [finding.accepted for finding in suppress(findings, text.encode(), TODAY)]


def test_the_line_itself_and_the_line_below_a_comment():
    text = "a\nb  # modelward: ignore[source.pickle-load] our own cache\nc\n# modelward: ignore[source.*] written here\ne\n"
    assert accepted(text, found(1), found(2), found(3), found(5), found(6)) == [
        None,
        "suppressed in the file: our own cache",
        None,
        "suppressed in the file: written here",
        None,
    ]


@pytest.mark.parametrize(
    ("rules", "covered"),
    [
        ("source.pickle-load", True),
        ("source.eval, source.pickle-load", True),
        ("source.*", True),
        ("source.pickle", False),
        ("*", False),
        ("secrets.*", False),
        ("", False),
    ],
)
def test_which_rules_are_covered(rules, covered):
    text = f"x  # modelward: ignore[{rules}] a good reason\n"
    assert (accepted(text, found(1))[0] is not None) is covered


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ("", "no reason"),
        ("  --", "no reason"),
        ("reason enough until=2026-11-20", "ended on 2026-11-20"),
        ("reason enough until=soon", "no date"),
        ("until=2027-01-01", "no reason"),
    ],
)
def test_a_void_suppression_suppresses_nothing_and_is_a_finding(rest, why):
    first, second = suppress((found(1),), f"x  # modelward: ignore[source.*] {rest}".encode(), TODAY)
    assert first.accepted is None
    assert second.rule == "suppression.void"
    assert why in second.message
    assert second.location.line == 1


def test_the_last_day_counts():
    text = "x  # modelward: ignore[source.*] reason enough until=2026-11-21"
    assert accepted(text, found(1)) == ["suppressed in the file: reason enough (until 2026-11-21)"]


def test_a_verdict_or_a_member_is_never_suppressed():
    text = "x  # modelward: ignore[source.*] reason enough"
    assert (
        accepted(text, found(1, level="unproven"), found(1, level="dangerous"), found(1, member="a.py"))
        == [None] * 3
    )


def test_a_pickle_cannot_excuse_itself():
    report = inspect_bytes(b"cos\nsystem\n(V# modelward: ignore[pickle.payload] all is well\ntR.", "x.txt")
    assert report.verdict == "dangerous"
    assert all(finding.accepted is None for finding in report.findings)
