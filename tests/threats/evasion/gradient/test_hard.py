from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from modelward.threats.evasion.gradient.hard import Case, descended, gap, least
from modelward.threats.evasion.gradient.pieces import pieces


def dense(seed, inputs=3, width=5):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3)
    ).eval()


NETS = {
    "dense": (lambda: dense(0), (3,)),
    "linear": (lambda: nn.Sequential(nn.Linear(3, 2)).eval(), (3,)),
    "convolution": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3)
        ).eval(),
        (1, 6, 6),
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_pieces_compute_what_the_net_computes(name):
    make, shape = NETS[name]
    net = make()
    taken = pieces(net, shape)
    assert taken is not None
    for seed in range(5):
        x = torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed))
        wanted = net(x).detach().numpy()[0]
        np.testing.assert_allclose(taken.arguments(x.double().numpy().ravel())[-1], wanted, atol=1e-5)
        low, high = (x - 0.1).double().numpy().ravel(), (x + 0.1).double().numpy().ravel()
        for values, (lower, upper) in zip(
            taken.arguments(x.double().numpy().ravel()), taken.limits(low, high), strict=True
        ):
            assert ((lower <= values) & (values <= upper)).all()


class Residual(nn.Module):
    def forward(self, x):
        return torch.relu(x) + x


class Squared(nn.Module):
    def forward(self, x):
        return (x * x)[:, :2]


@pytest.mark.parametrize(
    "net", [Residual(), Squared(), nn.Sequential(nn.Linear(3, 3), nn.Tanh()), nn.Linear(3, 5000)]
)
def test_what_is_no_small_chain_is_left_alone(net):
    if isinstance(net, nn.Linear):
        net = nn.Sequential(net, nn.ReLU(), nn.Linear(5000, 2))
    assert pieces(net.eval(), (3,)) is None


@pytest.mark.parametrize("seed", range(4))
def test_the_program_finds_the_least_margin_of_a_piece(seed):
    """No input of a fine grid with the same signs has a lower margin; the one found has these signs."""
    network = pieces(dense(seed, inputs=2), (2,))
    case = Case(np.full(2, -0.8), np.full(2, 0.9), 0, 1)
    signs = [z > 0 for z in network.arguments(np.array([0.1, 0.2]))[:-1]]
    x, worth = least(network, signs, case)
    assert worth.shape == (10,)
    assert ((x >= case.low) & (x <= case.high)).all()
    for z, sign in zip(network.arguments(x), signs, strict=False):
        assert ((z >= -1e-7) == sign)[np.abs(z) > 1e-7].all()
    for other in itertools.product(np.linspace(-0.8, 0.9, 80), repeat=2):
        there = network.arguments(np.array(other))
        if all(((z > 0) == sign).all() for z, sign in zip(there, signs, strict=False)):
            assert gap(network, np.array(other), case) >= gap(network, x, case) - 1e-9


def test_no_input_with_impossible_signs():
    network = pieces(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).eval(), (2,))
    far = Case(np.full(2, 0.0), np.full(2, 1e-9), 0, 1)
    signs = [~(z > 0) for z in network.arguments(np.zeros(2))[:-1]]
    assert least(network, signs, far) is None


def test_the_walk_ends_below_its_start_and_mostly_at_the_least():
    reached = 0
    for seed in range(6):
        network = pieces(dense(seed, inputs=2), (2,))
        case = Case(np.full(2, -0.8), np.full(2, 0.9), 0, 1)
        grid = np.array(list(itertools.product(np.linspace(-0.8, 0.9, 40), repeat=2)))
        lowest = min(gap(network, x, case) for x in grid)
        ends = []
        for start in grid[::200]:
            x, value = descended(network, start, case)
            assert value <= gap(network, start, case)
            assert value == pytest.approx(gap(network, x, case))
            ends.append(value)
        reached += min(ends) <= max(0.0, lowest) + 1e-6
    assert reached >= 5  # a walk may end in a piece whose neighbours are all higher


def test_thorough_breaks_what_no_slope_leads_to(room):
    """A narrow valley far from everything: the margin falls only between two close corners of ReLUs.

    Elsewhere the slope leads the wrong way, to the far end of the ball.
    """
    first = nn.Linear(1, 4)
    last = nn.Linear(4, 2)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0], [1.0], [1.0], [-1.0]]))
        first.bias.copy_(torch.tensor([-0.610, -0.611, -0.612, 0.55]))
        # margin = 1 + 4 x beyond the point, less a spike of height 1.5 at 0.611
        last.weight.copy_(torch.tensor([[-1500.0, 3000.0, -1500.0, -1.0], [0, 0, 0, 0]]))
        last.bias.copy_(torch.tensor([1.2, 0.0]))
    net = nn.Sequential(first, nn.ReLU(), last)
    x = np.array([[0.55]], np.float32)
    assert net(torch.tensor([[0.611]]))[0, 0] < 0 < net(torch.tensor([[0.55]]))[0, 0]
    results = {}
    for preset in ("quick", "thorough"):
        model = room.torch(net)
        points = room.data(x, [0])
        result = room.run("gradient", model, points, norms=("linf",), eps=(0.1,), preset=preset)
        results[preset] = result.first.outcome["broken"]
    assert results == {"quick": [], "thorough": [0]}
