from __future__ import annotations

import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.canonical import canonical
from modelward.core.check import Settings, Subjects
from modelward.core.evidence import to_json
from modelward.errors import ModelNonFinite
from modelward.threats.evasion.arena import Arena, arenas, choose, examine, opened, trouble
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.threat import Threat


def step(x):
    """Class 1 above one half, in the first feature."""
    return np.column_stack([np.full(len(x), 0.5), x[:, 0]])


@pytest.fixture
def case(room):
    model = room.callable(step)
    x = np.column_stack([np.linspace(0.05, 0.95, 10), np.full(10, 0.5)])
    points = room.labelled(model, x, rows=np.arange(10) * 3)
    return model, points, Subjects(model=model, data=points, attachments=None)


def arena(subjects, norm="linf", eps=0.2, meter=None):
    meter = meter or Meter()
    points = examine(subjects, Settings(), meter)
    return Arena(points, Threat(norm, eps), share=Share(meter), seed=1)


def test_submitted_candidates_are_made_admissible_before_the_model_sees_them(case):
    model, points, subjects = case
    seen = []
    where = arena(subjects)
    model.answer = lambda x: seen.append(x.copy()) or step(x)
    index = np.arange(10)
    answer = where.submit(np.full((10, 2), 99.0), index)
    assert (seen[0] == answer.x).all()
    assert where.reach.admits(seen[0], index).all()
    np.testing.assert_allclose(answer.x[:, 0], np.minimum(points.x[:, 0] + 0.2, 1))


def test_only_misclassified_candidates_become_witnesses(case):
    _, points, subjects = case
    where = arena(subjects)
    answer = where.submit(points.x + 0.2, np.arange(10))
    # 0.35 and 0.45 cross one half from below; 0.05 to 0.25 do not reach it.
    assert where.broken.tolist() == [3, 4]
    assert answer.broken.tolist() == [False] * 3 + [True] * 2 + [False] * 5
    kept = where.witnesses()
    assert kept["index"].tolist() == [9, 12]
    assert kept["prediction"].tolist() == [1, 1]
    assert kept["scale"].shape == points.x.shape[1:]
    assert np.array_equal(kept["scale"], np.broadcast_to(points.box.scale, points.x.shape[1:]))
    np.testing.assert_allclose(where.sizes(), 0.2)
    assert where.standing.tolist() == [i not in {3, 4} for i in range(10)]
    assert where.tried.all()


def test_who_watches_hears_of_the_threat_and_of_every_point_that_falls(case):
    _, points, subjects = case
    said = []
    where = arena(subjects, meter=Meter(note=said.append))
    assert said == ["linf 0.2: 0 of 10 broken"]
    where.submit(points.x[:3], np.arange(3))
    assert len(said) == 1
    where.submit(points.x + 0.2, np.arange(10))
    assert said[-1] == "linf 0.2: 2 of 10 broken"


def test_nothing_is_asked_when_the_share_refuses(case):
    model, points, subjects = case
    where = arena(subjects, meter=Meter(Budget(queries=13)))
    asked = model.asked
    assert where.submit(points.x[:4], np.arange(4)) is None
    assert where.share.cut == "queries"
    assert model.asked == asked
    assert where.submit(points.x[:3], np.arange(3)) is not None
    assert not where.tried[3]
    assert where.submit(points.x[:0], np.arange(0)) is None


def test_predictions_are_indices_into_the_labels_of_the_data(room):
    """The model knows its classes in another order, and one that the data does not have."""
    model = room.callable(
        lambda x: np.column_stack([x[:, 0] > 0.8, x[:, 0] < 0.5, (x[:, 0] >= 0.5) & (x[:, 0] <= 0.8)])
    )
    model.outputs = type(model.outputs)(kind="logits", classes=("7", "1", "0"), origin="stated")
    points = room.data(np.array([[0.45], [0.6]]), [1, 0])
    subjects = Subjects(model=model, data=points, attachments=None)
    where = arena(subjects, eps=0.3)
    where.submit(np.array([[0.55], [0.85]]), np.arange(2))
    assert where.witnesses()["prediction"].tolist() == [0, -1]


