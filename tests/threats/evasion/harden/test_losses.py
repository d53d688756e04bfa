"""What the methods minimise, where it can be computed in another way."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from modelward.threats.evasion.harden.intervals import Interval
from modelward.threats.evasion.harden.losses import LOSSES
from modelward.threats.evasion.harden.margins import interval_margins
from modelward.threats.evasion.harden.weights import perturbed


@pytest.fixture
def clean(build, batch):
    with torch.no_grad():
        return float(functional.cross_entropy(build.small_net()(batch().x), batch().y))


@pytest.mark.parametrize("method", LOSSES)
def test_without_a_radius_every_loss_is_the_clean_one(build, batch, clean, method):
    norm = "l2" if method == "noise" else "linf"
    net = build.network(build.small_net(), method=method, norm=norm, eps=0.1)
    given = batch(ball=build.square(norm, 0.1).scaled(0.0), grown=0.0)
    assert LOSSES[method](net, given).item() == pytest.approx(clean, abs=1e-4)


@pytest.mark.parametrize("method", ["pgd", "trades", "fast", "ibp", "crown-ibp", "sabr"])
def test_no_loss_under_attack_is_below_the_clean_one(build, batch, clean, method):
    torch.manual_seed(0)
    net = build.network(build.small_net(), method=method, eps=0.1, beta=1.0)
    assert LOSSES[method](net, batch()).item() >= clean - 1e-5


def test_the_attack_of_pgd_is_as_bad_as_a_fine_grid(build, batch):
    """Two inputs: the worst loss over the box is found by trying all of it."""
    net = build.network(build.small_net(3), steps=20)
    given = batch(n=8, steps=20)
    torch.manual_seed(0)
    found = LOSSES["pgd"](net, given).item()
    low, high = given.ball.limits(given.x)
    shares = torch.cartesian_prod(torch.linspace(0, 1, 21), torch.linspace(0, 1, 21))
    grid = low[:, None] + shares[None] * (high - low)[:, None]
    with torch.no_grad():
        scores = net.module(grid.reshape(-1, 2)).reshape(8, -1, 2)
        each = functional.cross_entropy(
            scores.transpose(1, 2), given.y[:, None].expand(-1, scores.shape[1]), reduction="none"
        )
    assert found == pytest.approx(float(each.amax(1).mean()), rel=1e-3)


def test_trades_adds_beta_times_the_divergence(build, batch):
    values = {}
    for beta in (100.0, 200.0, 400.0):
        net = build.network(build.small_net(1), method="trades", beta=beta)
        torch.manual_seed(0)
        values[beta] = LOSSES["trades"](net, batch()).item()
    assert values[400.0] - values[200.0] == pytest.approx(2 * (values[200.0] - values[100.0]), rel=1e-4)
    assert values[200.0] > values[100.0]


def test_intervals_mix_clean_and_worst_by_kappa(build, batch, clean):
    values = {}
    for kappa in (0.0, 0.25, 1.0):
        net = build.network(build.small_net(), method="ibp", kappa=kappa)
        values[kappa] = LOSSES["ibp"](net, batch()).item()
    assert values[1.0] >= clean
    box = Interval.between(*batch().ball.limits(batch().x))
    worst = functional.cross_entropy(-interval_margins(net.graph, box, batch().y), batch().y)
    assert values[0.0] == pytest.approx(worst.item(), rel=1e-5)
    assert values[0.25] == pytest.approx(0.25 * clean + 0.75 * values[0.0], rel=1e-5)


def test_a_small_box_of_full_width_is_the_whole_ball(build, batch):
    whole = build.network(build.small_net(), method="sabr", small=1.0)
    plain = build.network(build.small_net(), method="ibp", kappa=0.0)
    assert LOSSES["sabr"](whole, batch()).item() == pytest.approx(
        LOSSES["ibp"](plain, batch()).item(), rel=1e-5
    )


def test_a_small_box_asks_for_less_than_the_whole_ball(build, batch):
    torch.manual_seed(0)
    small = build.network(build.small_net(), method="sabr", small=0.3)
    whole = build.network(build.small_net(), method="sabr", small=1.0)
    assert LOSSES["sabr"](small, batch()).item() <= LOSSES["sabr"](whole, batch()).item() + 1e-5


def test_relaxation_ends_as_intervals(build, batch):
    relaxed = build.network(build.small_net(), method="crown-ibp")
    plain = build.network(build.small_net(), method="ibp")
    assert LOSSES["crown-ibp"](relaxed, batch()).item() == LOSSES["ibp"](plain, batch()).item()


def test_noise_has_the_stated_deviation(build, batch):
    seen = []

    class Spy(torch.nn.Linear):
        def forward(self, x):
            seen.append(x.detach())
            return super().forward(x)

    net = build.network(Spy(2, 2), method="noise", norm="l2", eps=0.25)
    given = batch(n=4000, ball=build.square("l2", 0.25))
    LOSSES["noise"](net, given)
    assert float((seen[0] - given.x).std()) == pytest.approx(0.25, rel=0.03)
    assert float(seen[0].amin()) < 0  # noise is not cut to the box: smoothing asks the model out there


def test_weights_are_moved_by_gamma_and_given_back(build, batch):
    module = build.small_net()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    first = functional.cross_entropy(module(batch().x), batch().y)
    with perturbed(module, first, 0.01):
        for name, weight in module.named_parameters():
            moved = (weight - before[name]).norm().item()
            wanted = 0.01 * float(before[name].norm()) if weight.dim() > 1 else 0.0
            assert moved == pytest.approx(wanted, rel=1e-3, abs=1e-9)
        again = functional.cross_entropy(module(batch().x), batch().y)
        assert again.item() > first.item()
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_weights_are_given_back_after_an_error(build, batch):
    module = build.small_net()
    before = module[0].weight.detach().clone()
    loss = functional.cross_entropy(module(batch().x), batch().y)
    with pytest.raises(KeyError), perturbed(module, loss, 0.5):
        raise KeyError
    assert torch.equal(before, module[0].weight)
