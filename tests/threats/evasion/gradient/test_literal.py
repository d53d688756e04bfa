"""The attacks against their papers' algorithms written out again, one point and one number at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from torch import nn

from modelward.core.budget import Budget
from modelward.threats.evasion.gradient.apgd import Apgd, _checkpoints
from modelward.threats.evasion.gradient.balls import Ball
from modelward.threats.evasion.gradient.copy import Copy
from modelward.threats.evasion.gradient.descent import Descent
from modelward.threats.evasion.gradient.fab import Fab, _cheapest, _level
from modelward.threats.evasion.gradient.losses import logarithms, loss, margin
from modelward.threats.evasion.gradient.pool import Batch, Record, Task
from modelward.threats.evasion.gradient.sparse import Cells, Swaps, Windows
from modelward.threats.evasion.gradient.squares import SquareSearch
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat

CPU = torch.device("cpu")
SEEDS = st.integers(0, 2**31)
STATELESS = [HealthCheck.function_scoped_fixture]  # `room` only builds


def curved(seed, inputs=5, classes=3, *, safe=0.0, gain=3.0):
    """A net with borders in the box; `safe` is added to the first class, so that nothing falls."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, classes))
    with torch.no_grad():
        net[0].weight *= gain
        net[2].bias[0] += safe
    return net


class Watch:
    """Passes a method on, and writes down what it asked about."""

    def __init__(self, method):
        self.method, self.steps, self.asked = method, method.steps, []
        self.forward, self.backward = method.forward, method.backward

    def begin(self, batch):
        self.method.begin(batch)

    def advance(self, batch):
        found = self.method.advance(batch)
        self.asked.append(found.x.detach().double().numpy().copy())
        return found


def literal_apgd(net, x0, y, eps, steps, *, norm):
    """Algorithm 1 of arXiv 2003.01690v2 for one point, with its two conditions as they are printed."""

    def value_and_slope(x):
        point = torch.tensor(x[None], dtype=torch.float64, requires_grad=True)
        scores = net(point)
        value = margin(scores, torch.tensor([y]), torch.tensor([-1]))[0]
        value.backward()
        return float(value.detach()), point.grad[0].numpy()

    def projected(x):
        if norm == "linf":
            return np.clip(np.clip(x, x0 - eps, x0 + eps), 0, 1)
        size = np.linalg.norm(x - x0)
        return np.clip(x0 + (x - x0) * min(1.0, eps / max(size, 1e-30)), 0, 1)

    def unit(slope):
        return np.sign(slope) if norm == "linf" else slope / max(np.linalg.norm(slope), 1e-30)

    checkpoints = set(_checkpoints(steps))
    eta, x, before = 2 * eps, x0.copy(), x0.copy()
    best, lowest, asked, fell, span = x0, np.inf, [], 0, 0
    last, lowest_then, halved_then, best_slope = np.inf, np.inf, True, None
    for k in range(steps):
        value, slope = value_and_slope(x)
        asked.append(x.copy())
        if value < lowest:
            best, lowest, best_slope = x.copy(), value, slope
        fell, span, last = fell + (value < last), span + 1, value
        if k in checkpoints:
            first = fell < 0.75 * span
            second = not halved_then and lowest_then <= lowest
            halved_then = first or second
            if halved_then:
                eta, x, slope = eta / 2, best, best_slope
            lowest_then, fell, span = lowest, 0, 0
        ahead = projected(x - eta * unit(slope))
        weight = 1.0 if k == 0 else 0.75
        ahead = projected(x + weight * (ahead - x) + (1 - weight) * (x - before))
        before, x = x, ahead
    return np.array(asked)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("seed", range(4))
def test_apgd_goes_where_the_algorithm_of_the_paper_goes(room, norm, seed):
    net = curved(seed, safe=10.0, gain=12.0).double()
    x = (0.2 + 0.6 * np.random.default_rng(seed).random((1, 5))).astype(np.float32)
    expected = literal_apgd(net, x[0].astype(np.float64), 0, 0.3, 60, norm=norm)
    net = net.float()
    pool = room.pool(net, x, norm, 0.3)
    watch = Watch(Apgd(pool.copy, pool.ball, steps=60, kind="margin"))
    assert pool.run(watch, [Task(0)])
    got = np.concatenate(watch.asked)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=1e-5 if norm == "linf" else 2e-3)
    assert len(np.unique(np.round(got, 3), axis=0)) > 3


