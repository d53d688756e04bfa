from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.threats.evasion.certified import CertifiedCheck
from modelward.threats.evasion.judge import judge_robust_accuracy


def small_net(seed):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        net[0].weight *= 3
        net[4].bias -= net(torch.rand(500, 2)).mean(dim=0)
    return net


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_certificate_where_a_grid_finds_an_adversarial_example(room, seed, norm):
    model = room.torch(small_net(seed))
    x = np.random.default_rng(seed).random((150, 2)).astype(np.float32)
    points = room.labelled(model, x)
    steps = np.linspace(-1, 1, 41)
    offsets = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    if norm == "l2":
        offsets = offsets[np.linalg.norm(offsets, axis=1) <= 1]
    counts = []
    for eps in (0.01, 0.05, 0.2):
        item = room.run("certified", model, points, norms=(norm,), eps=(eps,)).first
        grid = np.clip(x[:, None] + eps * offsets, 0, 1).astype(np.float32)
        decisions = model.scores(grid.reshape(-1, 2)).argmax(axis=1).reshape(len(x), -1)
        breakable = set(np.flatnonzero((decisions != points.y[:, None]).any(axis=1)).tolist())
        assert not breakable & set(item.outcome["certified"])
        counts.append(len(item.outcome["certified"]))
    assert counts[0] > 50  # or the test could not fail
    assert counts[0] >= counts[1] >= counts[2]


def planted(centre, inner, depth=4.0):
    """Class 0 everywhere but in a small L1 pyramid around one place.

    Class 1 scores depth * relu(1 - |x - centre|_1 / inner) - 1, so it wins strictly inside the pyramid only.
    """
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1), nn.ReLU(), nn.Linear(1, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))
        net[0].bias.copy_(torch.tensor([-centre[0], centre[0], -centre[1], centre[1]]))
        net[2].weight.fill_(-1 / inner)
        net[2].bias.fill_(1.0)
        net[4].weight.copy_(torch.tensor([[0.0], [depth]]))
        net[4].bias.copy_(torch.tensor([0.0, -1.0]))
    return net


def test_a_planted_counterexample_is_never_certified_away(room):
    random = np.random.default_rng(4)
    false, near, certified = 0, 0, 0
    for _ in range(60):
        centre, x = random.uniform(0.3, 0.7, 2), random.uniform(0.3, 0.7, (1, 2)).astype(np.float32)
        model = room.torch(planted(centre.astype(np.float32), 0.01))
        if model.scores(x).argmax() != 0:
            continue
        points = room.data(x, [0])
        eps = float(np.abs(centre - x).max()) * random.choice([0.5, 0.95, 1.0, 1.5])
        proved = bool(
            room.run("certified", model, points, norms=("linf",), eps=(eps,)).first.outcome["certified"]
        )
        reachable = eps >= np.abs(centre - x).max()
        assert not reachable or model.scores(centre[None].astype(np.float32)).argmax() == 1
        false += proved and reachable
        near += reachable
        certified += proved
    assert false == 0
    assert near > 10
    assert certified > 5


def test_tolerance_withholds_narrow_certificates(room):
    net = room.linear([[1.0], [0.0]], [0.0, 0.0])  # margin = x
    points = room.data(np.array([[0.3], [0.8]], np.float32), [0, 0])

    def certified(tolerance):
        model = room.torch(net, tolerance=tolerance)
        return room.run("certified", model, points, norms=("linf",), eps=(0.1,)).first.outcome["certified"]

    # The lower margins are 0.2 and 0.7 with scores below 1, so twice the tolerance must stay below them.
    assert certified(0.0) == [0, 1]
    assert certified(0.09) == [0, 1]
    assert certified(0.11) == [1]
    assert certified(0.36) == []


def test_tolerance_grows_with_the_scores(room):
    net = room.linear([[1.0], [0.0]], [1000.0, 999.9])
    points = room.data(np.array([[0.5]], np.float32), [0])
    for tolerance, proved in ((1e-4, [0]), (1e-3, [])):
        model = room.torch(net, tolerance=tolerance)
        assert (
            room.run("certified", model, points, norms=("linf",), eps=(0.1,)).first.outcome["certified"]
            == proved
        )


