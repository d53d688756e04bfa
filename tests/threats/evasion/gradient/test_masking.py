from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from modelward.threats.evasion.gradient.diagnosis import masking
from modelward.threats.evasion.gradient.masking import Slopes
from modelward.threats.evasion.judge import judge_robust_accuracy


def net(seed, hidden=24, inputs=8, classes=3):
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))
    with torch.no_grad():
        made[0].weight *= 4
        made[2].bias -= made(torch.rand(500, inputs)).mean(dim=0)
    return made


class Saturated(nn.Module):
    """Sigmoids of a thousand times the scores: slopes that are exactly zero in float32."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.sigmoid(1000 * self.inner(x)) + 1e-3 * self.inner(x).detach()


class Quantised(nn.Module):
    """Inputs in sixteen levels, through which a false slope is passed."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x + ((x * 16).round() / 16 - x).detach())


class Rounded(nn.Module):
    """Inputs in sixteen levels; rounding has no slope."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner((x * 16).round() / 16)


class Noisy(nn.Module):
    """A layer that adds noise."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x + 0.05 * torch.randn_like(x))


class Detached(nn.Module):
    """Right scores, and slopes that belong to something else."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        decoy = (x * torch.linspace(-1, 1, x.shape[1])).sum(dim=1, keepdim=True) * torch.tensor(
            [[1.0, -1, 0]]
        )
        return self.inner(x.detach()) + decoy - decoy.detach()


def diagnosed(room, module, points_of, *, norm="linf", eps=0.1, preset="quick", n=40):
    model = room.torch(module, 3)
    x = np.random.default_rng(5).random((n, 8)).astype(np.float32)
    points = room.data(x, room.labelled(points_of, x).y, classes=3)
    result = room.run("gradient", model, points, norms=(norm,), eps=(eps,), preset=preset)
    return result.first


@pytest.mark.parametrize(
    ("wrapper", "word"),
    [
        (Saturated, "flat"),
        (Rounded, "flat"),
        (Quantised, "foretells"),
        (Noisy, "asked again"),
        (Detached, "foretells"),
    ],
)
@pytest.mark.parametrize("seed", [100, 101, 102])
def test_masked_models_are_told_with_the_reason(room, wrapper, word, seed):
    inner = net(seed)
    torch.manual_seed(seed)
    item = diagnosed(room, wrapper(inner), room.torch(inner, 3))
    assert any(word in reason for reason in item.outcome["masking"]["reasons"])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_honest_models_raise_no_alarm(room, norm):
    alarms = []
    for seed in range(100, 120):
        torch.manual_seed(seed)
        smooth = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 3))
        made = (net(seed), smooth, nn.Linear(8, 3))[seed % 3]
        item = diagnosed(room, made, room.torch(made, 3), norm=norm)
        alarms += item.outcome["masking"]["reasons"]
    assert alarms == []


def test_an_honest_model_is_foretold_exactly_by_its_slopes(room):
    made = nn.Linear(8, 3)
    seen = diagnosed(room, made, room.torch(made, 3), norm="l2", eps=0.01).outcome["masking"]
    assert seen["flat"] == seen["random"] == seen["false"] == 0.0
    assert all(abs(part - 1) < 0.02 for part in seen["kept"].values())


def test_masked_models_fall_to_transfer_or_queries_where_slopes_fail(room):
    inner = net(103)
    model = room.torch(inner, 3)
    honest = diagnosed(room, inner, model, preset="standard")
    masked_ = diagnosed(room, Rounded(inner), model, preset="standard")
    without = {"transfer", "Square"} & set(masked_.outcome["by"])
    assert without
    # What is left standing is not much more than of the same net without the mask.
    assert len(masked_.outcome["broken"]) >= 0.8 * len(honest.outcome["broken"]) > 0


def test_reasons_become_one_finding(room):
    noted = {"reasons": ["the loss is flat at 90% of 32 points"]}
    item = room.evidence("gradient", attacked=range(10), broken=[], masking=noted)
    (finding,) = judge_robust_accuracy([item]).findings
    assert finding.rule == "evasion.masked-gradients"
    assert "the loss is flat at 90% of 32 points" in finding.message
    assert finding.confidence == "medium"
    both = room.evidence("query", attacked=range(10), broken=range(6))
    found = judge_robust_accuracy([item, both]).findings
    (finding,) = [one for one in found if one.rule == "evasion.masked-gradients"]
    assert finding.confidence == "high"
    assert "queries alone break 6 points" in finding.message


def test_no_reason_no_finding(room):
    item = room.evidence("gradient", attacked=range(10), broken=[], masking={"reasons": []})
    assert judge_robust_accuracy([item]).findings == ()


def seen(**changes):
    plain = {"n": 32, "flat": 0.0, "random": 0.0, "false": 0.0, "judged": 32, "kept": (1, 1, 1, 1)}
    return Slopes(**{**plain, "unbounded": 1.0, **changes})


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 0),
        ({"flat": 0.2}, 0),
        ({"flat": 0.5}, 1),
        ({"random": 1.0, "flat": 0.5}, 2),
        ({"false": 0.5}, 1),
        ({"false": 0.5, "judged": 2}, 0),
        ({"unbounded": 0.3}, 1),
        ({"flat": 1.0, "n": 3}, 0),
    ],
)
def test_thresholds(changes, count):
    assert len(seen(**changes).reasons) == count


@pytest.mark.parametrize(
    ("fell", "count"),
    [
        (["margin"] * 9, 0),
        (["margin"] * 9 + ["Square"] * 4, 0),
        (["margin"] * 9 + ["Square"] * 5, 1),
        (["margin"] * 9 + ["transfer"] * 5 + ["Square"] * 5, 2),
        (["margin"] * 4 + ["APGD-T"] * 6, 1),
        (["margin"] * 7 + ["APGD-T"] * 6, 0),
    ],
)
def test_what_fell_to_what_is_a_reason(fell, count):
    assert len(masking(seen(), fell)["masking"]["reasons"]) == count