def goalless(n, target=0):
    return torch.full((n,), target), torch.full((n,), -1)


@settings(max_examples=30, deadline=None)
@given(steps=st.integers(5, 400))
def test_periods_shrink_to_their_floor_and_cover_the_search(steps):
    """Equation 5: p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06), with whole steps."""
    found = _checkpoints(steps)
    periods = np.diff([0, *found])
    assert (np.diff(periods) <= 0).all()
    assert periods.min(initial=99999) >= max(1, int(0.06 * steps))
    assert 0 < found[0] <= found[-1] < steps
    assert steps - found[-1] <= periods[-1] or len(found) == 1


class Script(nn.Module):
    """Scores whose margin is what a list says, one entry per look, whatever the input is."""

    def __init__(self, values):
        super().__init__()
        self.values, self.at = values, 0

    def forward(self, x):
        value = self.values[min(self.at, len(self.values) - 1)]
        self.at += 1
        return torch.stack([value + 0 * x.sum(dim=1) + 1e-6 * x[:, 0], torch.zeros(len(x))], dim=1)


@pytest.mark.parametrize(
    ("margin_at", "halvings"),
    [
        (lambda step: 10.0 - 0.01 * step, []),  # falls at every step
        (lambda step: 10.0 + 0.01 * step, [22, 41, 57, 70, 80, 87, 93, 99]),  # never falls
        # Falls until the first checkpoint, and never again below that.
        (lambda step: 10.0 - 0.01 * step if step < 23 else 20.0, [41, 57, 70, 80, 87, 93, 99]),
        # Falls at most steps, but to no new depth after the first period: only the second condition sees it.
        (lambda step: 5.0 - 0.1 * step if step < 23 else 9.0 - 0.01 * step, [41, 70, 87, 99]),
    ],
)
def test_steps_are_halved_where_the_loss_stops_falling(room, margin_at, halvings):
    x = np.full((1, 3), 0.5, np.float32)
    ball = ball_of(room, x, "linf", 0.25)
    method = Apgd(
        Copy(Script([margin_at(step) for step in range(100)]), (3,)), ball, steps=100, kind="margin"
    )
    batch = begun(method, ball, [Task(0)])
    lengths = [float(batch.state["length"][0])]
    for _ in range(100):
        method.advance(batch)
        batch.step += 1
        lengths.append(float(batch.state["length"][0]))
    assert lengths[0] == 0.5
    assert set(np.diff(np.log2(lengths))) <= {0.0, -1.0}
    assert np.flatnonzero(np.diff(lengths)).tolist() == halvings


def begun(method, ball, tasks, target=0):
    centre, low, high = ball.corners(np.array([task.point for task in tasks]))
    n = len(tasks)
    state = {
        "x": centre.clone(),
        "centre": centre,
        "low": low,
        "high": high,
        "least": torch.full((n,), torch.inf),
    }
    batch = Batch(list(tasks), np.zeros(n, np.int64), *goalless(n, target), state)
    method.begin(batch)
    return batch


def ball_of(room, x, norm, eps, **options):
    return Ball(reach(room.data(x, [0] * len(x), **options), Threat(norm, eps)), CPU)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, features=st.integers(2, 6), share=st.floats(0.05, 1.5))
def test_the_projection_onto_a_border_is_that_of_a_program(seed, features, share):
    """FAB's closed forms: min |d| over w . d = g, 0 <= d <= room, in Linf and L1 by a linear program, in L2 by SLSQP."""
    random = np.random.default_rng(seed)
    worth, room = 0.1 + random.random(features), 0.05 + random.random(features)
    wanted = min(share, 0.98) * float(worth @ room)
    parts = [torch.tensor(a[None]).float() for a in (worth, room)] + [torch.tensor([wanted]).float()]
    one = torch.ones_like(parts[0])
    linf = torch.minimum(_level(parts[0], one, parts[1], parts[2]), parts[1])[0].double().numpy()
    l2 = torch.minimum(_level(*parts[:1], parts[0], *parts[1:]) * parts[0], parts[1])[0].double().numpy()
    l1 = _cheapest(*parts)[0].double().numpy()
    for move in (linf, l2, l1):
        assert worth @ move == pytest.approx(wanted, rel=1e-4)
        assert ((move >= 0) & (move <= room + 1e-6)).all()
    box = [(0.0, r) for r in room]
    best = linprog(np.ones(features), A_eq=[worth], b_eq=[wanted], bounds=box)
    assert l1.sum() == pytest.approx(best.fun, rel=1e-4)
    rows = np.hstack([np.eye(features), -np.ones((features, 1))])
    best = linprog(
        [*[0.0] * features, 1.0],
        A_ub=rows,
        b_ub=np.zeros(features),
        A_eq=[[*worth, 0.0]],
        b_eq=[wanted],
        bounds=[*box, (0, None)],
    )
    assert linf.max() == pytest.approx(best.fun, rel=1e-4)
    square = minimize(
        lambda d: d @ d,
        room * min(share, 0.98),
        jac=lambda d: 2 * d,
        bounds=box,
        constraints={"type": "eq", "fun": lambda d: worth @ d - wanted, "jac": lambda _: worth},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 300},
    )
    assert l2 @ l2 <= square.fun * (1 + 1e-3) + 1e-6


