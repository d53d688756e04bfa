"""The control: what it declines, what it leaves alone, and what it says it did."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from modelward.core.budget import Budget, Meter
from modelward.core.check import Subjects
from modelward.core.data import Box, Dataset
from modelward.core.model import Outputs
from modelward.core.subject import Subject
from modelward.errors import ConfigInvalid, OperatorUnsupported, ShapeMismatch
from modelward.threats.evasion.harden.methods import Training
from modelward.threats.evasion.harden.training import TrainingControl


class Live:
    """A module that is its own runtime."""

    tolerance = 0.0
    subject = Subject(kind="model", name="live", digest="sha256:live")
    outputs = Outputs(kind="logits", classes=("left", "right"), origin="stated")

    def __init__(self, net):
        self.net = net.eval()

    def scores(self, x):
        with torch.no_grad():
            return self.net(torch.from_numpy(x.astype(np.float32))).double().numpy()

    def module(self):
        return self.net


def dataset(x, y, labels=("left", "right"), name="train"):
    one = np.ones(1)
    return Dataset(
        subject=Subject(kind="dataset", name=name, digest="sha256:" + name),
        x=x, y=y, labels=labels, rows=np.arange(len(x)), total=len(x),
        box=Box(lower=0 * one, upper=one, scale=one, unit="box width", source="stated"),
    )  # fmt: skip


@pytest.fixture
def given(build):
    """A model and its training data."""
    x, y = (part.numpy() for part in build.cloud(200))

    def given(model=None, train="default"):
        chosen = dataset(x, y) if isinstance(train, str) else train
        live = Live(build.small_net()) if model is None else model
        return Subjects(
            model=live, data=chosen, train=chosen, attachments=SimpleNamespace(put=lambda arrays: "")
        )

    return given


QUICK = {"eps": 0.08, "epochs": 8, "batch": 16, "rate": 0.05, "steps": 3}


def robust(net, x, y, eps):
    """Share of samples with every corner and the point itself answered right."""
    stand = np.ones(len(x), bool)
    for shift in ((0, 0), (eps, eps), (eps, -eps), (-eps, eps), (-eps, -eps)):
        moved = np.clip(x + np.array(shift, np.float32), 0, 1)
        with torch.no_grad():
            stand &= net(torch.from_numpy(moved)).argmax(1).numpy() == y
    return stand.mean()


def test_the_copy_withstands_more_and_the_original_is_unchanged(given):
    subjects = given()
    original = subjects.model.net
    before = {name: value.clone() for name, value in original.state_dict().items()}
    made = TrainingControl(Training(**QUICK)).apply(subjects, budget=Meter(), seed=0)
    x, y = subjects.train.x, subjects.train.y
    assert robust(made.model, x, y, 0.08) > max(0.9, robust(original, x, y, 0.08))
    assert not made.model.training
    assert all(torch.equal(before[name], value) for name, value in original.state_dict().items())


def test_the_evidence_says_what_was_done(given):
    meter = Meter()
    made = TrainingControl(Training(**QUICK)).apply(given(), budget=meter, seed=3)
    item = made.evidence
    assert item.check == "evasion.training"
    assert item.seed == 3
    assert item.n == 200 - item.outcome["held_out"]
    assert item.outcome["held_out"] == 40  # a fifth
    assert item.parameters["eps"] == 0.08
    assert item.parameters["method"] == "trades"
    assert len(item.outcome["history"]) == item.outcome["epochs"] == 8
    assert item.cost.forward == meter.cost.forward > 0
    assert item.cut is None


def test_labels_in_another_order_than_the_scores_are_matched_by_name(given, build):
    x, y = (part.numpy() for part in build.cloud(200))
    swapped = dataset(x, 1 - y, labels=("right", "left"))
    made = TrainingControl(Training(**QUICK)).apply(given(train=swapped), budget=Meter(), seed=0)
    assert robust(made.model, x, y, 0.0) > 0.9


def test_what_is_immutable_is_not_attacked(given, build):
    """Only the first feature tells the classes apart; frozen, it can be relied on at any radius."""
    import dataclasses

    from modelward.core.data import Column

    x, y = (part.numpy() for part in build.cloud(200))
    columns = tuple(
        Column(name=name, kind="real", lower=0.0, upper=1.0, immutable=name == "a") for name in ("a", "b")
    )
    frozen = dataclasses.replace(dataset(x, y), columns=columns)
    made = TrainingControl(Training(**QUICK | {"eps": 0.5})).apply(
        given(train=frozen), budget=Meter(), seed=0
    )
    assert made.evidence.outcome["history"][-1]["attacked"] > 0.9


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x, y: None, "no training data"),
        (lambda x, y: dataset(x[:4], y[:4]), "has 4 rows, and training needs at least 10"),
        (lambda x, y: dataset(x, None), "has no labels"),
        (lambda x, y: dataset(x, y, labels=("left", "up")), "label 'up' of train is not a class"),
        (lambda x, y: dataset(np.where(x > 0.5, np.nan, x), y), "missing values"),
    ],
)
def test_what_cannot_be_trained_on_is_declined(given, build, change, sentence):
    x, y = (part.numpy() for part in build.cloud(40))
    subjects = given(train=change(x, y))
    control = TrainingControl(Training(**QUICK))
    assert sentence in control.declines(subjects)
    with pytest.raises(ShapeMismatch, match="cannot be trained"):
        control.apply(subjects, budget=Meter(), seed=0)


def test_a_model_without_gradients_is_declined(given):
    class Plain:
        subject, outputs = Live.subject, Live.outputs

        def scores(self, x):
            return np.zeros((len(x), 2))

    assert "no torch module" in TrainingControl(Training(**QUICK)).declines(given(Plain()))


def test_impossible_choices_are_refused_at_once():
    with pytest.raises(ConfigInvalid, match="epochs is 0"):
        TrainingControl(Training(eps=0.1, epochs=0))


def test_bounds_of_what_has_no_rule_are_refused(given):
    net = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 2))
    with pytest.raises(OperatorUnsupported, match="GELU"):
        TrainingControl(Training(**QUICK | {"method": "ibp"})).apply(given(Live(net)), budget=Meter(), seed=0)


def test_a_budget_cuts_and_says_so(given):
    control = TrainingControl(Training(**QUICK | {"epochs": 500}))
    made = control.apply(given(), budget=Meter(Budget(passes=20_000)), seed=0)
    assert made.evidence.cut == "passes"
    assert made.evidence.cost.forward + made.evidence.cost.backward <= 20_000


def test_a_changed_choice_does_not_continue_another_training(given, tmp_path):
    place = tmp_path / "c"
    for rate, fresh in ((0.05, True), (0.05, False), (0.03, True)):
        meter = Meter()
        TrainingControl(Training(**QUICK | {"rate": rate}), place).apply(given(), budget=meter, seed=0)
        assert (meter.cost.forward > 0) is fresh


def test_another_architecture_does_not_continue_a_training(given, tmp_path):
    """Both have weights of the same names and shapes, and the file that they came from has one digest."""
    place = tmp_path / "c"
    nets = [nn.Sequential(nn.Linear(2, 8), step, nn.Linear(8, 2)) for step in (nn.ReLU(), nn.Tanh())]
    nets[1].load_state_dict(nets[0].state_dict())
    ended = []
    for net, fresh in ((nets[0], True), (nets[0], False), (nets[1], True), (nets[1], False)):
        meter = Meter()
        made = TrainingControl(Training(**QUICK), place).apply(given(Live(net)), budget=meter, seed=0)
        assert (meter.cost.forward > 0) is fresh
        ended.append(made.model[0].weight.detach().clone())
    assert torch.equal(ended[0], ended[1])
    assert torch.equal(ended[2], ended[3])
    assert not torch.equal(ended[1], ended[2])


def test_the_same_layers_in_another_order_do_not_continue_a_training(given, tmp_path):
    """What a module prints as does not say how it is wired; its answers do."""

    class Wired(nn.Module):
        def __init__(self, *, skip):
            super().__init__()
            self.one, self.two, self.skip = nn.Linear(2, 8), nn.Linear(8, 2), skip

        def forward(self, x):
            y = self.two(torch.relu(self.one(x)))
            return y + x if self.skip else y

    place, straight, skipping = tmp_path / "c", Wired(skip=False), Wired(skip=True)
    skipping.load_state_dict(straight.state_dict())
    for net in (straight, skipping):
        meter = Meter()
        TrainingControl(Training(**QUICK), place).apply(given(Live(net)), budget=meter, seed=0)
        assert meter.cost.forward > 0


def test_another_limit_is_another_training_and_the_cut_stays_in_the_evidence(given, tmp_path):
    """A limit shapes the schedule: what was trained within less is not what is asked for."""
    control = TrainingControl(Training(**QUICK | {"epochs": 500}), tmp_path / "c")
    for passes, fresh in ((20_000, True), (20_000, False), (30_000, True)):
        meter = Meter(Budget(passes=passes))
        item = control.apply(given(), budget=meter, seed=0).evidence
        assert (meter.cost.forward > 0) is fresh
        assert item.cut == "passes"
        assert item.parameters["limit"] == {"seconds": None, "passes": passes, "queries": None}
        assert 0.9 * passes < item.cost.forward + item.cost.backward <= passes
