"""Attention and torch's encoder layers, composed of the rules for what they compute.

Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762v7, section 3.2). Torch has several routines
for it, which scale the queries, the keys or both, and add up the softmax in blocks: the roundings granted
cover each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch import Tensor, nn

from modelward.threats.evasion.bounds.calls import arguments
from modelward.threats.evasion.bounds.enclosure import Enclosure, U
from modelward.threats.evasion.bounds.functions import softmax
from modelward.threats.evasion.bounds.laid import WITHHELD, Laid, rearranged
from modelward.threats.evasion.bounds.moves import shifted
from modelward.threats.evasion.bounds.sums import add, affine, linear, matmul, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    Run: TypeAlias = Callable[[object, Enclosure], Enclosure]

_MASKED: Final = -1e30
"""In place of minus infinity: the softmax gives 0 all the same, and bounds stay finite."""
_SCALINGS: Final = 8
_ULPS: Final = 64.0
"""More error granted to each share of a softmax, in units of u: some routines rescale it block by block."""


def attention(query: Enclosure, key: Enclosure, value: Enclosure, mask: object = None) -> Enclosure:
    """Shares of the values by the softmax of scaled products.

    Args:
        query: (n, ..., length, width).
        key: (n, ..., positions, width).
        value: (n, ..., positions, any).
        mask: (length, positions) to be added, or bool: what takes part; or null.

    Raises:
        OperatorUnsupported: the mask depends on the data, or hides all positions.
    """
    zero = torch.zeros((), dtype=torch.float64)
    scale = torch.tensor(query.shape[-1] ** -0.5, dtype=torch.float64)
    scores = affine(matmul(query, shifted(torch.transpose, key, -1, -2)), scale, zero, _SCALINGS)
    if mask is not None:
        scores = add(scores, _added(mask))
    shares = softmax(scores, -1, logarithm=False)
    extra = torch.full((), (_ULPS + 4 * scores.shape[-1]) * U, dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)
    return matmul(affine(shares, one, zero, 2, more=extra), value)


def _added(mask: object) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dim() != 2:
        raise refused("attention with a mask other than one constant for all points and heads")
    hidden = ~mask if mask.dtype == torch.bool else torch.isneginf(mask)
    if hidden.all(dim=-1).any():
        raise refused("attention with a mask that hides all positions")
    plain = torch.zeros(mask.shape, dtype=torch.float64) if mask.dtype == torch.bool else mask.double()
    return plain.masked_fill(hidden, _MASKED)


def scaled_dot_product(
    query: Enclosure, key: Enclosure, value: Enclosure, *given: Any, **named: Any
) -> Enclosure:
    """Torch's function of that name."""
    options = arguments(("attn_mask", "dropout_p", "is_causal"), given, named)
    mask, causal = options.pop("attn_mask", None), options.pop("is_causal", False)
    if any(options.values()) or (causal and mask is not None):
        raise refused("scaled_dot_product_attention with dropout, a scale of its own or two masks")
    if causal:
        mask = torch.ones((query.shape[-2], key.shape[-2]), dtype=torch.bool).tril()
    return attention(query, key, value, mask)