def test_witnesses_pass_on_only_where_they_hold(case):
    _, points, subjects = case
    small, large, smaller = (arena(subjects, eps=eps) for eps in (0.1, 0.3, 0.02))
    small.submit(points.x + 0.1, np.arange(10))
    assert small.broken.tolist() == [4]
    assert large.adopt(small) == 1
    assert large.broken.tolist() == [4]
    assert large.witnesses()["x"].tolist() == small.witnesses()["x"].tolist()
    assert smaller.adopt(small) == 0
    assert smaller.broken.tolist() == []
    assert not smaller.tried.any()


def test_every_threat_gets_an_arena_and_its_own_seed(case):
    _, _, subjects = case
    meter = Meter()
    points = examine(subjects, Settings(), meter)
    found = list(arenas(points, Settings(eps=(0.1, 0.2)), budget=meter, seed=3))
    assert [(a.reach.threat.norm, a.reach.threat.eps) for a in found] == [
        ("linf", 0.1),
        ("linf", 0.2),
        ("l2", 0.1),
        ("l2", 0.2),
    ]
    assert len({a.seed for a in found}) == 4
    alone = next(iter(arenas(points, Settings(norms=("l2",), eps=(0.2,)), budget=meter, seed=3)))
    assert alone.seed == found[3].seed  # what else is examined does not change what one threat draws


def test_no_arena_follows_a_refusal(case):
    _, _, subjects = case
    meter = Meter(Budget(queries=10))
    points = examine(subjects, Settings(), meter)
    seen = 0
    for _ in arenas(points, Settings(), budget=meter, seed=3):
        seen += 1
        meter.take(queries=1)
    assert seen == 1


def test_progress_reaches_the_end(case):
    _, _, subjects = case
    heard = []
    meter = Meter(observe=lambda done, total: heard.append((done, total)))
    points = examine(subjects, Settings(), meter)
    list(arenas(points, Settings(), budget=meter, seed=3))
    assert heard[-1] == (2000, 2000)


def test_clean_answers_decide_who_is_examined(room):
    model = room.callable(step)
    points = room.data(np.array([[0.2], [0.9], [0.4]]), [0, 0, 1])
    found = examine(Subjects(model=model, data=points, attachments=None), Settings(), Meter())
    assert found.correct.tolist() == [True, False, False]
    assert found.target.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(found.scores, step(points.x))


def test_clean_answers_are_all_or_nothing(case):
    """A part of the points would not be a uniform sample of the data."""
    model, _, subjects = case
    meter = Meter(Budget(queries=9))
    assert examine(subjects, Settings(), meter) is None
    assert (meter.cut, model.asked) == ("queries", 0)
    late = Meter(Budget(seconds=1.0), clock=iter([0.0, 0.0, 2.0, 2.0, 2.0, 2.0]).__next__)
    assert examine(subjects, Settings(), late) is None
    assert late.cut == "seconds"


def test_a_model_that_answers_nan_unmodified_is_a_fault(case):
    model, _, subjects = case
    model.answer = lambda x: np.full((len(x), 2), np.inf)
    with pytest.raises(ModelNonFinite):
        examine(subjects, Settings(), Meter())


def test_the_sample_depends_on_data_and_limit_alone(room):
    points = room.data(np.arange(100.0)[:, None], [0] * 100)
    one, two = choose(points, 10), choose(points, 10)
    assert one.rows.tolist() == two.rows.tolist() == sorted(one.rows.tolist())
    assert len(choose(points, 1000)) == 100
    assert (one.x[:, 0] == one.rows).all()


