"""What defences would take away, counted for witnesses and for texts as they are."""

from __future__ import annotations

import numpy as np
import pytest

from modelward.adapters.data import from_arrays
from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.threats.evasion.arena import examine
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.text.arena import TextArena, Witness
from modelward.threats.evasion.text.normalise import DEFENCES, HARMLESS, normalised
from modelward.threats.evasion.text.threat import TextThreat
from modelward.threats.evasion.text.undo import TOGETHER, kept, removed

TEXTS = ["claim your free prize now", "a free ticket for you", "see you at the meeting"]


def free(text):
    return ("free" in text.split()) - 0.5


@pytest.fixture
def arena(text_model):
    def make(queries=None, texts=TEXTS, labels=("yes", "yes", "no")):
        model, meter = text_model(free), Meter(Budget(queries=queries))
        data = from_arrays(list(texts), list(labels))
        points = examine(Subjects(model=model, data=data, attachments=None), Settings(), meter)
        model.asked = 0
        return TextArena(points, TextThreat("edits", 2.0), share=Share(meter))

    return make


def fallen(arena, texts):
    arena.witnesses.update({i: Witness(text, 0, ()) for i, text in texts.items()})
    return arena


@pytest.mark.parametrize(
    ("text", "by"),
    [
        ("claim your fr\u200bee prize now", "invisible characters stripped"),
        ("claim your \uff46ree prize now", "compatibility characters (NFKC)"),
        ("claim your fr\u0435e prize now", "lookalikes folded"),
        ("claim your \u202eeerf\u202c prize now", "directional controls resolved"),
        ("claim your Free prize now", "case ignored"),
    ],
)
def test_each_defence_takes_back_its_own_kind(arena, text, by):
    counts = removed(fallen(arena(), {0: text}))
    single = {name for name, count in counts.items() if count and "together" not in name}
    assert single == {by}
    assert counts["all together"] == 1
    assert counts["the first four together"] == int(by in HARMLESS)


def test_what_no_defence_undoes_is_counted_nowhere(arena):
    found = fallen(arena(), {0: "claim your fre prize now"})
    counts = removed(found)
    assert set(counts) == set(TOGETHER)
    assert not any(counts.values())
    assert found.points.model.asked == 0  # nothing changes it, so nothing is asked


def test_only_texts_that_change_are_asked_about(arena):
    found = fallen(arena(), {0: "claim your fr\u200bee prize now", 1: "a fre ticket for you"})
    removed(found)
    assert found.points.model.asked == sum(
        normalised(witness.text, steps) != witness.text
        for steps in TOGETHER.values()
        for witness in found.witnesses.values()
    )


def test_no_witness_is_nothing_removed(arena):
    assert removed(arena()) == dict.fromkeys(TOGETHER, 0)


def test_texts_as_they_are_stay_right_where_nothing_changes(arena):
    found = arena()
    assert kept(found) == dict.fromkeys(TOGETHER, 3)
    assert found.points.model.asked == 0


def test_a_defence_that_harms_unmodified_texts_is_counted(arena):
    """This model takes the plain word for spam only; a shouted one is none, and becomes one without case."""
    counts = kept(arena(texts=["claim your FREE prize", "free tickets"], labels=("no", "yes")))
    assert counts["case ignored"] == counts["all together"] == 1
    assert counts["lookalikes folded"] == counts["the first four together"] == 2


@pytest.mark.parametrize("queries", [3, 4, 5])
def test_an_unfinished_count_is_unknown(arena, queries):
    """Three are spent on the unmodified texts; the two defences and the two sums need four more."""
    found = fallen(arena(queries), {0: "claim your fr\u200bee prize now"})
    assert removed(found) is None
    assert found.points.model.asked <= queries - 3


def test_nothing_asked_here_becomes_a_witness(arena):
    found = fallen(arena(), {0: "claim your fr\u200bee prize now"})
    removed(found)
    kept(found)
    assert found.broken.tolist() == [0]
    assert found.tried.tolist() == [False] * 3


def test_sums_of_defences_are_made_of_all_and_of_the_harmless():
    assert tuple(TOGETHER["all together"]) == tuple(DEFENCES)
    assert TOGETHER["the first four together"] == HARMLESS
    assert all(TOGETHER[name] == (name,) for name in DEFENCES)
    assert np.array([len(steps) for steps in TOGETHER.values()]).min() == 1
