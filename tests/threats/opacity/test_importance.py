import numpy as np
import pytest

from modelward.core.budget import Budget
from modelward.core.check import Settings
from modelward.core.data import Column
from modelward.threats.opacity.importance import LIMIT, REPEATS, ImportanceCheck
from modelward.threats.opacity.judge import importance, judge_shortcut, surviving_share
from modelward.threats.opacity.parts import parts


def columns(*names, **changes):
    return tuple(Column(name=name, kind="real", lower=0, upper=1, **changes.get(name, {})) for name in names)


@pytest.fixture
def table(lab):
    """Six columns of noise around a label that column 3 tells exactly and column 0 a little."""

    def make(n=800, *, seed=0, **changes):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, n)
        x = rng.random((n, 6))
        x[:, 3] = 0.5 * y + 0.5 * rng.random(n)
        x[:, 0] += 0.5 * y
        return lab.data(x, y, columns=columns("a", "b", "c", "d", "e", "f", **changes))

    return make


def examined(lab, model, data, **options):
    found = lab.run(ImportanceCheck, lab.subjects(model, data), **options)
    return found, judge_shortcut(found)


def entry(found, name):
    return next(e for e in found[0].outcome["features"] if e["name"] == name)


class TestKnownAnswers:
    def test_a_model_that_uses_column_d_alone(self, lab, table):
        model = lab.model(lambda x: lab.two((x[:, 3] > 0.5) * 1.0))
        found, judgement = examined(lab, model, table())
        claim = judgement.claims[0]
        assert claim.scope["feature"] == "d"
        assert claim.value == claim.interval.lower == claim.interval.upper == 1.0
        assert claim.better == "lower"
        assert claim.n == 800
        finding = judgement.findings[0]
        assert (finding.rule, finding.severity, finding.location) == ("opacity.shortcut", "high", "d")
        # Permuting d leaves a coin toss, permuting anything else changes nothing.
        loss = importance(entry(found, "d")["kept"], REPEATS, 0.95, seed=0)
        assert loss[0] == pytest.approx(0.5, abs=0.05)
        assert loss[1] < loss[0] < loss[2]
        for name in "abcef":
            assert importance(entry(found, name)["kept"], REPEATS, 0.95, seed=0) == (0.0, 0.0, 0.0)
        assert "d 0." in claim.note

    def test_a_model_that_needs_two_columns_together(self, lab):
        # The parity of two signs: either alone is a coin toss, and so is the majority.
        rng = np.random.default_rng(1)
        x = rng.normal(size=(1000, 4))
        y = ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(int)
        model = lab.model(lambda x: lab.two(((x[:, 0] > 0) ^ (x[:, 1] > 0)) * 1.0))
        found, judgement = examined(lab, model, lab.data(x, y))
        claim = judgement.claims[0]
        assert claim.value < 0.15
        assert claim.interval.lower == 0.0
        assert not judgement.findings
        for name in ("feature 0", "feature 1"):
            assert importance(entry(found, name)["kept"], REPEATS, 0.95, seed=0)[0] == pytest.approx(
                0.5, abs=0.05
            )

    def test_surviving_share_by_construction(self, lab):
        # Column 0 decides 80 % of rows; where column 1 is set, column 2 does. With 1 and 2 permuted, rows of the
        # first kind stay right with 0.8 + 0.2 / 2 and the others with 1/2: 0.82. (0.82 - 0.5) / (1 - 0.5) = 0.64.
        rng = np.random.default_rng(2)
        n = 1000
        x = np.column_stack([rng.integers(0, 2, n), rng.random(n) < 0.2, rng.integers(0, 2, n)]).astype(float)
        decide = lambda x: np.where(x[:, 1] > 0, x[:, 2], x[:, 0])  # noqa: E731  # one formula
        claim = examined(lab, lab.model(lambda x: lab.two(decide(x))), lab.data(x, decide(x)))[1].claims[0]
        assert claim.scope["feature"] == "feature 0"
        assert claim.value == pytest.approx(0.64, abs=0.06)
        assert claim.interval.lower < 0.64 < claim.interval.upper

    def test_chance_alone_chooses_no_shortcut_among_many_features(self, lab):
        # The label is the sign of a sum of 30 equal columns: the luckiest one must not look special.
        rng = np.random.default_rng(3)
        x = rng.normal(size=(600, 30))
        model = lab.model(lambda x: lab.two((x.sum(1) > 0) * 1.0))
        claim = examined(lab, model, lab.data(x, (x.sum(1) > 0).astype(int)))[1].claims[0]
        truth = 2 / np.pi * np.arcsin(1 / 30)  # 2 P(both sums have one sign) - 1 at correlation 1/30
        assert claim.interval.lower <= truth <= claim.interval.upper

    def test_sensitive_shortcut_is_named_as_such(self, lab, table):
        data = table(d={"sensitive": True})
        judgement = examined(lab, lab.model(lambda x: lab.two((x[:, 3] > 0.5) * 1.0)), data)[1]
        assert "sensitive column" in judgement.findings[0].message

    def test_a_useless_model_has_no_accuracy_to_share(self, lab, table):
        judgement = examined(lab, lab.model(lambda x: lab.two(np.zeros(len(x)))), table())[1]
        claim = judgement.claims[0]
        assert claim.value is None
        assert claim.interval is None
        assert "not shown to beat the majority" in claim.note
        assert not judgement.findings

    def test_nan_answers_to_permuted_rows_count_as_wrong(self, lab):
        # A model that answers NaN to rows that do not occur in the data: alone, nothing survives.
        y = np.arange(400) % 2
        x = np.column_stack([y, y, y]).astype(float)

        def answer(x):
            known = (x == x[:, :1]).all(axis=1)
            return np.where(known[:, None], lab.two(x[:, 0]), np.nan)

        claim = examined(lab, lab.model(answer), lab.data(x, y))[1].claims[0]
        # A permuted pair agrees with the row half of the time: accuracy 1/2, none of it above the majority.
        assert claim.value == pytest.approx(0.0, abs=0.1)

    def test_an_image_that_is_decided_by_one_patch(self, lab):
        rng = np.random.default_rng(4)
        y = rng.integers(0, 2, 300)
        x = rng.random((300, 1, 8, 8)).astype(np.float32)
        x[:, 0, 6:, 6:] = y[:, None, None]
        model = lab.model(lambda x: lab.two((x[:, 0, 6:, 6:].mean((1, 2)) > 0.5) * 1.0))
        judgement = examined(lab, model, lab.data(x, y))[1]
        assert judgement.findings[0].location == "rows 6 to 7, columns 6 to 7"


