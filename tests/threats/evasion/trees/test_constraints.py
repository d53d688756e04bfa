"""What limits a change, and what ends a search: thresholds of every type, one-way columns, sets, budgets."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.errors import OperatorUnsupported
from modelward.numeric.forests import leaves as ends
from modelward.numeric.forests import raw_scores
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat
from modelward.threats.evasion.trees.check import TreesCheck
from modelward.threats.evasion.trees.costs import Costs
from modelward.threats.evasion.trees.descent import descended
from modelward.threats.evasion.trees.distance import Distance, measured, polished, smallest
from modelward.threats.evasion.trees.leaves import above, at_most, leaves
from modelward.threats.evasion.trees.nearby import nearby, probed, spans
from modelward.threats.evasion.trees.search import Effort

NORMS = ["linf", "l2", "l1", "l0"]
LIMIT = {"linf": 2.0, "l2": 4.0, "l1": 8.0, "l0": 9.0}
SEEDS = st.integers(0, 2**32)
KINDS = ["real", "category", "integer", "real", *["boolean"] * 3]


class Store:
    def __init__(self):
        self.kept = []

    def put(self, arrays):
        self.kept.append(dict(arrays))
        return f"sha256:{len(self.kept):064x}"


def mixed(wood, rng, n=6, trees=6):
    """Numbers, codes, whole numbers, missing values and a one-hot group, under one forest."""
    x = np.column_stack(
        [
            rng.random(n),
            rng.integers(0, 4, n),
            rng.integers(0, 4, n),
            rng.random(n),
            np.eye(3)[rng.integers(0, 3, n)],
        ]
    ).astype(float)
    x[:: max(2, n // 2), 3] = np.nan
    forest = wood.random(rng, 7, trees=trees, coded=(1,))
    forest.threshold[forest.feature == 2] *= 3
    return wood.table(x, kinds=KINDS, onehot={4: "g", 5: "g", 6: "g"}), forest


def target_of(forest, data, row):
    return int(raw_scores(forest, data.x[row : row + 1].reshape(1, -1).astype(np.float64)).argmax())


def stump(wood, threshold, *, width=1, feature=0, missing=False, slack=0.0):
    """Left of the threshold the first class, right of it the second."""
    grower = wood.grower(width, 2)
    grower.roots = [0]
    grower.add(feature, threshold, missing)
    grower.add(value=[1.0, 0.0])
    grower.add(value=[0.0, 1.0])
    return grower.forest({0: (1, 2)}, slack=slack)


@settings(max_examples=60, deadline=None)
@given(
    threshold=st.floats(0.05, 0.95),
    steps=st.integers(-2, 3),
    kind=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_a_stump_falls_at_the_next_number_of_the_points_type(wood, threshold, steps, kind):
    """Points around the threshold: the distance is to the first number of their own type on the other side."""
    forest = stump(wood, threshold)
    own = kind(threshold)
    for _ in range(abs(steps)):
        own = np.nextafter(own, kind(np.inf if steps > 0 else -np.inf))
    data = wood.table([[own]], dtype=kind)
    side = float(own) > threshold
    other = own
    while (float(other) > threshold) == side:
        other = np.nextafter(other, kind(-np.inf if side else np.inf))
    exact = abs(float(other) - float(own))
    point = wood.point(forest, data, 0, "linf", int(side))
    found = smallest(point, wood.effort, Distance(0.0, np.inf), 1.0)
    assert found.upper == pytest.approx(exact, rel=1e-9)
    assert float(found.x[0]) == float(other)
    assert point.decide(exact * (1 - 1e-6), wood.effort).verdict == "none"


@settings(max_examples=100, deadline=None)
@given(
    threshold=st.floats(-2, 2), kind=st.sampled_from([np.float16, np.float32, np.float64, np.uint8, np.int32])
)
def test_borders_belong_to_neighbours_of_the_points_type(wood, threshold, kind):
    points = reach(wood.table(np.zeros((1, 1)), dtype=kind), Threat("linf", 1.0))
    low = at_most(np.array([threshold]), points)
    high = above(low, points)
    assert low[0] <= threshold < high[0]
    if np.issubdtype(kind, np.floating):
        assert high[0] == float(np.nextafter(kind(low[0]), kind(np.inf)))
    else:
        assert high[0] == low[0] + 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("way", "falls"), [("up", [0]), ("down", [1]), ("any", [0, 1])])
def test_one_way_columns(wood, norm, way, falls):
    """A point below the threshold needs a rise, one above it a fall."""
    forest, data = stump(wood, 0.5), wood.table([[0.4], [0.6]])
    data = replace(data, columns=(replace(data.columns[0], direction=way),))
    for row in range(2):
        point = wood.point(forest, data, row, norm, row)
        verdict = point.decide(1.0, wood.effort).verdict
        assert verdict == ("found" if row in falls else "none")
        assert (descended(point, 1.0, wood.effort, starts=3) is not None) == (row in falls)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, norm=st.sampled_from(NORMS))
def test_one_way_columns_by_brute_force(wood, seed, norm):
    rng = np.random.default_rng(seed)
    forest, data = wood.random(rng, 3, trees=5, depth=2), wood.table(rng.random((2, 3)))
    ways = rng.choice(["up", "down", "any"], 3)
    data = replace(
        data, columns=tuple(replace(c, direction=w) for c, w in zip(data.columns, ways, strict=True))
    )
    for row in range(2):
        target = target_of(forest, data, row)
        expected = wood.brute(forest, data, row, norm, target)
        found = smallest(
            wood.point(forest, data, row, norm, target), wood.effort, Distance(0.0, np.inf), LIMIT[norm]
        )
        assert found.upper == pytest.approx(expected, rel=1e-7)
        if found.x is not None:
            change = found.x - data.x[row]
            assert all(
                (c >= 0 or w != "up") and (c <= 0 or w != "down") for c, w in zip(change, ways, strict=True)
            )


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, norm=st.sampled_from(NORMS))
def test_everything_at_once_by_brute_force(wood, seed, norm):
    rng = np.random.default_rng(seed)
    data, forest = mixed(wood, rng, n=2, trees=5)
    for row in range(2):
        target = target_of(forest, data, row)
        expected = wood.brute(forest, data, row, norm, target)
        found = smallest(
            wood.point(forest, data, row, norm, target), wood.effort, Distance(0.0, np.inf), LIMIT[norm]
        )
        assert np.isinf(found.upper) == np.isinf(expected)
        if np.isfinite(expected):
            assert found.upper == pytest.approx(expected, rel=1e-7)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, norm=st.sampled_from(NORMS))
def test_what_is_decided_at_one_radius_holds_at_the_others(wood, seed, norm):
    """Never found at a radius and none at a larger one; nor does a search depend on those before it."""
    rng = np.random.default_rng(seed)
    data, forest = mixed(wood, rng, n=3)
    radii = [1.0, 2.0, 3.0] if norm == "l0" else [0.02, 0.1, 0.3, 0.8]
    for row in range(3):
        target = target_of(forest, data, row)
        point = wood.point(forest, data, row, norm, target)
        verdicts = [point.decide(eps, wood.effort).verdict for eps in radii]
        assert verdicts == sorted(verdicts, reverse=True)  # none, ..., none, found, ..., found
        fresh = [wood.point(forest, data, row, norm, target).decide(eps, wood.effort) for eps in radii[::-1]]
        assert [answer.verdict for answer in fresh[::-1]] == verdicts


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_norms_order_the_distances(wood, seed):
    """Linf <= L2 <= L1 <= d Linf, and no fewer changes than L0 says, for the same forest and point."""
    rng = np.random.default_rng(seed)
    forest, data = wood.random(rng, 3, trees=5), wood.table(rng.random((1, 3)))
    target = target_of(forest, data, 0)
    found = {
        norm: smallest(
            wood.point(forest, data, 0, norm, target), wood.effort, Distance(0.0, np.inf), LIMIT[norm]
        )
        for norm in NORMS
    }
    size = {norm: one.upper for norm, one in found.items()}
    assert size["linf"] <= size["l2"] * (1 + 1e-7) <= size["l1"] * (1 + 3e-7)
    assert size["l1"] <= 3 * size["linf"] * (1 + 1e-7)
    if np.isfinite(size["l0"]):
        assert size["l0"] <= min((one.x != data.x[0]).sum() for one in found.values())


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_missing_values_stay_missing_and_go_where_the_node_says(wood, missing, norm):
    forest = stump(wood, 0.5, width=2, missing=missing)
    data = wood.table([[np.nan, 0.3], [0.2, 0.3]])
    point = wood.point(forest, data, 0, norm, 0 if missing else 1)
    assert point.decide(2.0, wood.effort).verdict == "none"  # no change of the other column matters
    present = wood.point(forest, data, 1, norm, 0).decide(2.0, wood.effort)
    assert present.verdict == "found"
    assert not np.isnan(present.x).any()


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_leaves_hold_exactly_the_inputs_that_end_in_them(wood, seed):
    """The boxes of the leaves against the forest itself, row by row, missing values and codes included."""
    rng = np.random.default_rng(seed)
    data, forest = mixed(wood, rng, n=8)
    costs = Costs(forest, reach(data, Threat("linf", np.inf)))
    found = costs.leaves
    for x in data.x:
        own = x[found.feature]
        fits = np.where(np.isnan(own), found.missing, (own > found.lower) & (own <= found.upper))
        inside = np.logical_and.reduceat(fits, found.start)
        for s, switch in enumerate(found.switches):
            same = (switch.cells == x[switch.features]) | (
                np.isnan(switch.cells) & np.isnan(x[switch.features])
            )
            inside &= found.allowed[:, found.first[s] + int(same.all(axis=1).argmax())]
        assert sorted(found.node[inside].tolist()) == sorted(ends(forest, x[None])[0].tolist())


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, norm=st.sampled_from(NORMS))
def test_what_a_leaf_costs_is_its_cheapest_input(wood, seed, norm):
    rng = np.random.default_rng(seed)
    data, forest = mixed(wood, rng, n=2, trees=3)
    wide = reach(data, Threat(norm, np.inf))
    costs = Costs(forest, wide)
    for row in range(2):
        edges = []
        for i in range(7):
            here = forest.threshold[(forest.feature == i) & (forest.subset < 0)]
            own = data.x[row, i]
            values = [own] if np.isnan(own) else [own, *here, *np.nextafter(here, np.inf)]
            if KINDS[i] in {"category", "integer"}:
                values = [own, *range(4)]
            elif KINDS[i] == "boolean":
                values = [0.0, 1.0]
            edges.append(sorted(set(values)))
        x = np.array(list(itertools.product(*edges)))
        index = np.full(len(x), row)
        x = x[wide.admits(x, index)]
        sizes = wide.size(x, index[: len(x)])
        totals = costs.leaf_totals(costs.numbers(row), costs.cells(row))
        where = ends(forest, x)
        for leaf, total in zip(costs.leaves.node, totals, strict=True):
            tree = np.flatnonzero((where == leaf).any(axis=0))
            reached = sizes[(where == leaf).any(axis=1)] if len(tree) else np.zeros(0)
            if len(reached) == 0:
                assert np.isinf(total)
            else:
                assert costs.size(total) == pytest.approx(reached.min(), rel=1e-9, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, norm=st.sampled_from(NORMS), part=st.floats(0.1, 1.0))
def test_nearby_leaves_keep_every_choice_within_the_radius(wood, seed, norm, part):
    """No input within the radius lies in a leaf that was dropped, and the leaves of one input all meet."""
    rng = np.random.default_rng(seed)
    data, forest = mixed(wood, rng, n=3)
    eps = 2.0 if norm == "l0" else part
    wide = reach(data, Threat(norm, eps))
    costs = Costs(forest, wide)
    for row in range(3):
        cells, radius = costs.cells(row), costs.radius(eps)
        totals = costs.leaf_totals(costs.numbers(row), cells)
        found = nearby(costs, row, (cells, totals), radius)
        near = np.repeat(data.x[row][None], 200, axis=0)
        near[:, 0] += rng.uniform(-eps, eps, 200) * (rng.random(200) < 0.5)
        near[:, 2] = np.where(rng.random(200) < 0.3, rng.integers(0, 4, 200), near[:, 2])
        near[:, 1] = np.where(rng.random(200) < 0.3, rng.integers(0, 4, 200), near[:, 1])
        near = near[wide.admits(near, np.full(200, row))]
        assert len(near)
        raw = raw_scores(forest, near)
        alive = totals <= radius
        place = {int(node): i for i, node in enumerate(costs.leaves.node)}
        varied = np.flatnonzero(np.bincount(costs.leaves.tree[alive], minlength=len(forest.roots)) > 1)
        order = np.flatnonzero(alive & np.isin(costs.leaves.tree, varied))
        for own, scores in zip(ends(forest, near), raw, strict=True):
            rows = [place[int(node)] for node in own]
            assert alive[rows].all()
            chosen = [int(np.flatnonzero(order == i)[0]) for i in rows if costs.leaves.tree[i] in varied]
            assert found.meets[np.ix_(chosen, chosen)].all()
            np.testing.assert_allclose(found.base + found.value[chosen].sum(axis=0), scores, atol=1e-12)
            weight = found.value[:, 0] - found.value[:, 1]
            room = float(weight[chosen].sum())
            kept = probed(found, weight, room + 1e-9) if len(weight) else found
            assert kept is not None
            assert len(kept.tree) <= len(found.tree)
            for i in chosen:  # the choice that fits the room exactly is never probed away
                same = (kept.tree == found.tree[i]) & (kept.value == found.value[i]).all(axis=1)
                assert same.any()
    assert [b - a for a, b in spans(costs)] == [len(s.cells) for s in costs.leaves.switches]


def test_a_feature_split_by_sets_must_be_whole_and_bounded(wood):
    rng = np.random.default_rng(0)
    forest = wood.random(rng, 1, trees=4, coded=(0,))
    for kinds, high, match in [(["real"], 3.0, "sets of codes"), (["integer"], 1e6, "sets of codes")]:
        data = wood.table([[1.0]], kinds=kinds)
        data = replace(data, box=replace(data.box, upper=np.array([high])))
        with pytest.raises(OperatorUnsupported, match=match):
            leaves(forest, reach(data, Threat("linf", 1.0)))
    fine = wood.table([[1.0]], kinds=["integer"])
    assert len(leaves(forest, reach(fine, Threat("linf", 1.0))).switches) == 1


def test_a_forest_of_single_leaves_never_changes_its_mind(wood):
    grower = wood.grower(2, 3)
    grower.roots = [0, 1]
    grower.add(value=[0.5, 0.2, 0.1])
    grower.add(value=[0.1, 0.2, 0.1])
    forest = grower.forest({})
    for norm in NORMS:
        point = wood.point(forest, wood.table([[0.3, 0.4]]), 0, norm, 0)
        assert point.decide(LIMIT[norm], wood.effort).verdict == "none"
        found = smallest(point, wood.effort, Distance(0.0, np.inf), LIMIT[norm])
        assert np.isinf(found.upper)
        assert found.lower >= LIMIT[norm]
        # Asked against a class that it does not decide for, the point itself is the witness.
        wrong = wood.point(forest, wood.table([[0.3, 0.4]]), 0, norm, 1)
        assert wrong.decide(0.0, wood.effort).x.tolist() == [0.3, 0.4]


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, norm=st.sampled_from(NORMS), allowed=st.integers(0, 40))
def test_a_search_cut_anywhere_says_nothing_false(wood, seed, norm, allowed):
    """The budget ends after any number of samples: what is then said agrees with the whole search, or is open."""
    rng = np.random.default_rng(seed)
    forest, data = wood.random(rng, 4, trees=12, depth=4, grid=15), wood.table(rng.random((1, 4)))
    target = target_of(forest, data, 0)
    eps = 2.0 if norm == "l0" else 0.25
    whole = wood.point(forest, data, 0, norm, target).decide(eps, wood.effort)
    left = [allowed]

    def take(samples):
        left[0] -= samples
        return left[0] >= 0

    point = wood.point(forest, data, 0, norm, target)
    cut = point.decide(eps, Effort(states=10**6, take=take))
    assert cut.verdict in {whole.verdict, "open"}
    assert (cut.x is not None) == (cut.verdict == "found")
    left[0] = allowed
    narrowed = smallest(point, Effort(states=10**6, take=take), Distance(0.0, np.inf), LIMIT[norm])
    exact = smallest(
        wood.point(forest, data, 0, norm, target), wood.effort, Distance(0.0, np.inf), LIMIT[norm]
    )
    assert narrowed.lower <= exact.upper * (1 + 1e-8)
    assert narrowed.upper >= exact.upper * (1 - 1e-8)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, norm=st.sampled_from(NORMS), part=st.floats(0.2, 3.0))
def test_what_is_known_beforehand_only_helps(wood, seed, norm, part):
    """Starting from any true bounds ends at the same distance; bounds never come out wider."""
    rng = np.random.default_rng(seed)
    forest, data = wood.random(rng, 3, trees=5), wood.table(rng.random((1, 3)))
    point = wood.point(forest, data, 0, norm, target_of(forest, data, 0))
    exact = smallest(point, wood.effort, Distance(0.0, np.inf), LIMIT[norm])
    if exact.x is None:
        return
    lower = exact.upper * min(part, 0.9) if norm != "l0" else max(1.0, exact.upper - 1)
    tries = rng.random((200, 3))
    worse = next((x for x in tries if point.wrong(x[None])[0]), exact.x)
    again = smallest(point, wood.effort, Distance(lower, measured(point, worse), worse), LIMIT[norm])
    assert again.upper == pytest.approx(exact.upper, rel=1e-8)
    assert again.lower >= lower
    assert again.exact
    assert measured(point, polished(point, worse)) <= measured(point, worse)


@pytest.fixture(scope="module")
def case(wood):
    rng = np.random.default_rng(21)
    forest = wood.random(rng, 3, trees=9, depth=4, grid=12)
    x = rng.random((14, 3))
    return forest, wood.table(x, y=raw_scores(forest, x).argmax(axis=1))


def checked(wood, forest, data, *, budget=None, answer=None, **options):
    store = Store()
    subjects = Subjects(model=wood.model(forest, answer=answer), data=data, attachments=store)
    meter = Meter(budget or Budget())
    evidence = list(TreesCheck(Settings(**options)).run(subjects, budget=meter, seed=1))
    return evidence, store, meter


@pytest.mark.parametrize("passes", [14, 15, 20, 35, 60, 100, 200, 400])
def test_passes_cut_at_every_stage(wood, case, passes):
    """Before, within and after the searches, and while distances are narrowed: nothing false, nothing beyond."""
    forest, data = case
    whole, _, _ = checked(wood, forest, data, norms=("l2",), eps=(0.1, 0.3))
    cut, _, meter = checked(wood, forest, data, norms=("l2",), eps=(0.1, 0.3), budget=Budget(passes=passes))
    assert meter.cost.forward + meter.cost.backward <= passes
    assert [one.parameters["eps"] for one in cut] == [0.1, 0.3]
    for one, full in zip(cut, whole, strict=True):
        assert set(one.outcome["broken"]) <= set(full.outcome["broken"])
        assert set(one.outcome.get("certified", [])) <= set(full.outcome["certified"])
        assert not set(one.outcome["broken"]) & set(one.outcome.get("certified", []))
        if "distances" in one.outcome:
            rows = zip(one.outcome["distances"]["lower"], full.outcome["distances"]["upper"], strict=False)
            assert all(high is None or low <= high * (1 + 1e-8) for low, high in rows)


@pytest.mark.parametrize("queries", [0, 13, 14, 15, 20, 28])
def test_queries_cut_at_every_stage(wood, case, queries):
    forest, data = case
    whole, _, _ = checked(wood, forest, data, norms=("linf",), eps=(0.3,))
    (cut,), store, meter = checked(
        wood, forest, data, norms=("linf",), eps=(0.3,), budget=Budget(queries=queries)
    )
    assert meter.cost.queries <= queries
    assert set(cut.outcome.get("broken", [])) <= set(whole[0].outcome["broken"])
    if not cut.outcome.get("broken"):
        assert store.kept == []


def test_the_same_evidence_every_time(wood, case):
    forest, data = case
    options = {"norms": ("linf", "l0"), "eps": (0.2, 1.0)}
    (one, store, _), (two, other, _) = (checked(wood, forest, data, **options) for _ in range(2))
    assert [e.outcome for e in one] == [e.outcome for e in two]
    for a, b in zip(store.kept, other.kept, strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)


def test_a_runtime_that_denies_some_witnesses_keeps_them_from_being_counted(wood, case):
    """The runtime insists on the first class wherever the first column is above 1/2."""
    forest, data = case
    rows = data.x[:, 0] <= 0.5

    class Stubborn(wood.model):
        def scores(self, x):
            return np.where(np.asarray(x)[:, :1] > 0.5, [[1.0, 0.0]], super().scores(x))

    model = Stubborn(forest)
    points = replace(data, x=data.x[rows & (data.y == 0)], y=data.y[rows & (data.y == 0)])
    points = replace(points, rows=np.arange(len(points.x)), total=len(points.x))
    store = Store()
    subjects = Subjects(model=model, data=points, attachments=store)
    (evidence,) = TreesCheck(Settings(norms=("linf",), eps=(0.4,))).run(subjects, budget=Meter(), seed=1)
    honest, _, _ = checked(wood, forest, points, norms=("linf",), eps=(0.4,))
    assert set(evidence.outcome["broken"]) <= set(honest[0].outcome["broken"])
    for kept in store.kept:
        assert (kept["x"][:, 0] <= 0.5).all()
    said = {*evidence.outcome["broken"], *evidence.outcome["certified"], *evidence.outcome["undecided"]}
    assert said == set(evidence.outcome["correct"])
    assert evidence.outcome["certified"] == honest[0].outcome["certified"]


def test_radii_share_what_is_known(wood, case):
    """A point proved at a large radius costs nothing at a smaller one; the answers are those of single runs."""
    forest, data = case
    radii = (0.05, 0.1, 0.2, 0.4)
    together, _, meter = checked(wood, forest, data, norms=("linf",), eps=radii)
    apart = [checked(wood, forest, data, norms=("linf",), eps=(eps,)) for eps in radii]
    for one, (alone, _, _) in zip(together, apart, strict=True):
        for name in ("broken", "certified", "undecided"):
            assert one.outcome[name] == alone[0].outcome[name]
    assert meter.cost.forward < sum(spent.cost.forward for _, _, spent in apart)
    certified = [set(one.outcome["certified"]) for one in together]
    assert all(b <= a for a, b in itertools.pairwise(certified))