def test_wrong_and_missing_points_are_not_certified(room):
    net = room.linear([[1.0, 1.0], [0.0, 0.0]], [1.0, 0.0])
    runtime = lambda x: np.tile([1.0, 0.0], (len(x), 1))  # noqa: E731 - a runtime that copes with NaN
    model = room.torch(net, runtime=runtime)
    points = room.table([[0.5, 0.5], [np.nan, 0.5], [0.1, 0.9]], [0, 0, 1], ["real", "real"])
    item = room.run("certified", model, points, norms=("linf",), eps=(0.05,)).first
    assert item.outcome["correct"] == [0, 1]
    assert item.outcome["bounded"] == item.outcome["certified"] == [0]


def test_immutable_columns_make_more_provable(room):
    model = room.torch(room.linear([[0.0, 0.0], [0.0, 5.0]], [1.0, -2.0]))
    x = [[0.5, 0.5], [0.0, 0.0], [1.0, 1.0]]
    free = room.run(
        "certified", model, room.table(x, [0, 0, 1], ["real"] * 2), norms=("linf",), eps=(0.2,)
    ).first
    fixed = room.table(x, [0, 0, 1], ["real"] * 2, immutable=(1,))
    held = room.run("certified", model, fixed, norms=("linf",), eps=(0.2,)).first
    assert 0 not in free.outcome["certified"]
    assert 0 in held.outcome["certified"]


@pytest.mark.parametrize("limit", [1, 3, 40, 99])
def test_a_pass_budget_is_never_exceeded(room, limit):
    model = room.torch(small_net(1))
    points = room.labelled(model, np.random.default_rng(0).random((30, 2)).astype(np.float32))
    result = room.run("certified", model, points, eps=(0.01,), budget=Budget(passes=limit))
    assert (
        result.meter.cost.forward
        == 2 * sum(len(item.outcome["bounded"]) for item in result.evidence)
        <= limit
    )
    assert result.evidence[-1].cut == "passes"
    for item in result.evidence:
        assert set(item.outcome["certified"]) <= set(item.outcome["bounded"])


def test_nothing_is_random(room):
    model = room.torch(small_net(1))
    points = room.labelled(model, np.random.default_rng(0).random((30, 2)).astype(np.float32))
    one, two = (room.run("certified", model, points, eps=(0.02,), seed=seed) for seed in (1, 2))
    assert [i.outcome for i in one.evidence] == [i.outcome for i in two.evidence]


def test_unknown_operations_decline_by_name(room):
    check = CertifiedCheck(Settings())
    points = room.data(np.zeros((1, 4), np.float32), [0])

    def reason(net):
        return check.declines(Subjects(model=room.torch(net), data=points, attachments=None))

    assert (
        reason(nn.Sequential(nn.Linear(4, 4), nn.Hardshrink(), nn.Linear(4, 2)))
        == "no interval rule for Hardshrink"
    )
    assert reason(nn.Linear(4, 2)) is None
    plain = room.callable(lambda x: np.zeros((len(x), 2)))
    assert "no differentiable copy" in check.declines(Subjects(model=plain, data=points, attachments=None))


def test_a_convolutional_net_gets_a_bracket_from_both_sides(room):
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 3),
    )
    model = room.torch(net, 3)
    points = room.labelled(model, np.random.default_rng(0).random((40, 1, 8, 8)).astype(np.float32))
    evidence = [
        item
        for check in ("gradient", "query", "certified")
        for item in room.run(check, model, points, eps=(0.004,)).evidence
    ]
    judged = judge_robust_accuracy(evidence)
    assert [claim.scope["norm"] for claim in judged.claims] == ["linf", "l2"]
    for claim in judged.claims:
        assert 0 <= claim.bracket.lower <= claim.bracket.upper <= 1
        assert claim.n == 40
        assert len(claim.evidence) == 3
    assert judged.claims[1].bracket.lower > 0
    assert not [finding for finding in judged.findings if finding.rule == "evasion.contradiction"]


def declined(model, points):
    return CertifiedCheck(Settings()).declines(Subjects(model=model, data=points, attachments=None))