def test_a_border_out_of_the_box_is_approached_as_far_as_it_goes():
    worth, room, wanted = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 0.0]]), torch.tensor([9.0])
    for rate in (torch.ones(1, 2), worth):
        assert torch.minimum(_level(worth, rate, room, wanted) * rate, room).tolist() == [[0.5, 0.0]]
    assert _cheapest(worth, room, wanted).tolist() == [[0.5, 0.0]]


@settings(max_examples=25, deadline=None, suppress_health_check=STATELESS)
@given(seed=SEEDS, eps=st.floats(0.05, 3.0))
def test_the_projection_onto_l1_ball_and_box_is_that_of_a_program(room, seed, eps):
    random = np.random.default_rng(seed)
    x = random.random((1, 4)).astype(np.float32)
    ball = ball_of(room, x, "l1", eps)
    centre, low, high = ball.corners(np.array([0]))
    wild = centre + torch.tensor(random.normal(size=(1, 4))).float()
    got = ball.inside(wild, centre, (low, high))[0].double().numpy()
    c, w = (t[0].double().numpy() for t in (centre, wild))
    # Changes as differences of two non-negative parts, so that the program is smooth.
    best = minimize(
        lambda z: np.square(c + z[:4] - z[4:] - w).sum(),
        np.zeros(8),
        bounds=[*((0.0, float(h)) for h in 1 - c), *((0.0, float(v)) for v in c)],
        constraints={"type": "ineq", "fun": lambda z: eps - z.sum()},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 300},
    )
    assert np.square(got - w).sum() <= best.fun + 1e-4
    assert np.abs(got - c).sum() <= eps * (1 + 1e-5)
    assert ((got >= 0) & (got <= 1)).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_one_step_of_fab_lands_on_a_straight_border(room, norm):
    """From the point itself the step is 1.05 times the projection, which is exact where the border is straight."""
    w = np.array([1.0, -2.0, 0.5])
    net = room.linear(np.stack([w, -w]), [-0.05, 0.05])
    x = np.array([[0.5, 0.3, 0.4]], np.float32)
    gap = 2 * float(x[0].astype(float) @ w - 0.05)
    dual = {"linf": np.abs(w).sum(), "l2": np.linalg.norm(w), "l1": np.abs(w).max()}[norm]
    pool = room.pool(net, x, norm, 0.01)
    target = int(pool.arena.points.target[0])
    method = Fab(pool.copy, pool.ball, steps=5)
    batch = begun(method, pool.ball, [Task(0)], target=target)
    method.advance(batch)
    size = pool.ball.size(batch.state["x"], batch.state["centre"])
    assert float(size) == pytest.approx(1.05 * abs(gap) / 2 / dual, rel=1e-4)
    found = method.advance(batch)
    assert found.margin.isinf().all()  # outside of the ball of 0.01: nothing that is kept
    moved = batch.state["centre"] + 0.9 * (found.x - batch.state["centre"])
    torch.testing.assert_close(batch.state["x"], moved)  # past the border: back towards the point


