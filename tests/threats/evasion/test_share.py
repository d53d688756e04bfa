from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelward.core.budget import Budget, Meter
from modelward.threats.evasion.share import Share


def test_a_share_takes_its_part_and_the_last_takes_the_rest():
    meter = Meter(Budget(passes=100, queries=9))
    first = Share(meter, part=0, of=3)
    assert (first.passes_left(), first.queries_left()) == (33, 3)
    assert first.take(forward=20, backward=13)
    assert not first.take(forward=1)
    assert first.cut == "passes"
    assert meter.cut is None
    second = Share(meter, part=1, of=3)
    assert second.passes_left() == 33
    assert second.take(forward=3)
    third = Share(meter, part=2, of=3)
    assert third.passes_left() == 64
    assert third.take(forward=64)
    assert not third.take(backward=1)
    assert third.cut == meter.cut == "passes"


def test_queries_and_seconds_are_shared_too():
    now = [0.0]
    meter = Meter(Budget(queries=10, seconds=10.0), clock=lambda: now[0])
    share = Share(meter, part=0, of=2)
    assert share.take(queries=5)
    assert not share.take(queries=1)
    assert share.cut == "queries"
    now[0] = 5.0
    assert not share.take(forward=1)
    assert share.cut == "seconds"
    assert meter.cut is None
    assert Share(meter, part=1, of=2).take(forward=1)
    now[0] = 10.0
    last = Share(meter, part=1, of=2)
    assert not last.take(forward=1)
    assert last.cut == "seconds"


def test_the_seconds_that_are_left_are_those_of_the_share():
    now = [2.0]
    meter = Meter(Budget(seconds=12.0), clock=lambda: now[0])
    first = Share(meter, part=0, of=3)
    assert first.seconds_left() == 4.0
    now[0] = 5.0
    assert first.seconds_left() == 1.0
    last = Share(meter, part=2, of=3)
    assert last.seconds_left() == 9.0
    now[0] = 30.0
    assert first.seconds_left() == last.seconds_left() == 0.0


def test_without_limits_everything_is_granted():
    share = Share(Meter(), part=0, of=4)
    assert share.passes_left() is None
    assert share.queries_left() is None
    assert share.seconds_left() is None
    assert share.take(forward=10**9, backward=10**9, queries=10**9)
    assert share.cut is None


def test_progress_counts_over_all_shares():
    seen = []
    meter = Meter(observe=lambda done, total: seen.append((done, total)))
    Share(meter, part=1, of=4).progress(0.5)
    assert seen == [(1500, 4000)]


@given(st.integers(1, 200), st.lists(st.integers(1, 40), max_size=60), st.integers(1, 4))
def test_shares_never_spend_more_than_the_budget(limit, wishes, of):
    meter = Meter(Budget(passes=limit))
    for part in range(of):
        share = Share(meter, part=part, of=of)
        for wish in wishes:
            share.take(forward=wish)
    assert meter.cost.forward <= limit
