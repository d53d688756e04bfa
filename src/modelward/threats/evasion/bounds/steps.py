"""Steps: how a value depends on those it was computed from, within proven linear bounds.

A linear function a . v of a value v = f(w), computed in float32, is bounded below by a linear function of w,

    a . v >= b . w + offset      for every w in its enclosure,

which is the backward rule of linear relaxation (Zhang et al. 2018, "Efficient neural network robustness
certification with general activation functions", CROWN, arXiv 1811.00866v1, section 3; for general graphs Xu
et al. 2020, arXiv 2002.12920v3, section 3.2). Each step states two errors per entry of v, which the caller
subtracts once as |a| . (error + gamma(count) size): `error`, what the float32 network may differ from f, and
`size`, the magnitude that the rounding of b itself acts on, whatever precision b is computed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol, final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelward.threats.evasion.bounds.enclosure import Enclosure
    from modelward.threats.evasion.bounds.rows import Rows
    from modelward.threats.evasion.bounds.windows import Geometry

BLOCK: Final = 16
"""Terms that are added in float32 before sums go on in float64."""


@final
@dataclass(frozen=True, eq=False, slots=True)
class Errors:
    """What a step may be off by, per entry of its result.

    Attributes:
        runtime: (n, *shape) float64, or null: the network computes this step exactly.
        size: (n, *shape) float64: bounds the sum of magnitudes that each entry of the pulled-back
            coefficients is multiplied with; or null: pulling back rounds nothing.
        count: rounded operations per pulled-back coefficient, at most.
    """

    runtime: Tensor | None = None
    size: Tensor | None = None
    count: int = 0


class Step(Protocol):
    """One operation, seen from its result."""

    @property
    def parents(self) -> tuple[Enclosure, ...]:
        """What the result was computed from."""
        ...

    @property
    def errors(self) -> Errors:
        """See `Errors`."""
        ...

    def pull(self, a: Tensor, rows: Rows) -> tuple[tuple[Tensor, ...], Tensor]:
        """Linear lower bound of a . result.

        Args:
            a: (r, *shape) coefficients, one row per bound wanted.
            rows: which point each row belongs to.

        Returns:
            Coefficients (r, *shape of the parent) for each parent, and the offsets (r,) float64.
        """
        ...

    def value(self, *parents: Tensor) -> Tensor:
        """The result itself, up to rounding, for (r, *shape) values of the parents."""
        ...


def total(product: Tensor) -> Tensor:
    """Sum per row: float32 in blocks of at most `BLOCK` terms, which is faster, and the blocks in float64."""
    flat = product.flatten(1)
    cut = flat.shape[1] // BLOCK
    if flat.dtype != torch.float32 or cut < BLOCK:
        return flat.sum(dim=1, dtype=torch.float64)
    blocks = flat[:, : cut * BLOCK].reshape(-1, BLOCK, cut).sum(dim=1)
    return blocks.sum(dim=1, dtype=torch.float64) + flat[:, cut * BLOCK :].sum(dim=1, dtype=torch.float64)


@final
@dataclass(frozen=True, eq=False, slots=True)
class Linear:
    """Sums of products with constant weights.

    Attributes:
        source: the argument.
        apply: apply(values, weights), linear in each.
        adjoint: adjoint(coefficients, weights), its transpose in the values.
        weight: float64.
        bias: broadcasts against one result, or null.
        errors: see `Errors`.
        geometry: of a convolution in two axes, or null.
    """

    source: Enclosure
    apply: Callable[[Tensor, Tensor], Tensor]
    adjoint: Callable[[Tensor, Tensor], Tensor]
    weight: Tensor
    bias: Tensor | None
    errors: Errors
    geometry: Geometry | None = None

    @property
    def parents(self) -> tuple[Enclosure, ...]:
        """The argument."""
        return (self.source,)

    def pull(self, a: Tensor, rows: Rows) -> tuple[tuple[Tensor, ...], Tensor]:
        """Exact."""
        offset = a.new_zeros(len(a), dtype=torch.float64)
        if self.bias is not None:
            offset = total(a * rows.cast(self.bias))
        if rows.window is not None and self.geometry is not None:
            back = self.geometry.widen(a, rows.cast(self.weight))
            rows.window.grow(self.geometry)
            # What the padding contributes is a product with 0.
            return (back * rows.inside(self.source.shape),), offset
        return (self.adjoint(a, rows.cast(self.weight)),), offset

    def value(self, *parents: Tensor) -> Tensor:
        """See `Step`."""
        result = self.apply(parents[0], self.weight.to(parents[0].dtype))
        return result if self.bias is None else result + self.bias.to(result.dtype)


@final
@dataclass(frozen=True, eq=False, slots=True)
class Scaled:
    """factor * source + offset per entry; where it broadcasts, entries of the source are repeated.

    Attributes:
        source: the argument.
        factor: broadcasts against the source.
        offset: likewise.
        errors: see `Errors`.
    """

    source: Enclosure
    factor: Tensor
    offset: Tensor
    errors: Errors

    @property
    def parents(self) -> tuple[Enclosure, ...]:
        """The argument."""
        return (self.source,)

    def pull(self, a: Tensor, rows: Rows) -> tuple[tuple[Tensor, ...], Tensor]:
        """Exact."""
        back = a * rows.cast(self.factor)
        if rows.window is None:
            back = back.sum_to_size(len(a), *self.source.shape[1:])
        return (back,), total(a * rows.cast(self.offset))

    def value(self, *parents: Tensor) -> Tensor:
        """See `Step`."""
        (x,) = parents
        return self.factor.to(x.dtype) * x + self.offset.to(x.dtype)


@final
@dataclass(frozen=True, eq=False, slots=True)
class Moved:
    """Entries moved, dropped or repeated within each sample, or set to a constant.

    Attributes:
        source: the argument.
        index: (entries of one result,) int64 position in one flat sample, -1 for the constant.
        shape: of one result.
        constant: what stands where the index is -1.
        errors: see `Errors`.
    """

    source: Enclosure
    index: Tensor
    shape: tuple[int, ...]
    constant: float
    errors: Errors

    @property
    def parents(self) -> tuple[Enclosure, ...]:
        """The argument."""
        return (self.source,)

    def pull(self, a: Tensor, rows: Rows) -> tuple[tuple[Tensor, ...], Tensor]:
        """Exact."""
        del rows
        flat, shape = a.flatten(1), self.source.shape[1:]
        offset = a.new_zeros(len(a), dtype=torch.float64)
        if flat.shape[1] == math.prod(shape) and torch.equal(self.index, torch.arange(len(self.index))):
            return (flat.reshape(-1, *shape),), offset
        fixed = self.index < 0
        if fixed.any():
            offset = total(flat[:, fixed]) * self.constant
        back = flat.new_zeros(len(a), math.prod(shape))
        back = back.index_add(1, self.index[~fixed], flat[:, ~fixed])
        return (back.reshape(-1, *shape),), offset

    def value(self, *parents: Tensor) -> Tensor:
        """See `Step`."""
        flat = parents[0].flatten(1)
        moved = flat[:, self.index.clamp_min(0)].where(self.index >= 0, self.constant)
        return moved.reshape(-1, *self.shape)


def moved(source: Enclosure, index: Tensor, shape: tuple[int, ...], constant: float = 0.0) -> Moved:
    """The step of a rearrangement; pulling back rounds only where entries are repeated."""
    repeats = int(torch.bincount(index + 1)[1:].max()) if len(index) and int(index.max()) >= 0 else 0
    if repeats <= 1 and not constant:
        return Moved(source, index, shape, constant, Errors())
    held = source.largest.flatten(1)
    held = torch.cat([held, torch.full_like(held[:, :1], abs(constant))], dim=1)
    size = held[:, index].reshape(-1, *shape)
    return Moved(source, index, shape, constant, Errors(size=size, count=repeats))


@final
@dataclass(frozen=True, eq=False, slots=True)
class Sum:
    """The sum of two values.

    Attributes:
        parents: the two.
        errors: see `Errors`.
    """

    parents: tuple[Enclosure, ...]
    errors: Errors

    def pull(self, a: Tensor, rows: Rows) -> tuple[tuple[Tensor, ...], Tensor]:
        """Exact."""
        del rows
        back = tuple(a.sum_to_size(len(a), *parent.shape[1:]) for parent in self.parents)
        return back, a.new_zeros(len(a), dtype=torch.float64)

    def value(self, *parents: Tensor) -> Tensor:
        """See `Step`."""
        return parents[0] + parents[1]


@final
@dataclass(frozen=True, eq=False, slots=True)
class Join:
    """Values joined along an axis other than the points'.

    Attributes:
        parents: the parts.
        axis: along which.
    """

    parents: tuple[Enclosure, ...]
    axis: int

    @property
    def errors(self) -> Errors:
        """None."""
        return Errors()

    def pull(self, a: Tensor, rows: Rows) -> tuple[tuple[Tensor, ...], Tensor]:
        """Exact."""
        del rows
        widths = [parent.shape[self.axis] for parent in self.parents]
        return torch.split(a, widths, self.axis), a.new_zeros(len(a), dtype=torch.float64)

    def value(self, *parents: Tensor) -> Tensor:
        """See `Step`."""
        return torch.cat(parents, self.axis)


@final
@dataclass(frozen=True, eq=False, slots=True)
class Rectified:
    """ReLU between its lower line of a slope in [0, 1] that may be chosen and the chord above.

    Slopes and Lagrange multipliers per row are read from the rows: the slopes of alpha-CROWN (Xu et al. 2021,
    arXiv 2011.13824v2, section 3.1), the multipliers of split constraints of beta-CROWN (Wang et al. 2021,
    arXiv 2103.06624v2, theorem 3.1).

    Attributes:
        source: the argument.
    """

    source: Enclosure

    @property
    def parents(self) -> tuple[Enclosure, ...]:
        """The argument."""
        return (self.source,)

    @property
    def errors(self) -> Errors:
        """ReLU itself is exact; the two lines take a few operations on values of the argument's size."""
        return Errors(size=self.source.largest, count=12)

    def pull(self, a: Tensor, rows: Rows) -> tuple[tuple[Tensor, ...], Tensor]:
        """See `Step`."""
        lines = rows.lines(self)
        if lines.below.shape != a.shape:
            raise AssertionError("the lines of a ReLU were drawn for another window than its coefficients")
        if rows.seen is not None:
            rows.seen[self] = a.detach()
        slope, below = rows.alpha.get(self), lines.below
        if slope is not None:
            free = rows.slopes(self)
            below = slope.clamp(free.least, free.most)
        up, down = a.clamp_min(0), a.clamp_max(0)
        back = torch.addcmul(up * below, down, lines.above)
        if self in rows.beta:
            back = back - rows.beta[self].clamp_min(0) * rows.sign[self]
        return (back,), total(down * lines.height)

    def value(self, *parents: Tensor) -> Tensor:
        """See `Step`."""
        return torch.relu(parents[0])