def test_fab_reports_only_what_lies_in_the_ball(room):
    pool = room.pool(curved(4), np.random.default_rng(0).random((12, 5)).astype(np.float32), "l2", 0.08)
    kept = []
    method = Fab(pool.copy, pool.ball, steps=20)
    plain = method.advance

    def advance(batch):
        found = plain(batch)
        size = pool.ball.size(found.x, batch.state["centre"])
        kept.append((found.wrong & (size > 0.08 * (1 + 1e-5))).any().item())
        assert (found.margin.isinf() | (size <= 0.08 * (1 + 1e-5))).all()
        return found

    watch = Watch(method)
    watch.method = type("M", (), {"advance": staticmethod(advance), "begin": staticmethod(method.begin)})
    assert pool.run(watch, [Task(i, seed=i) for i in range(12)], "FAB-T")
    assert not any(kept)
    assert (pool.arena.sizes() <= 0.08).all()


@settings(max_examples=20, deadline=None, suppress_health_check=STATELESS)
@given(seed=SEEDS, count=st.integers(1, 3))
def test_l0_swaps_never_change_more_cells_than_allowed(room, seed, count):
    random = np.random.default_rng(seed)
    x = random.random((3, 3, 3, 3)).astype(np.float32)
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(27, 8), nn.ReLU(), nn.Linear(8, 3))
    pool = room.pool(net, x, "l0", float(count))
    watch = Watch(Swaps(pool.copy, pool.ball, pool.arena.reach, steps=6))
    tasks = [Task(i, -1, start, i) for i, start in enumerate(["centre", "noise", "noise"])]
    assert pool.run(watch, tasks)
    for asked in watch.asked:
        changed = [min((np.abs(a - c) > 0).any(axis=0).sum() for c in x.astype(np.float64)) for a in asked]
        assert max(changed) <= count
        assert ((asked >= 0) & (asked <= 1)).all()


def test_sums_over_cells_join_the_members_of_one_hot_groups(room):
    x = np.array([[0.2, 1.0, 0.0, 0.0], [0.9, 0.0, 0.0, 1.0]])
    points = room.table(x, [0, 1], ["real", *["boolean"] * 3], onehot={1: "g", 2: "g", 3: "g"})
    cells = Cells(reach(points, Threat("l0", 1.0)), CPU)
    sums = cells.sums(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    assert sorted(sums[0].tolist()) == [1.0, 9.0]
    spread = cells.spread(sums, torch.Size([1, 4]))
    assert spread.tolist() == [[1.0, 9.0, 9.0, 9.0]]


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("place", list(itertools.product([0, 2, 3], [0, 1, 3])))
def test_a_window_is_put_where_the_only_weight_is(room, colours, place):
    """All slope lies in one 2x2 square of 5x5, at every side of the picture: only it may change, as a whole."""
    top, left = place
    w = np.zeros((colours, 5, 5), np.float32)
    w[:, top : top + 2, left : left + 2] = 1.0
    net = nn.Sequential(nn.Flatten(), room.linear(np.stack([w.ravel(), 0 * w.ravel()]), [-0.5, 0.0]))
    x = np.full((1, colours, 5, 5), 0.5, np.float32)
    pool = room.pool(net, x, "patch", 4 / 25)
    watch = Watch(Windows(pool.copy, pool.ball, pool.arena.reach, steps=4))
    assert pool.run(watch, [Task(0)])
    assert pool.arena.broken.tolist() == [0]
    changed = watch.asked[-1][0] != 0.5
    assert (changed == (w > 0)).all()


def test_other_seeds_look_at_other_windows(room):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with torch.no_grad():
        net[1].bias[0] += 100.0
    pool = room.pool(net, np.full((1, 1, 8, 8), 0.5, np.float32), "patch", 4 / 64)
    places = set()
    for seed in range(12):
        watch = Watch(Windows(pool.copy, pool.ball, pool.arena.reach, steps=2))
        pool.run(watch, [Task(0, -1, "noise", seed)])
        places.add((watch.asked[-1][0, 0] != 0.5).tobytes())
        again = Watch(Windows(pool.copy, pool.ball, pool.arena.reach, steps=2))
        pool.run(again, [Task(0, -1, "noise", seed)])
        assert (again.asked[-1] == watch.asked[-1]).all()
    assert len(places) >= 3


@pytest.mark.parametrize("image", [False, True])
def test_square_search_moves_only_to_ends_of_the_ball_and_never_keeps_worse(room, image):
    torch.manual_seed(0)
    shape = (3, 5, 5) if image else (9,)
    net = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 8), nn.Tanh(), nn.Linear(8, 2))
    with torch.no_grad():
        net[3].bias[0] += 20.0
    x = (0.3 + 0.4 * np.random.default_rng(1).random((2, *shape))).astype(np.float32)
    ball = ball_of(room, x, "linf", 0.125)
    method = SquareSearch(Copy(net, shape), ball, steps=120)
    batch = begun(method, ball, [Task(0, seed=4), Task(1, seed=5)])
    lowest = []
    for _ in range(120):
        method.advance(batch)
        batch.step += 1
        lowest.append(batch.state["lowest"].tolist())
        change = (batch.state["x"] - batch.state["centre"]).abs()
        assert ((change < 1e-6) | ((change - 0.125).abs() < 1e-6)).all()
    assert (np.diff(lowest, axis=0) <= 0).all()
    assert (np.array(lowest)[-1] < np.array(lowest)[0]).all()


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, k=st.integers(2, 6))
def test_losses_are_those_of_the_definitions(seed, k):
    random = np.random.default_rng(seed)
    scores = random.normal(size=(5, k)) * 3
    target = random.integers(0, k, 5)
    goal = np.where(random.random(5) < 0.5, -1, (target + 1) % k)
    tensors = torch.tensor(scores), torch.tensor(target), torch.tensor(goal)
    for row in range(5):
        z, t, g = scores[row], target[row], goal[row]
        rival = z[g] if g >= 0 else max(z[j] for j in range(k) if j != t)
        assert float(margin(*tensors)[row]) == pytest.approx(z[t] - rival)
        entropy = float(loss("entropy", *tensors)[row])
        assert entropy == pytest.approx(z[t] - np.log(np.exp(z).sum()))
        s = np.sort(z)[::-1]
        spread = 1.0 if k < 3 else s[0] - ((s[2] + s[3]) / 2 if g >= 0 and k > 3 else s[2])
        assert float(loss("ratio", *tensors)[row]) == pytest.approx((z[t] - rival) / spread, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, shift=st.floats(-5, 5), factor=st.floats(0.5, 20))
