import numpy as np
import pytest


@pytest.fixture(scope="session")
def linear():
    """A linear classifier as a torch module, its data, and the share of points each radius leaves standing."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, size=(60, 6)).astype(np.float32)
    weight = np.array([1.0, -1.0, 0.5, 0.0, 0.0, 0.0], np.float32)
    margin = (x - 0.5) @ weight
    y = (margin > 0).astype(np.int64)
    net = torch.nn.Linear(6, 2)
    with torch.no_grad():
        net.weight.copy_(torch.from_numpy(np.stack([-weight, weight]) / 2))
        net.bias.copy_(torch.from_numpy(np.array([1, -1], np.float32) * 0.5 * weight.sum() / 2))
    return net, x, y, np.abs(margin) / np.abs(weight).sum()
