from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from modelward.threats.evasion.gradient.hard import _Case, _least, _opened
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
        for values, (least, most) in zip(
            taken.arguments(x.double().numpy().ravel()), taken.limits(low, high), strict=True
        ):
            assert ((least <= values) & (values <= most)).all()


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
def test_with_all_signs_open_the_program_finds_the_least_margin(seed):
    """Brute force over a fine grid finds nothing lower, and the input found attains what it says."""
    network = pieces(dense(seed, inputs=2), (2,))
    low, high = np.full(2, -0.8), np.full(2, 0.9)
    case = _Case(low, high, 0, 1)
    found = _least(network, np.zeros(2), case, (network.limits(low, high), 100))
    assert found is not None
    assert ((found >= low) & (found <= high)).all()
    grid = np.array(list(itertools.product(np.linspace(-0.8, 0.9, 60), repeat=2)))
    scores = np.array([network.arguments(x)[-1] for x in grid])
    value = network.arguments(found)[-1]
    assert value[0] - value[1] <= (scores[:, 0] - scores[:, 1]).min() + 1e-6


def test_the_open_relus_are_the_nearest_to_their_corner():
    network = pieces(dense(2), (3,))
    x = np.array([0.2, -0.1, 0.3])
    limits = network.limits(x - 1, x + 1)
    few, many = (sum(int(part.sum()) for part in _opened(network, x, limits, n)) for n in (2, 6))
    assert few == 2
    assert many == 6


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
