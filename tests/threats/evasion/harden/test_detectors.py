"""Detectors: what they measure, by hand; and that knowing them never helps an attacker less than not to."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from modelward.core.budget import Budget, Meter
from modelward.core.check import Subjects
from modelward.core.data import Box, Dataset
from modelward.core.evidence import Cost, Evidence
from modelward.core.model import Outputs
from modelward.core.subject import Subject
from modelward.errors import ConfigInvalid, OperatorUnsupported, ShapeMismatch
from modelward.threats.evasion.harden.ball import Ball
from modelward.threats.evasion.harden.detectors.attack import Behind, search
from modelward.threats.evasion.harden.detectors.control import Detecting, DetectorControl, judged
from modelward.threats.evasion.harden.detectors.scores import (
    Consistency,
    Mahalanobis,
    Neighbours,
    Squeezing,
    activations,
)


def box(shape=(2,), eps=0.1, norm="linf"):
    one = torch.ones(shape)
    return Ball(norm=norm, eps=eps, lower=0 * one, upper=one, unit=one)


def step_model(weight=20.0):
    """Two classes on both sides of 0.5 along the first of two features."""
    net = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[-weight, 0.0], [weight, 0.0]]))
        net[0].bias.copy_(torch.tensor([weight / 2, -weight / 2]))
    return net.eval()


def identity_then_linear():
    """Its last activations are its inputs."""
    return nn.Sequential(nn.Identity(), nn.Linear(2, 2)).eval()


def test_activations_are_what_the_last_layer_is_given():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    x = torch.rand(5, 2)
    assert torch.equal(activations(net, x), net[1](net[0](x)))
    assert not net[2]._forward_pre_hooks  # nothing is left behind


@pytest.mark.parametrize(
    "net", [nn.Sequential(nn.Flatten(), nn.ReLU()), nn.Sequential(nn.Unflatten(1, (2, 1)), nn.Linear(1, 2))]
)
def test_a_model_without_such_a_layer_is_refused(net):
    with pytest.raises(OperatorUnsupported, match="linear layer"):
        activations(net, torch.rand(3, 2))


def test_mahalanobis_is_the_textbook_distance():
    random = np.random.default_rng(0)
    y = torch.arange(4000) % 2
    x = torch.from_numpy(random.normal(size=(4000, 2)) * [1.0, 3.0]).float()
    x[:, 0] += 10.0 * y
    found = Mahalanobis.fitted(identity_then_linear(), x, y)
    inputs = torch.tensor([[0.0, 0.0], [10.0, 0.0], [2.0, 0.0], [0.0, 6.0]])
    # Two deviations away is a squared distance of 4; a twentieth of the mean variance (5) is mixed in.
    wanted = [0.0, 0.0, 4 / 1.25, 36 / 9.25]
    assert found.score(inputs).tolist() == pytest.approx(wanted, rel=0.1, abs=0.02)


def test_neighbours_are_counted():
    known = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    found = Neighbours.fitted(identity_then_linear(), known)
    at = torch.tensor([[5.0, 0.0]])  # normalised to (1, 0)
    for k, distance in ((1, 0.0), (2, 2**0.5), (3, 2**0.5), (4, 2.0), (9, 2.0)):
        assert Neighbours(found.module, found.known, k).score(at).item() == pytest.approx(distance, abs=1e-3)


def test_squeezing_sees_no_difference_where_there_is_none():
    levels = torch.arange(8.0)[:, None].repeat(1, 2) / 7
    assert torch.allclose(Squeezing(step_model(), box()).score(levels), torch.zeros(8), atol=1e-5)


def test_squeezing_measures_the_change_of_probabilities():
    x = torch.tensor([[0.5 + 1 / 28, 0.3]])  # is rounded to 4/7
    net = step_model(7.0)
    plain, other = (torch.softmax(net(torch.tensor([[v, 0.3]])), 1) for v in (0.5 + 1 / 28, 4 / 7))
    assert Squeezing(net, box()).score(x).item() == pytest.approx(
        float((plain - other).abs().sum().item()), abs=1e-5
    )


def test_the_median_of_an_image_takes_out_single_pixels():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False)).eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0], [-1.0]]) * torch.ones(1, 16))
    image = torch.zeros(1, 1, 4, 4)
    spot = image.clone()
    spot[0, 0, 1, 1] = 1.0
    detector = Squeezing(net, box((1, 4, 4)))
    assert detector.score(image).item() == pytest.approx(0.0, abs=1e-6)
    assert detector.score(spot).item() > 0.5


def test_consistency_of_a_constant_is_perfect():
    net = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight.zero_()
    found = Consistency.fitted(net, box(), torch.Generator().manual_seed(0))
    assert found.score(torch.rand(4, 2)).tolist() == pytest.approx([0.0] * 4, abs=1e-6)
    steep = Consistency.fitted(step_model(), box(), torch.Generator().manual_seed(0))
    edge, far = steep.score(torch.tensor([[0.5, 0.5], [0.0, 0.5]])).tolist()
    assert edge > 10 * far


@pytest.mark.parametrize("kind", ["squeezing", "mahalanobis", "neighbours", "consistency"])
def test_every_score_has_a_slope(kind):
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)).eval(), torch.rand(40, 2)
    detector = {
        "squeezing": lambda: Squeezing(net, box()),
        "mahalanobis": lambda: Mahalanobis.fitted(net, x, torch.arange(40) % 2),
        "neighbours": lambda: Neighbours.fitted(net, x),
        "consistency": lambda: Consistency.fitted(net, box(), torch.Generator().manual_seed(0)),
    }[kind]()
    at = (x[:5] + 0.05).requires_grad_()
    (slope,) = torch.autograd.grad(detector.score(at).sum(), at)
    assert slope.isfinite().all()
    assert slope.abs().sum() > 0


class SecondFeature:
    """Suspicion is the second feature; the model looks at the first alone."""

    passes = 1

    def score(self, x):
        return x[:, 1]


def test_the_adaptive_attack_moves_what_the_detector_looks_at():
    """Within eps 0.3 the class falls at 0.2 away, and suspicion can sink from 0.6 below 0.5 at the same time."""
    behind = Behind(
        module=step_model(), detector=SecondFeature(), threshold=0.5, spread=0.1, ball=box(eps=0.3)
    )
    x = torch.tensor([[0.3, 0.6]] * 3)
    y = torch.zeros(3, dtype=torch.int64)
    torch.manual_seed(0)
    blind = search(behind, (x, y), Meter(), adaptive=False)
    aimed = search(behind, (x, y), Meter(), adaptive=True)
    assert blind.wrong.all()
    assert aimed.wrong.all()
    assert (blind.score == 0.6).all() or blind.score.tolist() == pytest.approx([0.6] * 3)
    assert (aimed.score < 0.5).all()


def test_what_cannot_be_turned_is_not_counted():
    behind = Behind(
        module=step_model(), detector=SecondFeature(), threshold=0.5, spread=0.1, ball=box(eps=0.1)
    )
    found = search(behind, (torch.tensor([[0.3, 0.6]]), torch.tensor([0])), Meter(), adaptive=True)
    assert not found.wrong.any()
    assert found.score.isinf().all()


def test_the_search_stops_at_its_budget():
    behind = Behind(module=step_model(), detector=SecondFeature(), threshold=0.5, spread=0.1, ball=box())
    meter = Meter(Budget(passes=100))
    given = (torch.rand(10, 2), torch.zeros(10, dtype=torch.int64))
    assert search(behind, given, meter, adaptive=True) is None
    assert meter.cost.forward + meter.cost.backward <= 100
    assert meter.cut == "passes"


def record(**outcome):
    return Evidence(
        check="evasion.detector", version=1, parameters={"detector": "squeezing"}, n=4, seed=0, outcome=outcome,
        unit="detector score", cost=Cost(), subjects={},
    )  # fmt: skip


def test_numbers_follow_from_the_recorded_scores():
    item = record(
        clean=[0.1, 0.2, 0.3, 0.9], threshold=0.5, blind=[0.6, 0.7, 0.4], adaptive=[0.2, 0.15, 0.1, 0.3]
    )
    blind, adaptive = judged(item)
    assert (blind.points, blind.broken, blind.fpr) == (4, 3, 0.25)
    assert blind.passed == 0.25
    assert blind.tpr == pytest.approx(2 / 3)
    assert blind.auc == pytest.approx(9 / 12)  # three of four clean scores lie below each of the three
    assert adaptive.passed == 1.0
    assert adaptive.tpr == 0.0
    assert adaptive.auc == pytest.approx(5.5 / 16)  # ties count half
    for found in (blind, adaptive):
        assert found.passed_interval[0] <= found.passed <= found.passed_interval[1]
        assert found.auc_interval[0] <= found.auc <= found.auc_interval[1]


def test_nothing_is_said_where_nothing_was_broken_or_measured():
    (only,) = judged(record(clean=[0.1, 0.2], threshold=0.5, blind=[]))
    assert only.auc is None
    assert only.tpr is None
    assert only.passed == 0.0
    assert judged(record(clean=[], threshold=None)) == ()


class Live:
    tolerance = 0.0
    subject = Subject(kind="model", name="live", digest="sha256:live")
    outputs = Outputs(kind="logits", classes=("a", "b"), origin="stated")

    def __init__(self, net):
        self.net = net

    def scores(self, x):
        return self.net(torch.from_numpy(x)).detach().double().numpy()

    def module(self):
        return self.net


@pytest.fixture
def subjects(build):
    def part(name, n, seed):
        x, y = (part.numpy() for part in build.cloud(n, seed))
        one = np.ones(1)
        return Dataset(
            subject=Subject(kind="dataset", name=name, digest="sha256:" + name), x=x, y=y, labels=("a", "b"),
            rows=np.arange(n), total=n,
            box=Box(lower=0 * one, upper=one, scale=one, unit="box width", source="stated"),
        )  # fmt: skip

    task = build.task(epochs=10, rate=0.05)
    build.fit(task)
    return Subjects(
        model=Live(task.net.module), train=part("train", 200, 1), data=part("data", 120, 2),
        attachments=SimpleNamespace(put=lambda arrays: ""),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["squeezing", "mahalanobis", "neighbours", "consistency"])
def test_knowing_the_detector_never_leaves_the_attacker_less(subjects, kind):
    control = DetectorControl(Detecting(kind=kind, eps=0.3, limit=50))
    made = control.apply(subjects, budget=Meter(), seed=0)
    blind, adaptive = judged(made.evidence)
    assert blind.points == adaptive.points > 20
    assert adaptive.broken >= blind.broken > 0
    assert adaptive.passed >= blind.passed
    assert made.model.score(torch.rand(3, 2)).shape == (3,)
    again = control.apply(subjects, budget=Meter(), seed=0)
    assert again.evidence.outcome == made.evidence.outcome


def test_a_cut_budget_is_said(subjects):
    control = DetectorControl(Detecting(kind="squeezing", eps=0.3, limit=50))
    made = control.apply(subjects, budget=Meter(Budget(passes=500)), seed=0)
    assert made.evidence.cut == "passes"
    assert judged(made.evidence) == ()


def test_impossible_choices_and_subjects_are_refused(subjects):
    import dataclasses

    with pytest.raises(ConfigInvalid, match="no detector is called 'nose'"):
        DetectorControl(Detecting(kind="nose", eps=0.1))
    with pytest.raises(ConfigInvalid, match="eps above 0"):
        DetectorControl(Detecting(kind="squeezing", eps=0.0))
    control = DetectorControl(Detecting(kind="squeezing", eps=0.1))
    for change, sentence in (({"train": None}, "--train"), ({"data": None}, "--data")):
        less = dataclasses.replace(subjects, **change)
        assert sentence in control.declines(less)
        with pytest.raises(ShapeMismatch, match="no detector can be fitted"):
            control.apply(less, budget=Meter(), seed=0)
