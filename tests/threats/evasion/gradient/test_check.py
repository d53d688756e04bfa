from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.errors import ModelNonFinite, ModelRaised
from modelward.threats.evasion.gradient.check import GradientCheck
from modelward.threats.evasion.gradient.proofs import Proofs
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat


def relu_net(seed, inputs=6, classes=3, tail=()):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(inputs, 24), nn.ReLU(), nn.Linear(24, classes), *tail)
    with torch.no_grad():  # curved, and with borders through the middle of the unit box
        net[0].weight *= 4
        net[2].bias -= net(torch.rand(500, inputs)).mean(dim=0)
    return net


@pytest.fixture
def case(room):
    model = room.torch(relu_net(3), 3)
    x = np.random.default_rng(3).random((60, 6)).astype(np.float32)
    return model, room.labelled(model, x)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_witness_is_verified_by_an_independent_path(room, case, norm):
    model, points = case
    result = room.run("gradient", model, points, norms=(norm,), eps=(0.15,))
    kept = room.witnesses(result)
    assert 5 < len(kept["index"]) < 60
    assert kept["index"].tolist() == result.first.outcome["broken"]
    assert kept["x"].dtype == np.float32
    change = kept["x"].astype(np.float64) - points.x[kept["index"]].astype(np.float64)
    size = np.abs(change).max(axis=1) if norm == "linf" else np.sqrt(np.square(change).sum(axis=1))
    assert (size <= 0.15).all()
    np.testing.assert_allclose(result.first.outcome["sizes"], size, rtol=1e-12)
    assert ((kept["x"] >= 0) & (kept["x"] <= 1)).all()
    answer = model.scores(kept["x"]).argmax(axis=1)
    assert (answer != points.y[kept["index"]]).all()
    assert (answer == kept["prediction"]).all()


def test_a_grid_finds_no_point_that_the_attack_missed(room):
    model = room.torch(relu_net(8, inputs=2, classes=2), 2)
    x = np.random.default_rng(1).random((40, 2)).astype(np.float32)
    points = room.labelled(model, x)
    eps = 0.1
    steps = np.linspace(-1, 1, 41)
    offsets = eps * np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    grid = np.clip(x[:, None] + offsets, 0, 1).astype(np.float32)
    decisions = model.scores(grid.reshape(-1, 2)).argmax(axis=1).reshape(40, -1)
    breakable = set(np.flatnonzero((decisions != points.y[:, None]).any(axis=1)).tolist())
    assert len(breakable) >= 3
    assert breakable <= set(
        room.run("gradient", model, points, norms=("linf",), eps=(eps,)).first.outcome["broken"]
    )


def test_the_same_seed_gives_the_same_evidence(room, case):
    model, points = case
    torch.manual_seed(1)
    one = room.run("gradient", model, points, eps=(0.1,))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002 - global state must not matter
    two = room.run("gradient", model, points, eps=(0.1,))
    for a, b in zip(one.evidence, two.evidence, strict=True):
        assert (a.outcome, a.attachments, a.parameters) == (b.outcome, b.attachments, b.parameters)


def test_global_random_state_is_left_alone(room, case):
    model, points = case
    torch.manual_seed(9)
    before = torch.get_rng_state()
    room.run("gradient", model, points, eps=(0.1,))
    assert torch.equal(before, torch.get_rng_state())


