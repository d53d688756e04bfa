"""What each detector measures, by an independent route: numpy, scipy, scikit-learn, or a loop over pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance
from sklearn.neighbors import NearestNeighbors
from torch import nn

from modelward.threats.evasion.harden.ball import Ball
from modelward.threats.evasion.harden.detectors import scores as module
from modelward.threats.evasion.harden.detectors.scores import (
    Consistency,
    Mahalanobis,
    Neighbours,
    Squeezing,
    activations,
)

SEEDS = st.integers(0, 2**31 - 1)


def ball(shape=(2,), *, norm="linf", eps=0.1, lower=0.0, upper=1.0):
    one = torch.ones(shape)
    return Ball(norm=norm, eps=eps, lower=lower * one, upper=upper * one, unit=(upper - lower) * one)


def hidden(seed, width=4, classes=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, classes)).eval()


def seen(net, x):
    """Activations as float64, by the layers' own weights."""
    weight, bias = (part.detach().double().numpy() for part in (net[0].weight, net[0].bias))
    return np.tanh(x.double().numpy() @ weight.T + bias)


def passive():
    """Its last activations are its inputs."""
    return nn.Sequential(nn.Identity(), nn.Linear(2, 2)).eval()


def softmax(net, x):
    with torch.no_grad():
        z = net(x).double().numpy()
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


# -- Mahalanobis -------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_mahalanobis_is_that_of_scipy_to_the_nearest_class(seed):
    """Pooled within-class covariance, a twentieth of its mean variance on the diagonal, one class at a time."""
    random = np.random.default_rng(seed)
    net = hidden(seed % 97)
    x = torch.from_numpy(random.normal(size=(90, 2))).float()
    y = torch.from_numpy(random.permutation(np.arange(90) % 3))
    h, labels = seen(net, x), y.numpy()
    means = [h[labels == label].mean(axis=0) for label in range(3)]
    pooled = sum((labels == k).sum() * np.cov(h[labels == k].T, bias=True) for k in range(3)) / 90
    pooled += 0.05 * pooled.diagonal().mean() * np.eye(4)
    inverse = np.linalg.inv(pooled)
    at = torch.from_numpy(random.normal(size=(7, 2))).float()
    wanted = [min(distance.mahalanobis(row, mean, inverse) ** 2 for mean in means) for row in seen(net, at)]
    found = Mahalanobis.fitted(net, x, y).score(at)
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=2e-3, atol=1e-3)


def test_classes_need_not_be_numbered_without_gaps():
    x = torch.rand(30, 2, generator=torch.Generator().manual_seed(0))
    few, gaps = torch.arange(30) % 2, torch.tensor([3, 7])[torch.arange(30) % 2]
    one, two = (Mahalanobis.fitted(passive(), x, y).score(x + 0.1) for y in (few, gaps))
    assert torch.equal(one, two)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.floats(0, 6.28))
def test_turning_all_activations_changes_no_distance(seed, angle):
    random = np.random.default_rng(seed)
    x = torch.from_numpy(random.normal(size=(60, 2)) * [1.0, 0.2]).float()
    turn = torch.tensor(
        [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], dtype=torch.float32
    )
    y, net = torch.arange(60) % 2, passive()
    straight = Mahalanobis.fitted(net, x, y).score(x)
    turned = Mahalanobis.fitted(net, x @ turn, y).score(x @ turn)
    np.testing.assert_allclose(straight.detach().numpy(), turned.detach().numpy(), rtol=1e-3, atol=1e-3)


def test_training_samples_lie_at_about_as_many_dimensions_as_there_are():
    """The mean squared distance to the own class is the trace of the whitened covariance: below 2 here."""
    random = torch.Generator().manual_seed(1)
    x, y = torch.randn((2000, 2), generator=random), torch.zeros(2000, dtype=torch.int64)
    mean = Mahalanobis.fitted(passive(), x, y).score(x).mean().item()
    assert mean == pytest.approx(2 / 1.05, rel=0.02)


def test_a_feature_that_never_varies_is_no_division_by_zero():
    x = torch.stack([torch.linspace(0, 1, 20), torch.full((20,), 0.5)], dim=1)
    found = Mahalanobis.fitted(passive(), x, torch.arange(20) % 2)
    assert found.score(torch.tensor([[0.5, 0.5], [0.5, 0.9]])).isfinite().all()
    still = Mahalanobis.fitted(passive(), torch.full((8, 2), 0.5), torch.arange(8) % 2)
    assert still.score(torch.tensor([[0.5, 0.5]])).item() == 0


