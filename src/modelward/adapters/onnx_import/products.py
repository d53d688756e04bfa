"""Translate Einsum of two factors as a matrix product, the form that bounds know.

Source: ONNX operator specification (docs/Operators.md, Einsum-12).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, final

import torch

from modelward.adapters.onnx_import.builder import Builder, Value, rank, shapes
from modelward.errors import OperatorUnsupported

if TYPE_CHECKING:
    from modelward.adapters.onnx_import.operation import Operation


@final
@dataclass(frozen=True)
class _Labels:
    """The axes of a product of two factors, by what becomes of them.

    Attributes:
        shared: in both factors and in the result.
        left: in the left factor and in the result.
        right: in the right factor and in the result.
        summed: in both factors alone.
        result: order of the result.
    """

    shared: str
    left: str
    right: str
    summed: str
    result: str


def einsum(b: Builder, op: Operation) -> Value:
    """Two factors, each letter once in each: sums of products over the letters that the result lacks."""
    equation = op.text("equation", "").replace(" ", "")
    operands, _, result = equation.partition("->")
    factors = operands.split(",")
    if "->" not in equation or len(factors) != 2 or len(op.inputs) != 2:
        raise OperatorUnsupported(f"equation {equation!r} is no product of two factors with a stated result")
    first, second = factors
    if not (first + second + result).isalpha() or any(len(set(t)) != len(t) for t in (*factors, result)):
        raise OperatorUnsupported(f"equation {equation!r} has an ellipsis or a letter twice in one term")
    labels = _Labels(
        shared="".join(c for c in first if c in second and c in result),
        left="".join(c for c in first if c not in second),
        right="".join(c for c in second if c not in first),
        summed="".join(c for c in first if c in second and c not in result),
        result=result,
    )
    if set(labels.left + labels.right) - set(result) or set(result) - set(first + second):
        raise OperatorUnsupported(f"equation {equation!r} sums over a letter of one factor alone")
    left, right = op.value(0), op.value(1)
    if (rank(left), rank(right)) != (len(first), len(second)):
        raise OperatorUnsupported(f"equation {equation!r} does not fit {rank(left)} and {rank(right)} axes")
    return _product(b, (left, first), (right, second), labels)


def _product(b: Builder, left: tuple[Value, str], right: tuple[Value, str], labels: _Labels) -> Value:
    """(shared, left, summed) times (shared, summed, right), each group joined to one axis."""
    lengths = [
        dict(zip(left[1] + right[1], one + other, strict=True))
        for one, other in zip(shapes(left[0]), shapes(right[0]), strict=True)
    ]

    def joined(groups: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
        return tuple(
            (*(known[c] for c in labels.shared), *(prod(known[c] for c in group) for group in groups))
            for known in lengths
        )

    one = _ordered(b, *left, labels.shared + labels.left + labels.summed)
    other = _ordered(b, *right, labels.shared + labels.summed + labels.right)
    product = b.call(
        torch.matmul,
        b.reshape(one, joined((labels.left, labels.summed))),
        b.reshape(other, joined((labels.summed, labels.right))),
    )
    order = labels.shared + labels.left + labels.right
    split = b.reshape(product, tuple(tuple(known[c] for c in order) for known in lengths))
    return _ordered(b, split, order, labels.result)


def _ordered(b: Builder, x: Value, have: str, want: str) -> Value:
    return x if have == want else b.call(torch.permute, x, tuple(have.index(c) for c in want))