def test_the_module_is_left_as_it_was(room):
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2))
    model = room.torch(net)
    points = room.labelled(model, np.random.default_rng(0).random((20, 4)).astype(np.float32))
    net.train()
    net[1].eval()
    net[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [part.training for part in net.modules()]
    subjects = Subjects(model=model, data=points, attachments=None)
    meter = Meter(Budget(passes=500))
    model.answer = lambda x: np.eye(2)[
        points.y[: len(x)]
    ]  # a runtime that is never wrong: no witness to store
    list(GradientCheck(Settings(eps=(0.1,))).run(subjects, budget=meter, seed=1))
    assert [part.training for part in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [p.requires_grad for p in net.parameters()] == [False] + [True] * 5
    assert all(p.grad is None for p in net.parameters())


def test_every_sample_sent_is_booked(room, case, monkeypatch):
    nothing = Proofs(np.zeros(0, np.int64), {})  # proofs send nothing through the module that counts
    monkeypatch.setattr("modelward.threats.evasion.gradient.check.secured", lambda *_: nothing)
    model, points = case
    result = room.run("gradient", model, points, eps=(0.05, 0.1))
    cost = result.meter.cost
    assert (cost.forward, cost.backward, cost.queries) == (model.forward, model.backward, model.asked)
    assert sum(item.cost.forward for item in result.evidence) == cost.forward
    assert sum(item.cost.queries for item in result.evidence) == cost.queries


@pytest.mark.parametrize("limit", [60, 61, 100, 1000])
def test_a_pass_budget_is_never_exceeded(room, case, limit):
    model, points = case
    result = room.run("gradient", model, points, eps=(0.02, 0.05), budget=Budget(passes=limit))
    assert model.forward + model.backward <= limit
    cuts = [item.cut for item in result.evidence]
    assert "passes" in cuts
    assert result.meter.cut == "passes"
    # Every threat gets its share, so even a tight budget says something about each.
    assert [item.parameters["eps"] for item in result.evidence] == [0.02, 0.05] * 2
    assert all(item.outcome["attacked"] for item in result.evidence)


@pytest.mark.parametrize("limit", [59, 60, 62, 65])
def test_a_query_budget_is_never_exceeded(room, case, limit):
    model, points = case
    result = room.run("gradient", model, points, eps=(0.05,), budget=Budget(queries=limit))
    assert model.asked <= limit
    assert result.meter.cut == "queries"
    if limit < 60:
        assert [item.n for item in result.evidence] == [0, 0]
        assert model.asked == 0


def test_smaller_balls_lend_their_witnesses_to_larger_ones(room, case):
    model, points = case
    small, large = room.run("gradient", model, points, norms=("linf",), eps=(0.05, 0.3)).evidence
    assert set(small.outcome["broken"]) <= set(large.outcome["broken"])
    assert large.outcome["inherited"] == len(small.outcome["broken"]) > 0


def test_the_original_runtime_decides(room):
    """A copy that is wrong everywhere proposes witnesses; the runtime, which is constant, refuses them all."""
    model = room.torch(relu_net(1, classes=2), runtime=lambda x: np.tile([1.0, 0.0], (len(x), 1)))
    points = room.data(np.random.default_rng(0).random((20, 6)).astype(np.float32), [0] * 20)
    result = room.run("gradient", model, points, eps=(0.2,))
    assert all(item.outcome["broken"] == [] for item in result.evidence)
    assert all(item.outcome["attacked"] == list(range(20)) for item in result.evidence)


def test_points_answered_wrong_are_not_attacked(room, case):
    model, points = case
    flipped = room.data(points.x, (points.y + (np.arange(60) < 10)) % 3, classes=3)
    item = room.run("gradient", model, flipped, eps=(0.1,)).first
    assert item.outcome["correct"] == list(range(10, 60))
    assert min(item.outcome["attacked"]) == 10


def test_probabilities_that_saturate_still_give_a_slope(room):
    """The margin of probabilities is flat in float32 at logits of +-40; that of their logarithms is not."""
    net = nn.Sequential(room.linear(np.array([[-80.0], [80.0]]), [40.0, -40.0]), nn.Softmax(dim=1))
    model = room.torch(net, kind="probabilities")
    points = room.data(np.full((4, 1), 0.9, np.float32), [1] * 4)
    assert room.run("gradient", model, points, norms=("linf",), eps=(0.41,)).first.outcome["broken"] == [
        0,
        1,
        2,
        3,
    ]


def test_whole_numbers_and_immutable_columns_hold_in_witnesses(room):
    random = np.random.default_rng(2)
    x = np.column_stack(
        [random.random(50) * 3, random.integers(0, 40, 50), random.random(50), random.integers(0, 3, 50)]
    )
    x[0], x[1] = [0, 0, 0, 0], [3, 40, 1, 2]
    net = room.linear([[0.4, 0.05, 1.0, 0.3], [0, 0, 0, 0]], [-2.0, 0.0])
    model = room.torch(net)
    y = model.scores(x).argmax(axis=1)
    points = room.table(x, y, ["real", "integer", "real", "category"], immutable=(2,))
    for index, norm in enumerate(("linf", "l2")):
        result = room.run("gradient", model, points, eps=(0.12,))
        kept = room.witnesses(result, index)
        origin = x[kept["index"]]
        assert len(origin) >= 3
        assert (kept["x"][:, 1] == np.rint(kept["x"][:, 1])).all()
        assert (kept["x"][:, 2:] == origin[:, 2:]).all()
        assert (kept["x"][:, 1] != origin[:, 1]).any()
        positions = np.searchsorted(points.rows, kept["index"])
        assert reach(points, Threat(norm, 0.12)).admits(kept["x"], positions).all()
        assert result.first.parameters["space"] == "mixed"


def test_nothing_to_move_counts_as_tried(room):
    model = room.torch(room.linear([[1.0], [-1.0]], [0, 0]))
    points = room.table([[0.0], [1.0]], [0, 0], ["real"], immutable=(0,))
    item = room.run("gradient", model, points, eps=(0.5,)).first
    assert item.outcome["attacked"] == [0, 1]
    assert item.outcome["broken"] == []
    assert item.cost.forward == 0


def test_nan_on_clean_data_is_a_fault_and_on_changed_data_a_witness(room):
    model = room.torch(relu_net(1, inputs=1, classes=2), runtime=lambda x: np.full((len(x), 2), np.nan))
    points = room.data(np.full((3, 1), 0.5, np.float32), [0] * 3)
    with pytest.raises(ModelNonFinite):
        room.run("gradient", model, points)
    model.answer = lambda x: np.where(x == 0.5, [[1.0, 0.0]], np.nan)
    result = room.run("gradient", model, points, norms=("linf",), eps=(0.1,))
    assert result.first.outcome["broken"] == [0, 1, 2]
    assert room.witnesses(result)["prediction"].tolist() == [-1, -1, -1]


def test_a_model_that_raises_on_some_changed_inputs_is_broken_there_alone(room):
    def answer(x):
        if (x[:, 0] > 0.75).any():
            raise ModelRaised("too large")
        return np.tile([1.0, 0.0], (len(x), 1))

    net = room.linear([[-1.0], [1.0]], [0.0, -0.2])  # prefers class 1 for large inputs, so the attack goes up
    model = room.torch(net, runtime=answer)
    points = room.data(np.array([[0.7], [0.3]], np.float32), [0, 0])
    result = room.run("gradient", model, points, norms=("linf",), eps=(0.1,))
    assert result.first.outcome["broken"] == [0]
    assert result.meter.cost.queries == model.asked


def test_what_cannot_be_attacked_is_declined(room):
    model = room.torch(relu_net(1, classes=2))
    plain = room.callable(model.scores)
    points = room.data(np.zeros((2, 6), np.float32), [0, 1])
    check = GradientCheck(Settings())

    def reason(subject, data):
        return check.declines(Subjects(model=subject, data=data, attachments=None))

    assert reason(model, points) is None
    assert reason(plain, points) == "the model has no differentiable copy"
    assert "no rows" in reason(model, room.data(np.zeros((0, 6), np.float32), []))
    assert "label '2'" in reason(model, room.data(np.zeros((2, 6), np.float32), [0, 1], classes=3))
    assert "one row of numbers" in reason(model, room.data(np.array(["a", "b"]), [0, 1]))


def test_importing_the_checks_and_the_judge_loads_no_torch():
    code = (
        "import sys\n"
        "import modelward.threats.evasion.gradient.check, modelward.threats.evasion.query.check\n"
        "import modelward.threats.evasion.certified, modelward.threats.evasion.judge\n"
        "print([name for name in ('torch', 'sklearn', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
