"""A module of one batch size, asked with any."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 - after the skip, so that a missing extra skips

from modelward.adapters.batches import AnyBatch  # noqa: E402 - as above


class Four(nn.Module):
    """Refuses other batches than of four."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(len(x))
        return x.reshape(4, -1).square().cumsum(1)


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_every_row_is_answered_in_its_place(rows, shape):
    x = torch.randn(rows, *shape, requires_grad=True)
    inner = Four()
    y = AnyBatch(inner, 4)(x)
    assert set(inner.seen) == {4}
    torch.testing.assert_close(y, x.reshape(rows, 6).square().cumsum(1))
    (gradient,) = torch.autograd.grad(y[:, -1].sum(), x)
    torch.testing.assert_close(gradient, 2 * x)


def test_a_batch_of_one():
    x = torch.randn(3, 2)
    torch.testing.assert_close(AnyBatch(nn.Identity(), 1)(x), x)