class TestBudget:
    def run(self, lab, table, queries, n=800):
        model = lab.model(lambda x: lab.two((x[:, 3] > 0.5) * 1.0))
        found, judgement = examined(lab, model, table(n), budget=Budget(queries=queries))
        assert model.asked <= queries
        return model, found, judgement

    @pytest.mark.parametrize("queries", [1, 49])
    def test_not_even_the_baseline_is_no_evidence(self, lab, table, queries):
        _, found, judgement = self.run(lab, table, queries)
        assert found == []
        assert judgement.claims == ()

    def test_fewer_rows_before_fewer_features(self, lab, table):
        # 6 features: 17 passes over the rows pay for one round and more.
        _, found, judgement = self.run(lab, table, 1700)
        assert found[0].n == 100
        assert found[0].cut == "queries"
        assert {e["repeats"] for e in found[0].outcome["features"]} <= {1, 2}
        assert judgement.claims[0].scope["feature"] == "d"
        assert judgement.claims[0].value == 1.0

    def test_cut_in_the_first_round_leaves_the_shortcut_unknown(self, lab, table):
        _, found, judgement = self.run(lab, table, 250)
        assert 0 < len(found[0].outcome["features"]) < 6
        assert "strongest" not in found[0].outcome
        assert judgement.claims[0].value is None
        assert "Cut before every feature" in judgement.claims[0].note

    def test_whole_run_asks_what_it_says(self, lab, table):
        model, found, _ = self.run(lab, table, 10**6)
        assert found[0].cut is None
        assert model.asked == found[0].cost.queries == 800 * (1 + 6 * (REPEATS + 1) + REPEATS - 1)

    def test_rows_are_limited(self, lab, table):
        assert self.run(lab, table, 10**6, n=1500)[1][0].n == LIMIT