@final
@dataclass(frozen=True, eq=False, slots=True)
class Between:
    """Two lines.

    Attributes:
        below: slope and intercept of the lower line, (n, *shape) float64 each.
        above: likewise of the upper line.
        errors: see `Errors`.
    """

    below: tuple[Tensor, Tensor]
    above: tuple[Tensor, Tensor]
    errors: Errors


@final
@dataclass(frozen=True, eq=False)
class Curve:
    """A function of each entry between two lines, which are found when they are first needed.

    Attributes:
        source: the argument.
        function: what it computes.
        draw: finds the lines.
    """

    source: Enclosure
    function: Callable[[Tensor], Tensor]
    draw: Callable[[], Between]

    @cached_property
    def lines(self) -> Between:
        """The lines."""
        return self.draw()

    @property
    def parents(self) -> tuple[Enclosure, ...]:
        """The argument."""
        return (self.source,)

    @property
    def errors(self) -> Errors:
        """See `Errors`."""
        return self.lines.errors

    def pull(self, a: Tensor, rows: Rows) -> tuple[tuple[Tensor, ...], Tensor]:
        """See `Step`."""
        below, above = self.lines.below, self.lines.above
        up, down = a.clamp_min(0), a.clamp_max(0)
        back = up * rows.of(below[0]) + down * rows.of(above[0])
        return (back,), total(up * rows.of(below[1])) + total(down * rows.of(above[1]))

    def value(self, *parents: Tensor) -> Tensor:
        """See `Step`."""
        return self.function(parents[0])


