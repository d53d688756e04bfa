from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.errors import ModelRaised
from modelward.threats.evasion.cost.check import CostCheck
from modelward.threats.evasion.cost.density import STEPS, denser
from modelward.threats.evasion.cost.judge import judge_cost_inflation
from modelward.threats.evasion.cost.search import POPULATION, Numbers, Texts, evolve
from modelward.threats.evasion.cost.timing import interleaved, ratio


class Clock:
    """Time that passes only while a model works, so that no test depends on the machine's."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Worker:
    """A model whose work is a stated function of its input; it may be noisy or raise."""

    def __init__(self, room, clock, work, noise=0.0):
        self.inner = room.callable(lambda x: np.tile([1.0, 0.0], (len(x), 1)))
        self.subject, self.outputs = self.inner.subject, self.inner.outputs
        self.clock, self.work, self.noise = clock, work, noise
        self.random, self.batches = np.random.default_rng(0), []

    def scores(self, x):
        self.batches.append(len(x))
        self.clock.now += self.work(x[0]) * np.exp(self.noise * self.random.standard_normal())
        return self.inner.scores(x)


@pytest.fixture
def measure(room):
    def run(work, points, *, noise=0.0, budget=None, seed=3, model=None, **settings):
        clock = Clock()
        worker = model or Worker(room, clock, work, noise)
        store = SimpleNamespace(kept={}, put=lambda arrays: store.kept.update(arrays) or "sha256:x")
        subjects = Subjects(model=worker, data=points, attachments=store)
        check = CostCheck(Settings(**{"preset": "quick", **settings}), clock=clock)
        assert check.declines(subjects) is None
        meter = Meter(budget or Budget())
        evidence = list(check.run(subjects, budget=meter, seed=seed))
        claims = {c.scope["measure"]: c for c in judge_cost_inflation(evidence).claims}
        return SimpleNamespace(
            evidence=evidence,
            claims=claims,
            meter=meter,
            model=worker,
            kept=store.kept,
            findings=judge_cost_inflation(evidence).findings,
        )

    return run


def rows(room, n=40, d=6):
    return room.data(np.random.default_rng(0).uniform(0.2, 0.4, (n, d)), [0] * n)


def test_an_early_exit_that_an_input_can_avoid_is_found(room, measure):
    """Four stages; each further one runs when one more feature is above 0.9, which no ordinary point is."""
    result = measure(lambda x: 1.0 + (x > 0.9).sum(), rows(room))
    claim = result.claims["time"]
    assert claim.value >= 5.0
    assert claim.interval.lower >= 5.0
    assert (result.kept["x"] > 0.9).sum() >= 4
    (finding,) = result.findings
    assert finding.rule == "evasion.sponge"
    assert claim.better == "lower"


def test_constant_work_with_noise_is_unknown_and_no_finding(room, measure):
    result = measure(lambda x: 1.0, rows(room), noise=0.3)
    claim = result.claims["time"]
    assert claim.value is None
    assert "noise" in claim.statement
    assert "ordinary inputs beside one another" in claim.note
    assert result.findings == ()


def test_an_effect_below_the_noise_is_unknown_and_one_above_it_is_not(room, measure):
    small = measure(lambda x: 1.0 + 0.01 * (x > 0.9).any(), rows(room), noise=0.5)
    large = measure(lambda x: 1.0 + 3.0 * (x > 0.9).any(), rows(room), noise=0.3)
    assert small.claims["time"].value is None
    assert large.claims["time"].value == pytest.approx(4.0, rel=0.4)
    assert large.claims["time"].interval.lower > 1.5


def test_the_search_climbs_beyond_where_it_began(room):
    """Work grows with the number of features near 0.77, which neither corners nor ordinary points hit."""
    data, random = rows(room, d=10), np.random.default_rng(1)

    def work(x):
        return float(np.maximum(0, 1 - np.abs(x[0] - 0.77) * 4).sum())

    breed = Numbers(data, random)
    begun = max(work(x[None]) for x in breed.first())
    inputs, costs = evolve(breed, work, evaluations=600, random=random)
    assert costs[0] > 1.3 * begun
    assert (np.diff(costs) <= 0).all()
    assert len(inputs) <= POPULATION
    assert [work(x[None]) for x in inputs] == costs.tolist()
    assert (inputs >= 0).all()
    assert (inputs <= 1).all()


def test_a_refused_budget_ends_the_search_with_what_there_is(room):
    left = iter([1.0, 3.0, 2.0, None])
    breed = Numbers(rows(room), np.random.default_rng(0))
    inputs, costs = evolve(breed, lambda x: next(left), evaluations=50, random=np.random.default_rng(0))
    assert costs.tolist() == [3.0, 2.0, 1.0]
    assert len(inputs) == 3
    none, empty = evolve(breed, lambda x: None, evaluations=50, random=np.random.default_rng(0))
    assert len(none) == len(empty) == 0


def test_types_of_columns_are_kept(room):
    points = room.table([[0.5, 1, 0.1], [0.1, 9, 0.4], [0.9, 4, 0.2]], [0] * 3, ["real", "integer", "real"])
    breed = Numbers(points, np.random.default_rng(0))
    start = breed.first()
    assert len(start) == POPULATION
    for x in [*start, *(breed.child(start[:1], start[i : i + 1])[0] for i in range(20))]:
        assert x[1] == np.rint(x[1])
        assert 1 <= x[1] <= 9
    bytes_ = room.data(np.full((2, 1, 4, 4), 7, np.uint8), [0, 0], bounds=room.box(0.0, 255.0))
    assert Numbers(bytes_, np.random.default_rng(0)).first().dtype == np.uint8


def test_texts_grow_to_the_longest_and_no_further(room, measure):
    texts = np.empty(30, object)
    texts[:] = ["word " * (1 + i % 6) for i in range(30)]
    points = room.data(texts, [0] * 30)
    assert Texts(points, np.random.default_rng(0)).first().shape == (POPULATION,)
    # Letters beyond ASCII cost their bytes, as with a tokenizer that falls back to bytes.
    result = measure(lambda text: 0.01 + len(str(text).encode()), points)
    assert result.claims["time"].value > 2
    found = str(result.kept["x"][0])
    assert len(found) <= 30
    assert len(found.encode()) > 60


def test_one_input_is_asked_at_a_time_and_all_is_booked(room, measure):
    result = measure(lambda x: 1.0, rows(room))
    assert set(result.model.batches) == {1}
    assert len(result.model.batches) == result.meter.cost.queries == 3 + 3 * 100 + 4 * 30


@pytest.mark.parametrize("limit", [1, 3, 100, 123, 126, 200])
def test_a_budget_keeps_what_the_comparison_needs(room, measure, limit):
    result = measure(lambda x: 1.0 + (x > 0.9).sum(), rows(room), budget=Budget(queries=limit))
    assert len(result.model.batches) == result.meter.cost.queries <= limit
    (item,) = result.evidence
    assert item.cut == "queries"
    assert (item.n > 0) == (limit >= 126)
    assert (result.claims["time"].value is not None) == (limit >= 200)


def test_a_model_that_raises_is_timed_all_the_same(room, measure):
    clock = Clock()
    worker = Worker(room, clock, lambda x: 1.0 + 9.0 * (x > 0.9).any())
    plain = worker.scores

    def raising(x):
        answer = plain(x)
        if (x > 0.9).any():
            raise ModelRaised("too large")
        return answer

    worker.scores = raising
    store = SimpleNamespace(put=lambda arrays: "sha256:x")
    subjects = Subjects(model=worker, data=rows(room), attachments=store)
    evidence = list(CostCheck(Settings(preset="quick"), clock=clock).run(subjects, budget=Meter(), seed=1))
    (claim,) = judge_cost_inflation(evidence).claims
    assert claim.value == pytest.approx(10)


def test_more_activations_stay_alive_within_the_box(room):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 2))
    with torch.no_grad():
        net[0].bias -= 0.3
    net.train()
    data = rows(room)
    booked = []
    inputs, before, after = denser(net, data.x[:8], data.box, lambda n: booked.append(n) or True)
    assert net.training
    assert not net[1]._forward_hooks
    assert sum(booked) == 8 * (STEPS + 1)
    assert (after >= before).all()
    assert after.mean() > before.mean() + 0.05
    assert ((inputs >= 0) & (inputs <= 1)).all()
    with torch.no_grad():
        one = torch.relu(net[0](torch.as_tensor(inputs, dtype=torch.float32)))
        two = torch.relu(net[2](one))
        share = torch.cat([one, two], dim=1).ne(0).double().mean(dim=1).numpy()
    np.testing.assert_allclose(share, after, atol=0.02)


def test_nothing_rectifies_or_no_budget_means_nothing_said(room):
    data = rows(room)
    assert denser(nn.Sequential(nn.Linear(6, 2), nn.Tanh()), data.x[:4], data.box, lambda n: True) is None
    assert denser(nn.Sequential(nn.Linear(6, 2), nn.ReLU()), data.x[:4], data.box, lambda n: False) is None


def test_networks_get_both_claims(room, measure):
    torch.manual_seed(1)
    model = room.torch(nn.Sequential(nn.Linear(6, 30), nn.ReLU(), nn.Linear(30, 2)))
    result = measure(None, rows(room), model=model)
    assert [item.parameters["measure"] for item in result.evidence] == ["activations", "time"]
    claim = result.claims["activations"]
    assert claim.value >= 1
    assert claim.n == 16
    assert claim.interval.lower <= claim.value <= claim.interval.upper
    assert result.claims["time"].value is None  # its clock stands still
    assert result.meter.cost.forward == result.meter.cost.backward == 16 * (STEPS + 1)


def test_the_same_seed_searches_the_same_inputs(room, measure):
    def work(x):
        return float(np.maximum(0.1, 1 - np.abs(x - 0.77) * 4).sum())

    one, two, other = (measure(work, rows(room), seed=seed) for seed in (3, 3, 4))
    assert one.evidence[0].outcome == two.evidence[0].outcome
    np.testing.assert_array_equal(one.kept["x"], two.kept["x"])
    assert (one.kept["x"] != other.kept["x"]).any()


def test_medians_and_their_intervals_are_order_statistics():
    values = np.arange(1, 21) / 10
    found = ratio(np.random.default_rng(0).permutation(values), 0.95)
    assert found.value == pytest.approx(1.05)
    assert (found.lower, found.upper) == (0.6, 1.5)  # Conover: ranks 6 and 15 of 20 give 95.9 %
    few = ratio([2.0, 3.0], 0.95)
    assert (few.lower, few.upper) == (0.0, np.inf)


def test_intervals_cover_the_median_as_often_as_stated():
    random = np.random.default_rng(0)
    covered = [(r := ratio(random.lognormal(0, 1, 31), 0.9)).lower <= 1 <= r.upper for _ in range(1000)]
    assert 0.88 <= np.mean(covered) <= 0.97


def test_pairs_alternate_so_that_drift_cancels():
    now = iter(range(100))
    first, second = interleaved([lambda: next(now)] * 10, [lambda: next(now)] * 10)
    assert (first - second).tolist() == [-1, 1] * 5
    assert first.sum() == second.sum()


def test_wrong_kinds_of_data_are_declined(room):
    check = CostCheck(Settings())
    model = room.callable(lambda x: x)
    none = room.data(np.zeros((0, 3)), [])
    dates = room.data(np.array([["2020-01-01"]], "datetime64[D]"), [0])
    for points in (none, dates):
        reason = check.declines(Subjects(model=model, data=points, attachments=None))
        assert reason is not None
        assert "points" in reason
