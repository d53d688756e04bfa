"""Values whose batch is not in front: what is done to them, beside what torch does to their points."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.bounds.attention import attention
from modelward.threats.evasion.bounds.enclosure import Enclosure
from modelward.threats.evasion.bounds.laid import Laid, regrouped, settled, spread
from modelward.threats.evasion.bounds.propagate import propagate, traced

SIZES = (3, 4, 6)  # points, sequence, width


class Body(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body
        self.linear, self.norm = nn.Linear(6, 6), nn.LayerNorm(6)
        self.heads = nn.MultiheadAttention(6, 2)
        self.first = nn.MultiheadAttention(6, 2, batch_first=True, bias=False)
        self.deep, self.third = nn.Softmax(-1), nn.Softmax(2)
        self.places = nn.Parameter(torch.rand(4, 1, 6))
        layer = nn.TransformerEncoderLayer(6, 2, 5)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(6), enable_nested_tensor=False)

    def forward(self, x):
        return self.body(self, x).flatten(1)


BODIES = {
    "turned and back": lambda m, x: torch.relu(m.linear(x.transpose(0, 1))).transpose(0, 1),
    "turned by order": lambda m, x: m.norm(x.permute(1, 0, 2)).permute(1, 0, 2),
    "first of the sequence": lambda m, x: m.linear(x.transpose(0, 1))[0],
    "a part of it": lambda m, x: x.transpose(0, 1)[1:3, :, 2].transpose(0, 1),
    "mean over it": lambda m, x: (x.transpose(0, 1) + m.places).mean(0),
    "largest, kept": lambda m, x: (x.transpose(0, 1) * x.transpose(0, 1).amax(0, keepdim=True)).sum(dim=0),
    "joined with the batch": lambda m, x: m.linear(x.transpose(0, 1).reshape(-1, 6)).reshape(4, -1, 6).transpose(0, 1),
    "heads joined": lambda m, x: x.transpose(0, 1).reshape(4, x.shape[0] * 2, 3).transpose(0, 1).reshape(-1, 2, 4, 3),
    "products": lambda m, x: torch.bmm(
        x.transpose(0, 1).reshape(4, -1, 3).transpose(0, 1),
        x.transpose(0, 1).reshape(4, -1, 3).permute(1, 2, 0),
    ).softmax(-1).reshape(-1, 2, 4, 4),
    "softmax of a layer": lambda m, x: m.third(x.transpose(0, 1).reshape(4, -1, 2, 3)[:, :, 0]).transpose(0, 1),
    "layer over heads": lambda m, x: m.deep(x.transpose(0, 1).reshape(4, -1, 2, 3)).flatten(2).transpose(0, 1),
    "squeezed": lambda m, x: x.unsqueeze(0).permute(0, 2, 1, 3).squeeze(0).select(0, 2),
    "flattened": lambda m, x: x.transpose(0, 1).flatten(0, 1).unflatten(0, (4, -1)).narrow(0, 1, 2).transpose(0, 1),
    "attention": lambda m, x: m.heads(*(x.transpose(0, 1),) * 3)[0].transpose(0, 1),
    "attention, points first": lambda m, x: m.first(x, 2 * x, x, need_weights=False)[0],
    "encoder": lambda m, x: m.encoder(x.transpose(0, 1)).transpose(0, 1),
    "hidden positions": lambda m, x: m.heads(
        *(x.transpose(0, 1),) * 3, attn_mask=torch.ones(4, 4, dtype=torch.bool).triu(1)
    )[0].mean(0),
}  # fmt: skip


def bounded(name, x, eps):
    torch.manual_seed(3)
    module = Body(BODIES[name]).eval()
    low, high = x.double() - eps, x.double() + eps
    with torch.no_grad():
        return module, propagate(traced(module), Enclosure(low, high))


@pytest.mark.parametrize("name", BODIES)
def test_values_stay_within_bounds_at_every_number_of_points(name):
    for points in (2, 3, 4, 6):  # 4 and 6 are lengths of other axes too
        x = torch.rand((points, *SIZES[1:]), generator=torch.Generator().manual_seed(points))
        module, scores = bounded(name, x, 0.02)
        random = torch.Generator().manual_seed(0)
        assert scores.lower.isfinite().all()
        for _ in range(40):
            inside = x + 0.02 * (2 * torch.rand(x.shape, generator=random) - 1)
            with torch.no_grad():
                seen = module(inside).double()
            assert (scores.lower <= seen).all()
            assert (seen <= scores.upper).all()


@pytest.mark.parametrize("name", BODIES)
def test_a_set_of_one_input_has_the_value_itself(name):
    x = torch.rand(SIZES, generator=torch.Generator().manual_seed(1))
    module, scores = bounded(name, x, 0.0)
    with torch.no_grad():
        torch.testing.assert_close(
            ((scores.lower + scores.upper) / 2).float(), module(x), atol=1e-2, rtol=1e-2
        )


@pytest.mark.parametrize("name", ["attention", "encoder", "first of the sequence", "hidden positions"])
def test_each_point_is_bounded_by_itself(name):
    x = torch.rand(SIZES, generator=torch.Generator().manual_seed(2))
    other = torch.cat([x[:1], torch.rand(2, 4, 6)])
    one, two = (bounded(name, value, 0.01)[1] for value in (x, other))
    torch.testing.assert_close(one.lower[0], two.lower[0], atol=1e-9, rtol=1e-9)


def permute(x, amount):
    """Not what torch calls so."""
    return x.roll(amount, 0)


fx.wrap("permute")
REFUSED = {
    "over the batch": (lambda m, x: x.transpose(0, 1).mean(1), "along an axis that holds the batch"),
    "softmax over the batch": (lambda m, x: x.transpose(0, 1).softmax(1), "not over the last axis"),
    "attention across points": (lambda m, x: m.heads(x, x, x)[0], "over the axis of the points"),
    "a padding mask": (
        lambda m, x: m.first(x, x, x, key_padding_mask=torch.zeros(3, 4))[0],
        "padding mask",
    ),
    "its weights": (lambda m, x: m.first(x, x, x)[1] * 2, "uses the weights of an attention"),
    "batches in different axes": (lambda m, x: x.transpose(0, 1).reshape(12, 6) + x.reshape(12, 6), "different axes"),
    "cut": (lambda m, x: x.transpose(0, 1).reshape(2, -1, 9), "cuts the axis of the points"),
    "left in the middle": (lambda m, x: x.transpose(0, 1), "first axis|not one row of scores"),
    "a constant per point": (lambda m, x: x.transpose(0, 1) + torch.arange(3.0).reshape(1, 3, 1), "differs between points"),
    "limits with axes": (
        lambda m, x: torch.clamp(x.transpose(0, 1), min=torch.zeros(4, 1, 6)).transpose(0, 1),
        "clamp of a value whose first axis",
    ),
    "normalised over the batch": (
        lambda m, x: functional.layer_norm(x[:, :3].transpose(0, 1), (3, 6)).transpose(0, 1),
        "layer_norm over several axes",
    ),
    "a wider softmax": (
        lambda m, x: torch.softmax(x.transpose(0, 1), -1, dtype=torch.float64).transpose(0, 1),
        "not over the last axis in float32",
    ),
    "a wider mean": (
        lambda m, x: x.transpose(0, 1).mean(0, dtype=torch.float64),
        "mean of a value whose first axis",
    ),
    "a function of the user's": (lambda m, x: permute(x.transpose(0, 1), 1), "permute"),
    "sorted": (lambda m, x: torch.sort(x.transpose(0, 1), 0)[0], "sort"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_meets_the_batch_is_refused_in_words(name):
    body, words = REFUSED[name]
    module = Body(body).eval()
    x = torch.rand(SIZES).double()
    with torch.no_grad(), pytest.raises(OperatorUnsupported, match=words):
        propagate(traced(module), Enclosure(x, x))


def numbered(*lengths):
    values = torch.arange(torch.Size(lengths).numel(), dtype=torch.float64).reshape(lengths)
    return Enclosure(values, values)


def shown(value):
    """The value as the network has it."""
    laid = spread(value)
    flat = [axis for group in laid.groups for axis in group]
    return laid.inner.lower.permute(flat).reshape(laid.shape)


def test_every_order_of_axes_shows_what_permuting_gives():
    x = numbered(2, 3, 4, 5)
    for order in itertools.permutations(range(4)):
        found = settled(x, [(axis,) for axis in order])
        torch.testing.assert_close(shown(found), x.lower.permute(order))
        assert isinstance(found, Enclosure) == (order[0] == 0)
        for shape in ((6, 4, 5), (8, 3, 5), (30, 4), (40, 3), (2, 60), (120,), (1, 2, 1, 60), (3, 2, 20)):
            try:
                again = regrouped(found, shape)
            except OperatorUnsupported:
                continue  # the batch would be cut
            torch.testing.assert_close(shown(again), x.lower.permute(order).reshape(shape))


def test_one_point_goes_where_minus_one_stands():
    x = numbered(1, 8, 8)
    turned = settled(x, [(1,), (0,), (2,)])
    assert isinstance(turned, Laid)
    joined = regrouped(turned, (8, -1, 4))
    assert joined.groups == ((1,), (0, 2), (3,))
    assert regrouped(turned, (-1, 8)).groups == ((1, 0), (2,))
    assert isinstance(regrouped(x, (-1, 64)), Enclosure)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(OperatorUnsupported, match="a reshape of"):
        regrouped(numbered(2, 3), (5,))


def test_attention_is_what_its_definition_says():
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 4, 5) for _ in range(3))
    parts = [Enclosure(part.double(), part.double()) for part in (query, key, value)]
    for mask in (
        None,
        torch.ones(4, 4, dtype=torch.bool).tril(),
        torch.randn(4, 4).triu().masked_fill(torch.ones(4, 4).triu(1) > 0, -torch.inf),
    ):
        found = attention(*parts, mask)
        wanted = functional.scaled_dot_product_attention(query, key, value, mask)
        assert (found.lower <= wanted).all()
        assert (wanted <= found.upper).all()
        torch.testing.assert_close(((found.lower + found.upper) / 2).float(), wanted, atol=1e-4, rtol=1e-4)
    for mask, words in (
        (torch.zeros(4, 4, dtype=torch.bool), "hides all positions"),
        (torch.zeros(2, 1, 4, 4), "one constant for all points"),
        (parts[0], "one constant for all points"),
    ):
        with pytest.raises(OperatorUnsupported, match=words):
            attention(*parts, mask)