@final
@dataclass(frozen=True, eq=False, slots=True)
class Product:
    """Products of two values, entrywise or as matrices, between McCormick's planes.

    For x in [l, u] and y in [m, v]: m x + l y - l m <= x y <= m x + u y - u m (McCormick 1976, Mathematical
    Programming 10, section 3; for attention Shi et al. 2020, arXiv 2002.06622v2, section 4.4).

    Attributes:
        parents: the two.
        matrices: whether it is the matrix product over the last two axes.
        errors: see `Errors`.
    """

    parents: tuple[Enclosure, ...]
    matrices: bool
    errors: Errors

    def pull(self, a: Tensor, rows: Rows) -> tuple[tuple[Tensor, ...], Tensor]:
        """See `Step`."""
        x, y = self.parents
        l, u, m = (rows.of(end) for end in (x.lower, x.upper, y.lower))
        up, down = a.clamp_min(0), a.clamp_max(0)
        if self.matrices:
            first = a @ m.transpose(-1, -2)
            second = l.transpose(-1, -2) @ up + u.transpose(-1, -2) @ down
            offset = total(l * (up @ m.transpose(-1, -2))) + total(u * (down @ m.transpose(-1, -2)))
        else:
            first, second = a * m, up * l + down * u
            offset = total(up * l * m) + total(down * u * m)
            first = first.sum_to_size(len(a), *x.shape[1:])
            second = second.sum_to_size(len(a), *y.shape[1:])
        return (first, second), -offset

    def value(self, *parents: Tensor) -> Tensor:
        """See `Step`."""
        return parents[0] @ parents[1] if self.matrices else parents[0] * parents[1]


