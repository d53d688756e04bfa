import pytest

from modelward.adapters.data import from_arrays
from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.core.evidence import Cost, Evidence
from modelward.threats.evasion.arena import examine
from modelward.threats.evasion.group import grouped
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.text.arena import Candidate, TextArena
from modelward.threats.evasion.text.findings import undone
from modelward.threats.evasion.text.normalise import DEFENCES
from modelward.threats.evasion.text.threat import TextThreat, text_scope
from modelward.threats.evasion.text.undo import TOGETHER, kept, removed

TEXTS = [
    "claim your free prize now",
    "a free holiday for you",
    "see you at the meeting",
    "FREE for all of you",
]


def evidence(eps=5.0, *, broken=(), removed_by=None, kind="edits"):
    return Evidence(
        check="evasion.text",
        version=1,
        parameters={**text_scope(TextThreat(kind, eps))},
        n=40,
        seed=0,
        outcome={
            "rows": [*range(40)],
            "correct": [*range(38)],
            "broken": [*broken],
            "removed_by": removed_by,
            "right_with": {"all together": 37},
        },
        unit="row number",
        cost=Cost(),
        subjects={"model": "sha256:1", "data": "sha256:2"},
    )


@pytest.mark.parametrize(("count", "fires"), [(0, False), (1, False), (2, True), (20, True)])
def test_fires_from_a_tenth_of_the_witnesses_on(count, fires):
    item = evidence(broken=range(20), removed_by={"all together": count, "lookalikes folded": count})
    found = undone(grouped([item]))
    assert bool(found) is fires
    if fires:
        assert (
            f"Of 20 texts that a change of at most 5 edits turned, {count} are answered right"
            in found[0].message
        )
        assert "Of 40 unmodified texts 38 are right now and 37 would be." in found[0].message
        assert f"(lookalikes folded: {count})" in found[0].message
        assert found[0].evidence == (item.digest,)


def test_one_finding_per_kind_under_the_bound_with_most_witnesses():
    items = [
        evidence(1.0, broken=[1], removed_by={"all together": 1}),
        evidence(5.0, broken=range(9), removed_by={"all together": 9}),
        evidence(2.0, broken=[1, 2], removed_by={"all together": 2}),
        evidence(2.0, broken=[3], removed_by={"all together": 1}, kind="words"),
    ]
    found = undone(grouped(items))
    assert [finding.evidence for finding in found] == [(items[1].digest,), (items[3].digest,)]


@pytest.mark.parametrize("removed_by", [None, {}, {"all together": 0}])
def test_nothing_is_said_where_nothing_is_known(removed_by):
    assert undone(grouped([evidence(broken=[1, 2], removed_by=removed_by)])) == []
    assert undone([]) == []


def test_a_single_removed_witness_of_one_is_enough():
    assert len(undone(grouped([evidence(broken=[4], removed_by={"all together": 1})]))) == 1


@pytest.fixture
def arena(text_model):
    def make(queries=None):
        model = text_model(lambda text: float("free" in text.split()) - 0.5)
        data = from_arrays(TEXTS, ["yes", "yes", "no", "no"])
        meter = Meter(Budget(queries=queries))
        points = examine(Subjects(model=model, data=data, attachments=None), Settings(), meter)
        arena = TextArena(points, TextThreat("edits", 5.0), share=Share(meter))
        arena.submit(
            [Candidate(0, "claim your fr\u200bee prize now", ()), Candidate(1, "a fre holiday for you", ())]
        )
        model.asked = 0
        return arena

    return make


def test_witnesses_are_asked_again_after_each_defence(arena):
    found = arena()
    assert found.broken.tolist() == [0, 1]
    counts = removed(found)
    assert list(counts) == list(TOGETHER)
    gone = {"invisible characters stripped", "the first four together", "all together"}
    assert {name for name, count in counts.items() if count} == gone
    assert all(counts[name] == 1 for name in gone)
    assert found.points.model.asked == 3  # only what a defence changes is asked


def test_what_defences_do_to_unmodified_texts(arena):
    found = arena()
    counts = kept(found)
    assert counts["lookalikes folded"] == 4
    assert counts["case ignored"] == counts["all together"] == 3  # FREE is read as free then
    assert set(counts) == set(TOGETHER) > set(DEFENCES)


def test_nothing_is_counted_without_a_budget(arena):
    found = arena(queries=6)
    assert removed(found) is None
    assert found.share.cut == "queries"