class TestDeclines:
    def test_a_single_feature(self, lab):
        subjects = lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), lab.data(np.zeros((5, 1)), [0] * 5))
        assert "single feature" in ImportanceCheck(Settings()).declines(subjects)

    def test_a_single_row(self, lab):
        subjects = lab.subjects(lab.model(lambda x: lab.two(x[:, 0])), lab.data(np.zeros((1, 3)), [0]))
        assert "fewer than two rows" in ImportanceCheck(Settings()).declines(subjects)


class TestParts:
    @pytest.mark.parametrize(
        ("shape", "expected"),
        [
            ((5,), 5),
            ((64,), 64),
            ((784,), 16),
            ((28, 28), 16),
            ((1, 28, 28), 16),
            ((28, 28, 3), 16),
            ((3, 2, 9), 12),
        ],
    )
    def test_cover_every_position_once(self, lab, shape, expected):
        found = parts(lab.data(np.zeros((2, *shape))))
        assert len(found) == expected
        where = np.concatenate([part.where for part in found])
        assert sorted(where) == list(range(int(np.prod(shape))))
        assert len({part.name for part in found}) == expected

    def test_channels_last_patches_hold_all_channels(self, lab):
        first = parts(lab.data(np.zeros((2, 8, 8, 3))))[0]
        assert first.name == "rows 0 to 1, columns 0 to 1"
        assert len(first.where) == 2 * 2 * 3

    def test_one_hot_columns_move_together(self, lab):
        named = columns(
            "age", "red", "blue", red={"onehot": "colour"}, blue={"onehot": "colour", "sensitive": True}
        )
        found = parts(lab.data(np.zeros((2, 3)), columns=named))
        assert [(part.name, part.where.tolist(), part.sensitive) for part in found] == [
            ("age", [0], False),
            ("colour", [1, 2], True),
        ]


class TestShare:
    @staticmethod
    def strongest(majority, minority, repeats=1):
        return {
            "name": "a",
            "sensitive": False,
            "repeats": repeats,
            "majority": majority,
            "minority": minority,
        }

    def test_closed_form(self):
        # 100 rows, 50 of the majority: whole 90 right, alone 70, majority 50.
        entry = self.strongest([[5, 0], [15, 30]], [[5, 0], [5, 40]])
        share, lower, upper = surviving_share(entry, 1, 0.95)
        assert share == pytest.approx((70 - 50) / (90 - 50))
        assert lower < share < upper

    def test_covers_the_truth_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        n, hits = 400, 0
        # Rows: majority with 0.5; right as a whole with 0.9; alone right with 0.7 if right, else never.
        truth = (0.63 - 0.5) / (0.9 - 0.5)
        for _ in range(400):
            major, whole, alone = rng.random(n) < 0.5, rng.random(n) < 0.9, rng.random(n) < 0.7
            key = whole * 2 + (whole & alone)
            tables = [np.bincount(key[part], minlength=4).reshape(2, 2).tolist() for part in (major, ~major)]
            found = surviving_share(self.strongest(*tables), 1, 0.95)
            hits += found is not None and found[1] <= truth <= found[2]
        assert 0.92 <= hits / 400 <= 0.98

    def test_more_candidates_widen_the_interval(self):
        entry = self.strongest([[5, 0], [15, 30]], [[5, 0], [5, 40]])
        one, many = surviving_share(entry, 1, 0.95), surviving_share(entry, 50, 0.95)
        assert many[1] < one[1]
        assert many[2] > one[2]

    def test_repeats_are_averaged(self):
        once = surviving_share(self.strongest([[0, 0], [0, 50]], [[0, 0], [25, 25]]), 1, 0.95)
        twice = surviving_share(self.strongest([[0, 0, 0], [0, 0, 50]], [[0, 0, 0], [0, 50, 0]], 2), 1, 0.95)
        assert once[0] == twice[0] == 0.5
        assert twice[2] - twice[1] < once[2] - once[1]