def test_the_ratio_does_not_care_for_scale_and_the_margin_not_for_probabilities(seed, shift, factor):
    scores = torch.tensor(np.random.default_rng(seed).normal(size=(4, 5)))
    target, goal = torch.tensor([0, 1, 2, 3]), torch.tensor([-1, 2, -1, 4])
    ratio = loss("ratio", scores, target, goal)
    torch.testing.assert_close(
        loss("ratio", factor * scores + shift, target, goal), ratio, rtol=1e-6, atol=1e-6
    )
    plain = margin(scores, target, goal)
    torch.testing.assert_close(margin(logarithms(scores.softmax(dim=1)), target, goal), plain)
    assert torch.equal(logarithms(scores), scores)


def test_a_module_without_a_slope_gives_zeros_and_scores_still():
    class Step(nn.Module):
        def forward(self, x):
            return torch.stack([(x[:, 0] > 0.5).float(), torch.full((len(x),), 0.25)], dim=1)

    copy = Copy(Step(), (2,))
    seen = copy.look(torch.tensor([[0.9, 0.0], [0.1, 0.0]]), *goalless(2), "margin")
    assert seen.slope.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert seen.margin.tolist() == [0.75, -0.25]
    assert seen.wrong.tolist() == [False, True]


def test_slopes_that_are_not_numbers_do_not_spread():
    class Root(nn.Module):
        def forward(self, x):
            return torch.stack([x.clamp_min(0).sqrt().sum(dim=1), torch.zeros(len(x))], dim=1)

    seen = Copy(Root(), (2,)).look(torch.tensor([[0.0, 0.25]]), *goalless(1), "margin")
    assert seen.slope.isfinite().all()
    assert float(seen.slope[0, 1]) == 1.0


@pytest.mark.parametrize("limit", range(4, 60, 5))
@pytest.mark.parametrize("name", ["apgd", "descent", "fab", "square"])
def test_a_budget_cut_at_any_step_is_kept_and_what_was_seen_stays(room, name, limit):
    net = curved(1, safe=30.0)
    x = np.random.default_rng(3).random((4, 5)).astype(np.float32)
    pool = room.pool(net, x, "linf", 0.1, budget=Budget(passes=limit))
    method = {
        "apgd": lambda: Apgd(pool.copy, pool.ball, steps=30, kind="entropy"),
        "descent": lambda: Descent(pool.copy, pool.ball, steps=30, patient=True),
        "fab": lambda: Fab(pool.copy, pool.ball, steps=30),
        "square": lambda: SquareSearch(pool.copy, pool.ball, steps=30),
    }[name]()
    watch = Watch(method)
    assert not pool.run(watch, [Task(i, seed=i) for i in range(4)])
    assert pool.arena.share.cut == "passes"
    spent = sum(map(len, watch.asked)) * (method.forward + method.backward)
    assert limit - 8 < spent <= limit
    seen = pool.arena.tried
    assert np.isfinite(pool.record.margin[seen]).sum() == (
        0 if name == "fab" and not seen.any() else seen.sum()
    )
    assert np.isinf(pool.record.margin[~seen]).all()


