"""Layers that change every feature alone: what is one, and what an attack behind it finds."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from modelward.threats.evasion.harden.ascent import climb
from modelward.threats.evasion.harden.front import split, target
from modelward.threats.evasion.harden.losses import LOSSES, attacked
from modelward.threats.evasion.harden.weights import perturbed


def one(weight, bias):
    """x -> weight x + bias, in every pixel."""
    layer = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        layer.weight.fill_(weight)
        layer.bias.fill_(bias)
    return layer


def threshold(seed=0):
    """Falls from 1 to 0 between 0.4 and 0.6, flat elsewhere; then two scores of 2 x 2 pixels."""
    torch.manual_seed(seed)
    front = [one(1.0, -0.4), nn.ReLU(), one(-5.0, 1.0), nn.ReLU()]
    return nn.Sequential(*front, nn.Flatten(), nn.Linear(4, 2))


@pytest.fixture
def pixels():
    torch.manual_seed(3)
    return torch.rand(64, 1, 2, 2)


@pytest.fixture
def around(build):
    return build.square("linf", 0.3, (1, 2, 2))


def wrong(y):
    return lambda scores: functional.cross_entropy(scores, y, reduction="none")


def test_the_front_ends_where_features_meet():
    module = threshold()
    front, rest = split(module)
    assert [len(front), len(rest)] == [4, 2]
    assert front[0].weight is module[0].weight
    assert rest[1].weight is module[5].weight


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(2, 2),
        nn.Sequential(),
        nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)),
        nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Conv2d(1, 1, 1, padding=1), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Conv2d(1, 1, 1, padding="same"), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Conv2d(1, 1, 1, stride=2), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.GELU(), nn.Flatten()),
        nn.Sequential(nn.LeakyReLU(-0.5), nn.Flatten()),
        nn.Sequential(nn.BatchNorm2d(1), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Identity(), nn.Conv2d(1, 1, 1), nn.Flatten()),
        nn.Sequential(nn.ReLU(), nn.Sigmoid()),
    ],
    ids=lambda module: str(module).replace("\n", ""),
)
def test_what_is_no_front(module):
    """Features meet, turn round, depend on the batch, are nowhere flat, or nothing follows."""
    assert split(module) is None


@pytest.mark.parametrize(
    "layer", [nn.ReLU(), nn.ReLU6(), nn.Sigmoid(), nn.Tanh(), nn.SELU(), nn.Softplus(), nn.LeakyReLU(0.1)]
)
def test_every_layer_that_is_taken_for_monotone_is(layer):
    front, _ = split(nn.Sequential(layer, nn.Flatten()))
    values = front(torch.linspace(-20, 20, 4001))
    assert bool((values.diff() >= 0).all())


def test_the_box_behind_the_front_is_exact(pixels, around):
    """All of the ball lands in it, and both ends of every feature are reached."""
    module = threshold()
    found = target(module, pixels, around)
    low, high = around.limits(pixels)
    shares = torch.linspace(0, 1, 301).reshape(-1, 1, 1, 1, 1)
    with torch.no_grad():
        images = module[:4]((low + shares * (high - low)).flatten(0, 1)).reshape(301, *pixels.shape)
    torch.testing.assert_close(images.amin(dim=0), found.ball.lower)
    torch.testing.assert_close(images.amax(dim=0), found.ball.upper)
    torch.testing.assert_close(found.x, (found.ball.lower + found.ball.upper) / 2)
    assert float(found.ball.unit.amax()) == pytest.approx(0.5)
    assert float(found.ball.unit.amin()) == 0.0  # what is far from the threshold cannot be moved across


def test_random_points_and_steps_stay_in_the_box(pixels, around):
    found = target(threshold(), pixels, around)
    moved = found.ball.random(found.x)
    for _ in range(3):
        moved = found.ball.inside(moved + found.ball.step(torch.randn_like(moved), 0.7), found.x)
        assert bool((moved >= found.ball.lower).all())
        assert bool((moved <= found.ball.upper).all())


def test_an_attack_crosses_what_is_flat(around):
    """Pixels of 0.25 may reach 0.55, yet at 0.25 the slope is nothing: only behind the front it leads there."""
    module = threshold()
    with torch.no_grad():
        module[5].weight.copy_(torch.tensor([[1.0, 1, 1, 1], [-1.0, -1, -1, -1]]))
        module[5].bias.copy_(torch.tensor([-3.0, 3.0]))
    x, y = torch.full((1, 1, 2, 2), 0.25), torch.tensor([0])
    stuck = climb(module, wrong(y), (x, x), around, 20)
    assert torch.equal(stuck, x)
    found = target(module, x, around)
    moved = climb(found.net, wrong(y), (found.x, found.of(x)), found.ball, 20)
    with torch.no_grad():
        least = module(torch.full((1, 1, 2, 2), 0.55))  # the worst input by hand
    torch.testing.assert_close(found.scores(moved).detach(), least)
    assert least.argmax() != y


def test_the_attack_behind_the_front_is_as_bad_as_a_fine_grid(build, pixels, around):
    module = threshold(5)
    x, y = pixels[:6], torch.tensor([0, 1, 0, 1, 0, 1])
    found = target(module, x, around)
    moved = climb(found.net, wrong(y), (found.x, found.x), found.ball, 20)
    worst = wrong(y)(found.scores(moved).detach())
    low, high = around.limits(x)
    shares = torch.cartesian_prod(*[torch.linspace(0, 1, 7)] * 4).reshape(-1, 1, 1, 2, 2)
    with torch.no_grad():
        scores = module((low + shares * (high - low)).flatten(0, 1)).reshape(len(shares), 6, 2)
        each = functional.cross_entropy(scores.transpose(1, 2), y.expand(len(shares), 6), reduction="none")
    torch.testing.assert_close(worst, each.amax(dim=0), rtol=1e-4, atol=1e-5)


def test_scores_have_a_slope_in_every_weight_and_follow_the_front(build, batch, pixels, around):
    module = threshold()
    y = torch.randint(0, 2, (64,))
    net = build.network(module, eps=0.3)
    given = batch(x=pixels, y=y, ball=around)
    torch.manual_seed(0)
    scores = attacked(net, given)
    first = functional.cross_entropy(scores(), y)
    first.backward()
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in module.parameters())
    before = scores().detach()
    with perturbed(module, functional.cross_entropy(scores(), y), 0.05):
        assert functional.cross_entropy(scores(), y) > first
    assert torch.equal(scores(), before)


@pytest.mark.parametrize("method", ["pgd", "trades", "fast"])
def test_losses_are_those_of_the_network(build, batch, pixels, around, method):
    """Without a radius, the front changes nothing."""
    module = threshold()
    y = torch.randint(0, 2, (64,))
    net = build.network(module, method=method, eps=0.3)
    given = batch(x=pixels, y=y, ball=around.scaled(0.0), grown=0.0)
    clean = functional.cross_entropy(module(pixels), y)
    assert LOSSES[method](net, given).item() == pytest.approx(clean.item(), abs=1e-4)


def test_what_may_not_change_stays(build, pixels, around):
    import dataclasses

    unit = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    fixed = dataclasses.replace(around, unit=unit)
    found = target(threshold(), pixels, fixed)
    moved = found.ball.random(found.x)
    still = unit.expand_as(pixels) == 0
    assert torch.equal(moved[still], found.of(pixels)[still])


def test_l2_has_no_box_behind_the_front(build, pixels):
    ball = build.square("l2", 0.3, (1, 2, 2))
    found = target(threshold(), pixels, ball)
    assert found.front is None
    assert found.x is pixels
    assert found.of(pixels) is pixels


def test_a_layer_in_place_does_not_change_the_samples(pixels, around):
    module = nn.Sequential(nn.Hardtanh(0.4, 0.6, inplace=True), nn.Flatten(), nn.Linear(4, 2))
    kept = pixels.clone()
    found = target(module, pixels, around)
    limits = copy.deepcopy(found.limits)
    found.scores(found.x)
    found.of(pixels)
    assert torch.equal(pixels, kept)
    assert all(torch.equal(a, b) for a, b in zip(limits, found.limits, strict=True))


def test_held_out_samples_are_not_fooled_by_what_is_flat(build):
    """All images are 0.2 or 0.8 of grey, attacks of 0.45 cross the threshold, and inputs have no slope."""
    from modelward.threats.evasion.harden.watch import HeldOut

    module = threshold()
    with torch.no_grad():
        module[5].weight.copy_(torch.tensor([[1.0, 1, 1, 1], [-1.0, -1, -1, -1]]))
        module[5].bias.copy_(torch.tensor([-2.0, 2.0]))
    y = torch.tensor([0, 1] * 8)
    x = torch.where(y == 0, 0.2, 0.8).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    net = build.network(module, eps=0.45)
    held_out = HeldOut(x=x, y=y, ball=build.square("linf", 0.45, (1, 2, 2)))
    task = build.task()
    found = held_out.measure(net, 1.0, task.meter)
    assert found["clean"] == 1.0
    assert found["attacked"] == 0.0
    assert (task.meter.cost.forward, task.meter.cost.backward) == held_out.passes(net)