# -- neighbours --------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(1, 9))
def test_neighbours_are_those_of_scikit_learn(seed, k):
    random = np.random.default_rng(seed)
    net = hidden(seed % 89)
    x, at = (torch.from_numpy(random.normal(size=(n, 2))).float() for n in (40, 6))
    fitted = Neighbours.fitted(net, x)

    def unit(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    apart, _ = NearestNeighbors(n_neighbors=k).fit(unit(seen(net, x))).kneighbors(unit(seen(net, at)))
    found = Neighbours(net, fitted.known, k).score(at).detach().numpy()
    np.testing.assert_allclose(found, apart[:, -1], atol=2e-3)


def test_the_length_of_activations_does_not_count():
    known = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    found = Neighbours(passive(), Neighbours.fitted(passive(), known).known, 1)
    assert found.score(torch.tensor([[9.0, 9.0], [0.01, 0.01]])).tolist() == pytest.approx([0, 0], abs=1e-3)


def test_the_first_samples_are_the_ones_kept(monkeypatch):
    monkeypatch.setattr(module, "_KEPT", 3)
    monkeypatch.setattr(module, "_CHUNK", 2)
    x = torch.rand(10, 2, generator=torch.Generator().manual_seed(0))
    known = Neighbours.fitted(passive(), x).known
    np.testing.assert_allclose(known, torch.nn.functional.normalize(x[:3], dim=1))


def test_more_neighbours_than_samples_is_the_farthest():
    known = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert Neighbours(passive(), known, 50).score(torch.tensor([[2.0, 0.0]])).item() == pytest.approx(2.0)


# -- squeezing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "levels"), [(1, 2), (2, 4), (3, 8), (4, 16)])
@pytest.mark.parametrize(("lower", "upper"), [(0.0, 1.0), (-1.0, 3.0), (0.0, 255.0)])
def test_depths_are_the_nearest_of_so_many_levels(bits, levels, lower, upper):
    """The distance of the softmax at the nearest grid value, found by trying all of them."""
    assert levels == 2**bits
    grid = lower + (upper - lower) * np.arange(levels) / (levels - 1)
    random = np.random.default_rng(bits)
    x = random.uniform(lower, upper, (12, 2)).astype(np.float32)
    near = grid[np.abs(x[..., None] - grid).argmin(axis=-1)].astype(np.float32)
    net = hidden(3)
    wanted = np.abs(softmax(net, torch.from_numpy(x)) - softmax(net, torch.from_numpy(near))).sum(axis=1)
    found = Squeezing(net, ball(lower=lower, upper=upper), levels).score(torch.from_numpy(x))
    np.testing.assert_allclose(found.detach().numpy(), wanted, atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from([2, 4, 8, 16]))
def test_what_is_squeezed_already_is_above_suspicion(seed, levels):
    random = np.random.default_rng(seed)
    x = torch.from_numpy(random.integers(0, levels, (5, 2)) / (levels - 1)).float()
    assert Squeezing(hidden(1), ball(), levels).score(x).abs().max() < 1e-5


def test_scores_are_distances_of_distributions():
    net = nn.Sequential(nn.Linear(2, 2)).eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[-1000.0, 0.0], [1000.0, 0.0]]))
        net[0].bias.copy_(torch.tensor([300.0, -300.0]))
    found = Squeezing(net, ball(), 2).score(torch.rand(200, 2, generator=torch.Generator().manual_seed(0)))
    assert (found >= 0).all()
    assert (found <= 2 + 1e-6).all()
    assert found.max() > 1.9


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 5), st.integers(1, 5), st.integers(1, 3))
def test_medians_are_the_second_smallest_of_four_pixels(seed, height, width, colours):
    image = np.random.default_rng(seed).random((2, colours, height, width)).astype(np.float32)
    wanted = np.empty_like(image)
    for i in range(height):
        for j in range(width):
            rows, columns = [i, min(i + 1, height - 1)], [j, min(j + 1, width - 1)]
            four = np.stack([image[:, :, r, c] for r in rows for c in columns])
            wanted[:, :, i, j] = np.sort(four, axis=0)[1]
    np.testing.assert_array_equal(module._median(torch.from_numpy(image)).numpy(), wanted)


