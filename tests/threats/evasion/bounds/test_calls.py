"""Torch's functions are bounded alike however their arguments are given, and never with some left out."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds.calls import arguments
from modelward.threats.evasion.bounds.propagate import propagate, traced

WEIGHT = torch.linspace(-1, 1, 4 * 2 * 9).reshape(4, 2, 3, 3)
BIAS = torch.linspace(-0.2, 0.3, 4)
UP = torch.linspace(-1, 1, 2 * 3 * 9).reshape(2, 3, 3, 3)
CONVOLUTIONS = {
    "positions": lambda x: functional.conv2d(x, WEIGHT, BIAS, 2, 1, 1, 1),
    "names": lambda x: functional.conv2d(x, WEIGHT, BIAS, stride=2, padding=1, dilation=1, groups=1),
    "both": lambda x: functional.conv2d(x, WEIGHT, BIAS, (2, 2), padding=(1, 1)),
    "torch's own": lambda x: torch.conv2d(x, weight=WEIGHT, bias=BIAS, stride=2, padding=1),
}
TRANSPOSED = {
    "positions": lambda x: functional.conv_transpose2d(x, UP, None, 2, 1, 1, 1, 1),
    "names": lambda x: functional.conv_transpose2d(x, UP, stride=2, padding=1, output_padding=1),
    "both": lambda x: functional.conv_transpose2d(x, UP, None, 2, 1, output_padding=(1, 1), dilation=1),
}


class Called(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x).flatten(1)


def bounded(lab, module, x):
    with torch.no_grad():
        found = propagate(traced(module.eval()), lab.around(x, "linf", 0.05))
    return found.lower, found.upper


@pytest.fixture
def x():
    return torch.rand((2, 2, 6, 6), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("calls", [CONVOLUTIONS, TRANSPOSED], ids=["convolution", "transposed"])
def test_positions_and_names_are_the_same(lab, x, calls):
    found = [bounded(lab, Called(function), x) for function in calls.values()]
    for function, (lower, upper) in zip(calls.values(), found, strict=True):
        torch.testing.assert_close(lower, found[0][0])
        torch.testing.assert_close(upper, found[0][1])
        middle = function(x).flatten(1).double()
        assert (lower <= middle).all()
        assert (middle <= upper).all()


def test_a_function_is_bounded_as_its_layer(lab, x):
    layer = nn.Conv2d(2, 4, 3, stride=2, padding=1)
    up = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(WEIGHT)
        layer.bias.copy_(BIAS)
        up.weight.copy_(UP)
    for module, calls in ((layer, CONVOLUTIONS), (up, TRANSPOSED)):
        one = bounded(lab, nn.Sequential(module, nn.Flatten()), x)
        other = bounded(lab, Called(calls["names"]), x)
        torch.testing.assert_close(one[0], other[0])
        torch.testing.assert_close(one[1], other[1])


def test_strides_are_not_taken_for_paddings(lab, x):
    """The two functions take their last arguments in different orders."""
    uneven = Called(lambda x: functional.conv_transpose2d(x, UP, None, 1, 0, 0, 1, 2))
    lower, upper = bounded(lab, uneven, x)
    assert lower.shape == uneven(x).shape == (2, 3 * 10 * 10)
    assert (lower <= uneven(x)).all()
    assert (uneven(x) <= upper).all()


@pytest.mark.parametrize(
    ("given", "named", "wanted"),
    [
        ((), {}, {}),
        ((1,), {}, {"a": 1}),
        ((1, 2), {}, {"a": 1, "b": 2}),
        ((1,), {"b": 3}, {"a": 1, "b": 3}),
        ((), {"c": 4}, {"c": 4}),
    ],
)
def test_arguments_by_name(given, named, wanted):
    assert arguments(("a", "b"), given, named) == wanted


def test_too_many_arguments_are_not_dropped():
    with pytest.raises(ValueError, match="longer"):
        arguments(("a",), (1, 2), {})


def test_attention_refuses_what_it_does_not_compute(lab):
    x = torch.rand((2, 1, 4, 6), generator=torch.Generator().manual_seed(1))
    seen = torch.ones((4, 4), dtype=torch.bool).tril()

    def attended(*given, **named):
        return Called(lambda x: functional.scaled_dot_product_attention(x, x, x, *given, **named))

    plain = bounded(lab, attended(seen), x)
    for alike in (attended(attn_mask=seen), attended(None, 0.0, True), attended(is_causal=True)):
        other = bounded(lab, alike, x)
        torch.testing.assert_close(plain[0], other[0])
        torch.testing.assert_close(plain[1], other[1])
    for refused in (attended(None, 0.5), attended(scale=2.0), attended(seen, is_causal=True)):
        with pytest.raises(OperatorUnsupported, match="scaled_dot_product_attention"):
            bounded(lab, refused, x)
