"""What a reader hands in, how it is counted, and what a finding is called."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.artifact import reading
from modelward.artifact.collected import Collected, Limits
from modelward.artifact.events import Event
from modelward.artifact.finding import Finding, Location, fingerprints
from modelward.artifact.format import AROUND, PASSIVE, TEXTUAL, Format
from modelward.artifact.reading import STEPS, Exhausted, Malformed, Reading


def test_a_reading_starts_with_nothing_said():
    into = Reading()
    assert (into.name, into.events, into.unread, into.inner, into.facts) == ("", [], [], [], {})
    assert into.proven is False
    assert into.beside("x") is None


def test_levels_and_what_stands_with_them():
    into = Reading("m.bin")
    into.dangerous("a.b", "one", pos=7, call="os.system('id')")
    into.unproven("a.c", "two", call="f()")
    into.note("a.d", "three", pos=3)
    assert into.events == [
        Event("a.b", "dangerous", "one", 7, "os.system('id')"),
        Event("a.c", "unproven", "two", -1, "f()"),
        Event("a.d", "note", "three", 3),
    ]


def test_a_finding_is_a_note_with_a_severity_a_line_and_a_remedy():
    into = Reading()
    into.finding("source.x", "high", "bad", line=4, remedy="mend it")
    (event,) = into.events
    assert (event.level, event.pos, event.severity, event.line, event.remedy) == (
        "note",
        -1,
        "high",
        4,
        "mend it",
    )


def test_what_was_missed_is_listed_and_never_clean():
    into = Reading()
    into.missed("the second half")
    assert into.unread == ["the second half"]
    assert [(event.rule, event.level) for event in into.events] == [("artifact.unread", "unproven")]


def test_steps_end_exactly_behind_the_budget():
    into = Reading()
    into.spend(STEPS)
    with pytest.raises(Exhausted):
        into.spend()
    other = Reading()
    other.spend(STEPS - 1)
    other.spend()
    with pytest.raises(Exhausted):
        other.spend(1)


def test_steps_of_two_readings_are_their_own(monkeypatch):
    monkeypatch.setattr(reading, "STEPS", 3)
    first, second = Reading(), Reading()
    first.spend(3)
    second.spend(3)
    with pytest.raises(Exhausted):
        first.spend()


def test_what_stands_beside_is_asked_by_name():
    files = {"a/b.py": b"1"}
    into = Reading("m", beside=files.get)
    assert into.beside("a/b.py") == b"1"
    assert into.beside("a/c.py") is None


def test_the_errors_of_a_reader_are_no_kinds_of_each_other():
    assert not issubclass(Malformed, Exhausted)
    assert not issubclass(Exhausted, Malformed)


# --- what a walk collects -----------------------------------------------------------------------------------


def test_limits_by_default():
    limits = Limits()
    assert (limits.depth, limits.member, limits.total) == (16, 1 << 32, 1 << 34)
    assert (limits.members, limits.second) == (20_000, None)


def test_events_of_members():
    found = Collected(Limits())
    found.add("a.pkl", "zip.x", "one")
    found.add("a.pkl", "zip.y", "two", level="dangerous")
    found.note("", "zip.z", "three")
    assert [(member, event.rule, event.level, event.pos) for member, event in found.events] == [
        ("a.pkl", "zip.x", "unproven", -1),
        ("a.pkl", "zip.y", "dangerous", -1),
        ("", "zip.z", "note", -1),
    ]


@pytest.mark.parametrize(("member", "said"), [("", "cut off"), ("a/b.pkl", "a/b.pkl: cut off")])
def test_what_was_not_read_names_its_member(member, said):
    found = Collected(Limits())
    found.missed(member, "cut off")
    assert found.unread == [said]
    assert found.events == [(member, Event("artifact.unread", "unproven", "cut off", -1))]


def test_a_merge_takes_everything_and_adds_up_counts():
    one, two = Collected(Limits()), Collected(Limits())
    one.add("a", "r", "m")
    one.members, one.streams, one.arrays, one.produced = 1, 2, 3, 4
    one.contained, one.harmless, one.facts = {"a": "npy"}, {"a"}, {"x": 1}
    two.missed("b", "gone")
    two.members, two.streams, two.arrays, two.produced = 10, 20, 30, 40
    two.contained, two.harmless, two.facts = {"b": "pickle"}, {"b"}, {"x": 2, "y": 3}
    one.merge(two)
    assert [member for member, _ in one.events] == ["a", "b"]
    assert one.unread == ["b: gone"]
    assert (one.members, one.streams, one.arrays, one.produced) == (11, 22, 33, 44)
    assert one.contained == {"a": "npy", "b": "pickle"}
    assert one.harmless == {"a", "b"}
    assert one.facts == {"x": 2, "y": 3}


def test_a_merge_proves_nothing():
    one, two = Collected(Limits()), Collected(Limits())
    two.proven = True
    one.merge(two)
    assert one.proven is False


# --- names of findings --------------------------------------------------------------------------------------


def made(rule="r.x", member="", call=None, **other):
    return Finding(rule, "high", other.get("message", "m"), Location(member, other.get("offset")), call=call)


def expected(rule, member, call, count):
    """The documented key, written by json instead of the encoder of the package."""
    key = json.dumps([rule, member, call], separators=(",", ":"), ensure_ascii=False).encode()
    return hashlib.sha256(key + f"#{count}".encode()).hexdigest()


def test_a_fingerprint_is_the_digest_of_rule_member_call_and_count():
    findings = [made(), made(), made(call="f('x')"), made(member="a/b.pkl", call="f('x')"), made("r.y")]
    assert fingerprints(findings) == [
        expected("r.x", "", "", 0),
        expected("r.x", "", "", 1),
        expected("r.x", "", "f('x')", 0),
        expected("r.x", "a/b.pkl", "f('x')", 0),
        expected("r.y", "", "", 0),
    ]


def test_moved_lines_and_other_words_change_no_fingerprint():
    before = [made(message="old", offset=3), made("r.y")]
    after = [made(message="new", offset=900), made("r.y")]
    assert fingerprints(before) == fingerprints(after)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["", "m"]), st.sampled_from([None, "", "c"])))
)
def test_fingerprints_are_all_different(keys):
    names = fingerprints([made(rule, member, call) for rule, member, call in keys])
    assert len(set(names)) == len(names) == len(keys)


# --- sets of formats ----------------------------------------------------------------------------------------


def test_every_set_of_formats_names_formats():
    known = set(Format.__args__)
    assert known >= PASSIVE
    assert known >= AROUND
    assert known >= TEXTUAL


def test_what_runs_code_is_never_passive():
    dangerous = {
        "pickle",
        "joblib",
        "torch-zip",
        "torch-legacy",
        "keras",
        "skops",
        "native-code",
        "r-data",
        "python",
    }
    assert not dangerous & PASSIVE
    assert not PASSIVE & AROUND