def test_missing_subjects_are_a_fault_of_the_caller(case):
    model, points, _ = case
    with pytest.raises(AssertionError, match="only with a model and data"):
        opened(Subjects(model=model, data=None, attachments=None))
    with pytest.raises(AssertionError, match="only with a model and data"):
        opened(Subjects(model=None, data=points, attachments=None))


def test_data_that_is_no_table_of_numbers_is_declined(room):
    model = room.callable(step)

    def reason(x):
        return trouble(Subjects(model=model, data=room.data(x, [0] * len(x)), attachments=None))

    assert reason(np.zeros((2, 1))) is None
    assert "has no rows" in reason(np.zeros((0, 1)))
    assert "not one row of numbers each" in reason(np.zeros(2))
    assert "not one row of numbers each" in reason(np.array([["a"], ["b"]]))


@pytest.mark.parametrize("check", ["gradient", "query", "certified"])
def test_every_check_keeps_the_common_contract(room, check):
    """Same points, equal scope, costs that add up, JSON that is canonical, and seeds as given."""
    model = room.torch(room.linear([[-3.0, 1.0], [3.0, -1.0]], [1.0, -1.0]))
    x = np.random.default_rng(3).random((40, 2)).astype(np.float32)
    points = room.labelled(model, x, rows=np.arange(40) + 1000)
    result = room.run(check, model, points, eps=(0.1, 0.05), limit=25, seed=2**52)
    scopes = [(item.parameters["norm"], item.parameters["eps"]) for item in result.evidence]
    assert scopes == [("linf", 0.05), ("linf", 0.1), ("l2", 0.05), ("l2", 0.1)]
    rows = choose(points, 25).rows.tolist()
    for item in result.evidence:
        canonical(to_json(item))
        assert item.check == f"evasion.{check}"
        assert item.n == 25
        assert item.seed == 2**52
        assert item.cut is None
        assert item.outcome["rows"] == rows
        assert item.parameters["limit"] == 25
        assert item.parameters["unit"] == item.parameters["box"]["unit"] == "box width"
        assert item.subjects == {"model": "sha256:model", "data": "sha256:points"}
        for name in {"attacked", "broken", "bounded", "certified"} & item.outcome.keys():
            assert set(item.outcome[name]) <= set(item.outcome["correct"]) <= set(rows)
    for name in ("forward", "backward", "queries"):
        assert sum(getattr(item.cost, name) for item in result.evidence) == getattr(result.meter.cost, name)


@pytest.mark.parametrize("check", ["gradient", "query", "certified"])
def test_every_check_says_when_it_could_examine_nothing(room, check):
    model = room.torch(room.linear([[-3.0], [3.0]], [1.0, -1.0]))
    points = room.labelled(model, np.random.default_rng(3).random((5, 1)).astype(np.float32))
    result = room.run(check, model, points, budget=Budget(queries=4))
    assert [(item.n, item.cut, item.outcome["rows"]) for item in result.evidence] == [(0, "queries", [])] * 2
    assert model.asked == 0


@pytest.mark.parametrize("check", ["gradient", "query"])
def test_stored_witnesses_are_what_the_evidence_counts(room, check):
    model = room.torch(room.linear([[-3.0, 1.0], [3.0, -1.0]], [1.0, -1.0]))
    x = np.random.default_rng(3).random((40, 2)).astype(np.float32)
    points = room.labelled(model, x, rows=np.arange(40) + 1000)
    result = room.run(check, model, points, eps=(0.2,))
    for i, item in enumerate(result.evidence):
        kept = room.witnesses(result, i)
        assert kept["index"].tolist() == item.outcome["broken"]
        assert len(item.outcome["sizes"]) == len(item.outcome["broken"]) > 0
        assert max(item.outcome["sizes"]) <= 0.2
        assert (kept["prediction"] == 1 - points.y[kept["index"] - 1000]).all()
        assert kept["prediction"].dtype == kept["index"].dtype == np.int64