def test_a_record_keeps_the_least_of_two_searches_on_one_point(room):
    x = np.zeros((2, 1), np.float32)
    record = Record(np.full(2, np.inf), x.copy())
    ball = ball_of(room, x, "linf", 0.5)
    batch = begun(type("M", (), {"begin": staticmethod(lambda _: None)}), ball, [Task(0), Task(0), Task(1)])
    found = type(
        "F", (), {"x": torch.tensor([[0.1], [0.2], [0.3]]), "margin": torch.tensor([2.0, 1.0, torch.inf])}
    )
    record.note(batch, found)
    assert record.margin.tolist() == [1.0, np.inf]
    assert record.x[:, 0].tolist() == pytest.approx([0.2, 0.0])
    found.margin = torch.tensor([3.0, 4.0, -1.0])
    record.note(batch, found)
    assert record.margin.tolist() == [1.0, -1.0]
    batch.state["least"] = torch.tensor([1.0, 2.0, -1.0])
    record.close(batch.keep(np.array([True, True, False])))
    assert record.runs == {(0, -1): [1.0, 2.0]}


def test_batches_keep_and_join_row_by_row(room):
    ball = ball_of(room, np.random.default_rng(0).random((3, 2)).astype(np.float32), "linf", 0.1)
    nothing = type("M", (), {"begin": staticmethod(lambda _: None)})
    whole = begun(nothing, ball, [Task(0), Task(1), Task(2)])
    parts = whole.keep(np.array([True, False, False])).join(whole.keep(np.array([False, True, True])))
    assert parts.tasks == whole.tasks
    for name, value in whole.state.items():
        assert torch.equal(parts.state[name], value)
    assert whole.keep(np.ones(3, np.bool_)) is whole


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", ["apgd", "descent", "fab"])
def test_every_restart_repeats_and_other_seeds_differ(room, norm, name):
    net, x = curved(6, safe=30.0), np.random.default_rng(1).random((3, 5)).astype(np.float32)
    make = {
        "apgd": lambda pool: Apgd(pool.copy, pool.ball, steps=12, kind="margin"),
        "descent": lambda pool: Descent(pool.copy, pool.ball, steps=12, patient=True),
        "fab": lambda pool: Fab(pool.copy, pool.ball, steps=12),
    }[name]

    def trace(seed):
        pool = room.pool(net, x, norm, 0.2)
        watch = Watch(make(pool))
        assert pool.run(watch, [Task(i, -1, "noise", seed + i) for i in range(3)])
        return np.concatenate(watch.asked)

    assert np.array_equal(trace(10), trace(10))
    assert not np.array_equal(trace(10)[:3], trace(20)[:3])


def test_one_way_columns_move_one_way(room):
    random = np.random.default_rng(0)
    x = 0.2 + 0.6 * random.random((6, 3))
    points = room.table(x, [0] * 6, ["real"] * 3)
    from dataclasses import replace

    columns = tuple(
        replace(column, direction=way)
        for column, way in zip(points.columns, ["up", "down", "any"], strict=True)
    )
    ball = Ball(reach(replace(points, columns=columns), Threat("linf", 0.3)), CPU)
    centre, low, high = ball.corners(np.arange(6))
    assert torch.equal(low[:, 0], centre[:, 0])
    assert torch.equal(high[:, 1], centre[:, 1])
    assert (low[:, 2] < centre[:, 2]).any()
    floor, roof = ball.box(np.arange(6))
    assert torch.equal(floor[:, 0], centre[:, 0])
    assert torch.equal(roof[:, 1], centre[:, 1])
    start = ball.start("corner", list(range(6)), centre, (low, high))
    assert (start[:, 0] >= centre[:, 0]).all()
    assert (start[:, 1] <= centre[:, 1]).all()