class Coarse(nn.Module):
    """Computes in bfloat16, of which its graph shows nothing."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.body(x).float()


def test_a_model_that_computes_otherwise_than_its_graph_is_declined(room):
    model = room.torch(Coarse())
    points = room.labelled(model, np.random.default_rng(0).random((5, 2)).astype(np.float32))
    reason = declined(model, points)
    assert reason is not None
    assert "outside the bounds" in reason
    plain = room.torch(Coarse().body)
    assert declined(plain, points) is None


def test_a_missing_value_in_the_first_point_does_not_decline(room):
    x = np.array([[np.nan, 0.5], [0.2, 0.3]])
    points = room.data(x, [0, 1])
    model = room.torch(small_net(0))
    assert declined(model, points) is None


def test_a_graph_that_holds_for_one_row_only_is_declined(room):
    class One(nn.Module):
        def forward(self, x):
            return x.reshape(1, 2)

    points = room.data(np.random.default_rng(0).random((3, 2)).astype(np.float32), [0, 1, 1])
    reason = declined(room.torch(One()), points)
    assert reason is not None
    assert "called like this" in reason


def test_every_certified_point_says_what_it_rests_on(room):
    model = room.torch(small_net(5))
    points = room.labelled(model, np.random.default_rng(3).random((60, 2)).astype(np.float32))
    counts = []
    for preset in ("quick", "standard", "thorough"):
        item = room.run("certified", model, points, norms=("linf",), eps=(0.1,), preset=preset).first
        proofs = item.outcome["proofs"]
        assert list(proofs) == [
            "interval", "linear relaxation", "optimised relaxation", "branch and bound",
        ]  # fmt: skip
        assert sorted(row for rows in proofs.values() for row in rows) == item.outcome["certified"]
        assert item.parameters["preset"] == preset
        counts.append([len(rows) for rows in proofs.values()])
    assert counts[0][2:] == [0, 0]
    assert counts[1][3] == 0
    assert sum(counts[0]) <= sum(counts[1]) <= sum(counts[2])
    assert all(sum(kind) for kind in list(zip(*counts, strict=True))[:2])


def test_a_thorough_search_decides_small_networks_from_both_sides(room):
    model = room.torch(small_net(2))
    points = room.labelled(model, np.random.default_rng(3).random((40, 2)).astype(np.float32))
    result = room.run("certified", model, points, norms=("linf",), eps=(0.15,), preset="thorough")
    outcome = result.first.outcome
    assert not set(outcome["certified"]) & set(outcome["broken"])
    assert len(outcome["certified"]) + len(outcome["broken"]) >= 38
    kept = room.witnesses(result)
    assert kept["index"].tolist() == outcome["broken"]
    assert (model.scores(kept["x"]).argmax(axis=1) != points.y[kept["index"]]).all()
    assert np.abs(kept["x"] - kept["original"]).max() <= 0.15 + 1e-7
    claim = judge_robust_accuracy(result.evidence).claims[0]
    assert claim.bracket.upper - claim.bracket.lower <= 0.05


@pytest.mark.parametrize("norm", ["l1", "l0"])
def test_other_norms_are_certified_too(room, norm):
    model = room.torch(room.linear([[4.0, 0.2, 0.2], [0.0, 0.0, 0.0]], [0.0, 2.0]))
    points = room.data(np.array([[0.9, 0.5, 0.5], [0.52, 0.5, 0.5]], np.float32), [0, 0])
    item = room.run("certified", model, points, norms=(norm,), eps=(0.2 if norm == "l1" else 1.0,)).first
    # One unit of L1 moves the margin by 4 at most; one free feature moves it by 4 times its value.
    assert item.outcome["certified"] == ([0] if norm == "l1" else [])
    assert item.outcome["bounded"] == [0, 1]


def test_a_time_budget_ends_the_proofs(room):
    model = room.torch(small_net(1))
    points = room.labelled(model, np.random.default_rng(0).random((30, 2)).astype(np.float32))
    result = room.run("certified", model, points, eps=(0.3,), preset="thorough", budget=Budget(passes=2000))
    cost = result.meter.cost
    assert cost.bounds > 0
    assert cost.passes <= 2000
    assert any(item.cut == "passes" for item in result.evidence)


def test_what_is_decided_already_is_not_proved_again(room):
    model = room.torch(room.linear([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]))
    points = room.labelled(model, np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], np.float32))
    alone = Subjects(model=model, data=points, attachments=None)
    threat = Settings(norms=("linf",), eps=(0.01,), preset="quick")
    (first,) = CertifiedCheck(threat).run(alone, budget=Meter(), seed=0)
    assert len(first.outcome["certified"]) == 3
    told = room.evidence(
        "gradient", eps=0.01, broken=[0], certified=[1], rows=points.rows, digests=alone.digests()
    )
    known = replace(alone, earlier=(told,))
    (second,) = CertifiedCheck(threat).run(known, budget=Meter(), seed=0)
    assert second.outcome["certified"] == [2]
    assert second.cost.forward < first.cost.forward