def test_of_both_forms_of_an_image_the_more_suspicious_counts():
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 2)).eval()
    torch.manual_seed(0)
    x = torch.rand(6, 1, 3, 3)
    around = ball((1, 3, 3))
    plain = softmax(net, x)
    forms = [torch.round(x * 7) / 7, module._median(x)]
    wanted = np.max([np.abs(plain - softmax(net, form)).sum(axis=1) for form in forms], axis=0)
    np.testing.assert_allclose(Squeezing(net, around).score(x).detach().numpy(), wanted, atol=2e-5)


def test_a_feature_without_width_is_left_alone():
    around = Ball(
        norm="linf",
        eps=0.1,
        lower=torch.tensor([0.0, 0.5]),
        upper=torch.tensor([1.0, 0.5]),
        unit=torch.ones(2),
    )
    assert Squeezing(hidden(0), around).score(torch.tensor([[0.3, 0.5]])).isfinite().all()


def test_rounding_passes_the_slope_on():
    """Of the L1 distance, by central differences of what rounding would be if it were the identity plus a step."""
    net, x = hidden(5), torch.tensor([[0.31, 0.64]], requires_grad=True)
    (slope,) = torch.autograd.grad(Squeezing(net, ball()).score(x).sum(), x)
    step = (torch.round(x.detach() * 7) / 7 - x.detach()).double()

    def apart(at):
        plain, moved = (torch.softmax(net.double()(form), 1) for form in (at, at + step))
        return float((plain - moved).abs().sum())

    at, h = x.detach().double(), 1e-5
    with torch.no_grad():
        numeric = [(apart(at + h * e) - apart(at - h * e)) / (2 * h) for e in torch.eye(2).double()]
    assert slope[0].tolist() == pytest.approx(numeric, abs=1e-4)


# -- consistency -------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_consistency_is_the_mean_over_its_draws(seed):
    net, random = hidden(seed % 83), torch.Generator().manual_seed(seed)
    found = Consistency.fitted(net, ball(), random)
    x = torch.rand(5, 2, generator=random)
    apart = [np.abs(softmax(net, x) - softmax(net, x + draw)).sum(axis=1) for draw in found.noise]
    np.testing.assert_allclose(found.score(x).detach().numpy(), np.mean(apart, axis=0), atol=2e-5)
    assert found.passes == 1 + len(found.noise) == 9


@pytest.mark.parametrize(("norm", "deviation"), [("linf", 0.05), ("l2", 0.1 / 5000**0.5)])
def test_noise_is_as_large_as_it_says(norm, deviation):
    """8 draws of 5000 numbers: the standard error of a deviation is itself over the root of twice as many."""
    random = torch.Generator().manual_seed(0)
    noise = Consistency.fitted(hidden(0), ball((5000,), norm=norm), random).noise
    assert noise.shape == (8, 5000)
    assert noise.std().item() == pytest.approx(deviation, rel=4 / (2 * 40_000) ** 0.5)
    assert abs(noise.mean().item()) < 4 * deviation / 200


def test_noise_is_measured_in_units_of_the_box():
    wide = Consistency.fitted(hidden(0), ball(upper=10.0), torch.Generator().manual_seed(0)).noise
    narrow = Consistency.fitted(hidden(0), ball(), torch.Generator().manual_seed(0)).noise
    np.testing.assert_allclose(wide, 10 * narrow, rtol=1e-6)


# -- what they look at -------------------------------------------------------------------------------------


def test_the_last_layer_of_several_is_looked_at_whatever_its_depth():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 5), nn.ReLU()))
            self.head = nn.Linear(5, 2)

        def forward(self, x):
            return self.head(self.body(x))

    net, x = Deep().eval(), torch.rand(4, 2)
    assert torch.equal(activations(net, x), net.body(x))


def test_a_layer_that_is_asked_twice_tells_no_activations():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(self.layer(x))

    from modelward.errors import OperatorUnsupported

    with pytest.raises(OperatorUnsupported, match="not given one row per sample"):
        activations(Twice(), torch.rand(3, 2))