def heads(
    layer: nn.MultiheadAttention,
    query: Enclosure | Laid,
    key: Enclosure | Laid,
    value: Enclosure | Laid,
    *given: Any,
    **named: Any,
) -> tuple[Enclosure | Laid, object]:
    """`nn.MultiheadAttention`, whose weights are withheld: what uses those is refused.

    Args:
        layer: in evaluation mode.
        query: as the layer takes it.
        key: likewise.
        value: likewise.
        given: key_padding_mask, which must be null; need_weights; attn_mask, see `attention`, but what a
            bool mask names is hidden.
        named: the same, and hints: whether a mask is causal the mask itself says.
    """
    options = arguments(("key_padding_mask", "need_weights", "attn_mask"), given, named)
    attn_mask = options.get("attn_mask")
    if options.get("key_padding_mask") is not None or layer.bias_k is not None or layer.add_zero_attn:
        raise refused("MultiheadAttention with a padding mask, a bias of keys or an attention to zeros")
    parts = [
        value if layer.batch_first else rearranged("transpose", value, 0, 1) for value in (query, key, value)
    ]
    width = layer.embed_dim
    joint: Tensor | None = layer.in_proj_weight
    weights = [layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight]
    if joint is not None:
        weights = list(joint.reshape(3, width, width))
    offset: Tensor | None = layer.in_proj_bias
    biases = [None] * 3 if offset is None else list(offset.reshape(3, width))
    split = []
    for part, weight, bias in zip(parts, weights, biases, strict=True):
        if not isinstance(part, Enclosure) or len(part.shape) != 3:
            raise refused("MultiheadAttention over the axis of the points")
        wide = linear(part, weight, bias)
        wide = shifted(torch.unflatten, wide, -1, (layer.num_heads, width // layer.num_heads))
        split.append(shifted(torch.permute, wide, (0, 2, 1, 3)))
    mask = ~attn_mask if isinstance(attn_mask, Tensor) and attn_mask.dtype == torch.bool else attn_mask
    mixed = shifted(torch.permute, attention(split[0], split[1], split[2], mask), (0, 2, 1, 3))
    found = linear(shifted(torch.flatten, mixed, 2), layer.out_proj.weight, layer.out_proj.bias)
    return found if layer.batch_first else rearranged("transpose", found, 0, 1), WITHHELD


def encoder_layer(  # noqa: PLR0917 - as in torch
    run: Run,
    layer: nn.TransformerEncoderLayer,
    src: Enclosure | Laid,
    src_mask: Tensor | None = None,
    src_key_padding_mask: object = None,
    is_causal: bool = False,  # noqa: FBT001, FBT002 - as in torch
) -> Enclosure | Laid:
    """`nn.TransformerEncoderLayer`.

    Args:
        run: applies a layer or function to an enclosure.
        layer: in evaluation mode.
        src: the sequence.
        src_mask: as in `heads`.
        src_key_padding_mask: must be null.
        is_causal: a hint; the mask says what is hidden.
    """
    del is_causal
    first = layer.self_attn.batch_first
    x = src if first else rearranged("transpose", src, 0, 1)
    if type(layer.self_attn) is not nn.MultiheadAttention or not isinstance(x, Enclosure):
        raise refused("TransformerEncoderLayer over the axis of the points or with another attention")
    if src_key_padding_mask is not None:
        raise refused("TransformerEncoderLayer with a padding mask")

    def attended(value: Enclosure) -> Enclosure:
        turned = value if first else rearranged("transpose", value, 0, 1)
        found, _ = heads(layer.self_attn, turned, turned, turned, attn_mask=src_mask)
        found = found if first else rearranged("transpose", found, 0, 1)
        if not isinstance(found, Enclosure):
            raise refused("attention that does not keep the points first")
        return found

    def fed(value: Enclosure) -> Enclosure:
        return run(layer.linear2, run(layer.activation, run(layer.linear1, value)))

    if layer.norm_first:
        x = add(x, attended(run(layer.norm1, x)))
        x = add(x, fed(run(layer.norm2, x)))
    else:
        x = run(layer.norm1, add(x, attended(x)))
        x = run(layer.norm2, add(x, fed(x)))
    return x if first else rearranged("transpose", x, 0, 1)


def encoder(
    run: Run,
    layer: nn.TransformerEncoder,
    src: Enclosure | Laid,
    mask: Tensor | None = None,
    src_key_padding_mask: object = None,
    **others: object,
) -> Enclosure | Laid:
    """`nn.TransformerEncoder`; see `encoder_layer`."""
    del others
    if src_key_padding_mask is not None:
        raise refused("TransformerEncoder with a padding mask")
    for part in layer.layers:
        if type(part) is not nn.TransformerEncoderLayer:
            raise refused(f"TransformerEncoder of {type(part).__name__}")
        src = encoder_layer(run, part, src, mask)
    if layer.norm is None:
        return src
    turn = not isinstance(src, Enclosure)
    front = rearranged("transpose", src, 0, 1) if turn else src
    if not isinstance(front, Enclosure):
        raise refused("TransformerEncoder over the axis of the points")
    found = run(layer.norm, front)
    return rearranged("transpose", found, 0, 1) if turn else found