@final
@dataclass(frozen=True, eq=False, slots=True)
class Largest:
    """The largest entry of each window: at least one entry chosen, at most a line through that entry.

    With r the largest upper end of the others, max(x, r) is convex in x, so its chord over [l, u] lies above.

    Attributes:
        source: the argument.
        windows: (entries of one result, width) int64 positions in one flat sample, -1 for none.
        shape: of one result.
        chosen: (n, entries) position of the entry chosen.
        above: slope and intercept of the upper line in that entry, (n, entries) float64 each.
        errors: see `Errors`.
    """

    source: Enclosure
    windows: Tensor
    shape: tuple[int, ...]
    chosen: Tensor
    above: tuple[Tensor, Tensor]
    errors: Errors

    @property
    def parents(self) -> tuple[Enclosure, ...]:
        """The argument."""
        return (self.source,)

    def pull(self, a: Tensor, rows: Rows) -> tuple[tuple[Tensor, ...], Tensor]:
        """See `Step`."""
        flat, shape = a.flatten(1), self.source.shape[1:]
        up, down = flat.clamp_min(0), flat.clamp_max(0)
        back = flat.new_zeros(len(a), math.prod(shape))
        part = up + down * rows.of(self.above[0])
        back = back.scatter_add(1, self.chosen[rows.point], part)
        return (back.reshape(-1, *shape),), total(down * rows.of(self.above[1]))

    def value(self, *parents: Tensor) -> Tensor:
        """See `Step`."""
        flat = parents[0].flatten(1)
        found = flat[:, self.windows.clamp_min(0)].where(self.windows >= 0, -torch.inf)
        return found.amax(dim=-1).reshape(-1, *self.shape)
