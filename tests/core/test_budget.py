import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from modelward.core.budget import Budget, Meter, parse_budget
from modelward.core.evidence import Cost
from modelward.core.seeds import MAX_SEED, child_seed
from modelward.errors import BudgetInvalid


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("60s", Budget(seconds=60)),
        ("1e6p", Budget(passes=1_000_000)),
        ("5000q", Budget(queries=5000)),
        ("60s,1e6p,5000q", Budget(seconds=60, passes=1_000_000, queries=5000)),
        (" 5000q , 0.5s", Budget(seconds=0.5, queries=5000)),
        ("1E+3p", Budget(passes=1000)),
    ],
)
def test_budgets_are_read(text, budget):
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    "text", ["", "60", "s", "60s,60s", "-1s", "0q", "0.5q", "1e99p", "60s;5q", "1e-3s", "nans", "60s,"]
)
def test_bad_budgets_are_refused(text):
    with pytest.raises(BudgetInvalid):
        parse_budget(text)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text):
    try:
        budget = parse_budget(text)
    except BudgetInvalid:
        return
    assert any(value is not None for value in (budget.seconds, budget.passes, budget.queries))


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 4), max_size=30))
def test_a_meter_never_books_beyond_its_limit(requests):
    meter = Meter(Budget(passes=40, queries=20))
    booked = Cost()
    for forward, backward, queries, bounds in requests:
        asked = {"forward": forward, "backward": backward, "queries": queries, "bounds": bounds}
        fits = booked.passes + forward + backward + bounds <= 40 and booked.queries + queries <= 20
        assert meter.take(**asked) == fits
        if fits:
            booked += Cost(**asked | {"bounds": bounds or UNSET})
    cost = meter.cost
    assert (cost.forward, cost.backward) == (booked.forward, booked.backward)
    assert (cost.queries, cost.bounds) == (booked.queries, booked.bounds)
    assert cost.passes == booked.passes <= 40


def test_the_reason_of_a_cut_is_kept():
    clock = Clock()
    meter = Meter(Budget(seconds=5, passes=10), clock=clock)
    assert meter.take(forward=5, backward=5)
    assert meter.cut is None
    assert not meter.take(forward=1)
    assert meter.cut == "passes"
    clock.now = 5
    assert not meter.take()
    assert meter.cut == "seconds"
    assert meter.left() == Budget(seconds=0, passes=0)


def test_laps_add_up():
    clock = Clock()
    meter = Meter(clock=clock)
    meter.take(forward=3, bounds=4)
    clock.now = 1.5
    first = meter.lap()
    meter.take(queries=2, bounds=1)
    clock.now = 2.0
    second = meter.lap()
    assert first == Cost(seconds=1.5, forward=3, bounds=4)
    assert second == Cost(seconds=0.5, queries=2, bounds=1)
    assert first + second == meter.cost


def test_progress_reaches_the_observer():
    seen = []
    Meter(observe=lambda done, total: seen.append((done, total))).progress(2, 5)
    assert seen == [(2, 5)]


def test_notes_reach_who_watches_and_nobody_else():
    seen = []
    Meter(note=seen.append).note("linf 0.1")
    Meter().note("nobody")
    assert seen == ["linf 0.1"]


@given(st.integers(0, MAX_SEED - 1), st.text(max_size=20))
def test_child_seeds_fit_json(seed, label):
    assert 0 <= child_seed(seed, label) < MAX_SEED


def test_child_seeds_differ_by_label_and_seed():
    assert len({child_seed(seed, label) for seed in range(20) for label in ("a", "b", "a.b")}) == 60
    assert child_seed(1, "quality") == child_seed(1, "quality")
