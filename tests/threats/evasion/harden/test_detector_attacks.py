"""Detectors under attack: false alarms as stated, numbers as recorded, and what knowing the detector is worth."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from modelward.core.budget import Meter
from modelward.core.check import Subjects
from modelward.core.data import Box, Dataset
from modelward.core.evidence import Cost, Evidence
from modelward.core.model import Outputs
from modelward.core.subject import Subject
from modelward.threats.evasion.arena import choose
from modelward.threats.evasion.harden.detectors.control import FPR, Detecting, DetectorControl, judged

KINDS = ["squeezing", "mahalanobis", "neighbours", "consistency"]


class Live:
    """Two classes on both sides of 0.5 along the first of two features; its activations are its inputs."""

    tolerance = 0.0
    subject = Subject(kind="model", name="live", digest="sha256:live")
    outputs = Outputs(kind="logits", classes=("a", "b"), origin="stated")

    def __init__(self, weight=40.0):
        self.net = nn.Sequential(nn.Identity(), nn.Linear(2, 2)).eval()
        with torch.no_grad():
            self.net[1].weight.copy_(torch.tensor([[-weight, 0.0], [weight, 0.0]]))
            self.net[1].bias.copy_(torch.tensor([weight / 2, -weight / 2]))

    def scores(self, x):
        return self.net(torch.from_numpy(x)).detach().double().numpy()

    def module(self):
        return self.net


def tight(name, n, seed, spread=0.02):
    """Two small clouds, 0.5 apart."""
    random, one, y = np.random.default_rng(seed), np.ones(1), np.arange(n) % 2
    x = np.stack(
        [np.where(y, 0.75, 0.25) + random.normal(0, spread, n), 0.5 + random.normal(0, spread, n)], 1
    )
    return Dataset(
        subject=Subject(kind="dataset", name=name, digest="sha256:" + name), x=x.astype(np.float32), y=y,
        labels=("a", "b"), rows=np.arange(n), total=n,
        box=Box(lower=0 * one, upper=one, scale=one, unit="box width", source="stated"),
    )  # fmt: skip


def subjects(n=200, seed=2):
    return Subjects(
        model=Live(), train=tight("train", 300, 1), data=tight("data", n, seed),
        attachments=SimpleNamespace(put=lambda arrays: ""),
    )  # fmt: skip


def applied(kind, given_=None, **choices):
    control = DetectorControl(Detecting(**{"kind": kind, "eps": 0.55, "limit": 60} | choices))
    return control.apply(given_ or subjects(), budget=Meter(), seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_blind_attack_is_caught_and_the_adaptive_one_is_not(kind):
    """Just beyond the border, where the blind attack stops, is far from both clouds; the other cloud is within
    reach of an attack that goes on until nothing is suspicious any more."""
    blind, adaptive = judged(applied(kind).evidence)
    assert blind.points == blind.broken == adaptive.broken == 60
    assert blind.tpr > 0.8
    assert adaptive.tpr < 0.2
    assert blind.passed < 0.2
    assert adaptive.passed > 0.8
    assert adaptive.auc < blind.auc


@pytest.mark.parametrize("kind", KINDS)
def test_the_threshold_is_the_quantile_of_clean_scores_on_samples_apart(kind):
    given_ = subjects()
    made = applied(kind, given_)
    part = choose(given_.data, 120)
    x, target = torch.from_numpy(part.x), torch.from_numpy(part.y)
    right = x[given_.model.net(x).argmax(dim=1) == target]
    with torch.no_grad():
        fitted, clean = (made.model.score(right[i::2]).numpy() for i in (0, 1))
    threshold = made.evidence.outcome["threshold"]
    assert threshold == pytest.approx(np.quantile(fitted, 1 - FPR), rel=1e-4, abs=1e-12)
    assert (fitted > threshold).mean() <= FPR
    np.testing.assert_allclose(made.evidence.outcome["clean"], clean, rtol=1e-4, atol=1e-9)
    assert made.evidence.parameters["fpr"] == FPR == 0.05
    assert made.evidence.n == len(clean)


@pytest.mark.parametrize("kind", KINDS)
def test_false_alarms_on_fresh_samples_are_as_rare_as_stated(kind):
    """400 samples fit the threshold and 400 are judged: within what chance does to both, at one in a thousand."""
    (found, _) = judged(applied(kind, subjects(900, 3), limit=400).evidence)
    assert found.points >= 390
    deviation = (FPR * (1 - FPR) * 2 / 400) ** 0.5
    assert abs(found.fpr - FPR) < stats.norm.ppf(0.9995) * deviation + 1 / 400


@pytest.mark.parametrize("kind", KINDS)
def test_within_a_small_ball_nothing_is_turned_and_nothing_is_claimed(kind):
    for found in judged(applied(kind, eps=0.05).evidence):
        assert (found.broken, found.passed) == (0, 0.0)
        assert found.auc is None
        assert found.tpr is None


def test_another_seed_gives_another_attack_and_the_same_detector():
    control = DetectorControl(Detecting(kind="mahalanobis", eps=0.55, limit=30))
    one, two = (control.apply(subjects(), budget=Meter(), seed=seed).evidence.outcome for seed in (0, 1))
    assert one["threshold"] == two["threshold"]
    assert one["clean"] == two["clean"]
    assert one["blind"] == two["blind"]  # it starts at the samples themselves
    assert one["adaptive"] != two["adaptive"]


def record(**outcome):
    return Evidence(
        check="evasion.detector", version=1, parameters={"detector": "squeezing"}, n=4, seed=0, outcome=outcome,
        unit="detector score", cost=Cost(), subjects={},
    )  # fmt: skip


SCORES = st.lists(st.floats(-5, 5).map(lambda value: round(value, 2)), min_size=2, max_size=30)


@given(SCORES, SCORES, st.floats(-5, 5))
def test_numbers_by_their_definitions(clean, turned, threshold):
    turned = turned[: len(clean)]
    (found,) = judged(record(clean=clean, threshold=threshold, blind=turned))
    above = sum(score > threshold for score in turned)
    pairs = [(a > b) + (a == b) / 2 for a in turned for b in clean]
    assert found.auc == pytest.approx(sum(pairs) / len(pairs))
    assert found.tpr == pytest.approx(above / len(turned))
    assert found.fpr == pytest.approx(sum(score > threshold for score in clean) / len(clean))
    assert found.passed == pytest.approx((len(turned) - above) / len(clean))
    test = stats.binomtest(len(turned) - above, len(clean)).proportion_ci(0.95, method="wilson")
    assert found.passed_interval == pytest.approx((test.low, test.high), abs=1e-9)
    for low, high in (found.passed_interval, found.auc_interval, found.tpr_interval):
        assert -1e-12 <= low <= high <= 1 + 1e-12


@given(SCORES, SCORES)
def test_lower_scores_never_help_the_detector(clean, turned):
    turned = turned[: len(clean)]
    lower = [score - 1 for score in turned]
    item = record(clean=clean, threshold=0.5, blind=turned, adaptive=lower)
    blind, adaptive = judged(item)
    assert adaptive.passed >= blind.passed
    assert adaptive.tpr <= blind.tpr
    assert adaptive.auc <= blind.auc + 1e-12
