"""Windows: the parts of images that single neurons depend on, and convolutions passed back within them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

_TABLE: Final = 1 << 22
"""Numbers in the table of all windows of a tensor, at most; beyond it windows are cut out one by one."""
_SPARSE: Final = 8
"""How many times more products a dense matrix may take than the taps do, since it is that much faster."""
_FEW: Final = 4
"""Channels up to which a product with the taps, folded, is faster than a transposed convolution."""


@final
@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution over two spatial axes, in pixels along each.

    Attributes:
        stride: between outputs.
        padding: on each side.
        dilation: between taps.
        reach: from the first tap to the last.
        groups: of channels.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    reach: tuple[int, ...]
    groups: int

    def spread(self, values: Tensor, weight: Tensor, shape: tuple[int, int]) -> Tensor:
        """The transpose of the convolution, to images of a height and width.

        Args:
            values: (r, outputs, height, width).
            weight: (outputs, inputs / groups, height, width) taps.
            shape: height and width of the result.
        """
        if self.groups == 1 and weight.shape[1] <= _FEW:
            return self._folded(values, weight, shape, self.padding)
        back: tuple[int, ...] = tuple(
            size - ((out - 1) * step - 2 * side + span + 1)
            for size, out, step, side, span in zip(
                shape, values.shape[2:], self.stride, self.padding, self.reach, strict=True
            )
        )
        if values.dtype == torch.float32:
            values, weight = (part.contiguous(memory_format=torch.channels_last) for part in (values, weight))
        found = functional.conv_transpose2d(
            values, weight, None, self.stride, self.padding, back, self.groups, self.dilation
        )
        return found.contiguous()

    def grown(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width that a window of the result depends on."""
        height, width = (
            (length - 1) * step + span + 1
            for length, step, span in zip(size, self.stride, self.reach, strict=True)
        )
        return height, width

    def widen(self, values: Tensor, weight: Tensor) -> Tensor:
        """The transpose of the convolution on windows, padding included: what they depend on.

        A matrix for whole windows holds each tap where it acts and exact zeros elsewhere, so that a product
        with it rounds no more than the taps do.
        """
        shape, taps = self.grown((values.shape[2], values.shape[3])), math.prod(weight.shape[2:])
        entries = math.prod(values.shape[1:])
        if len(values) >= entries and math.prod(shape) <= _SPARSE * taps:
            unit = torch.eye(entries, dtype=weight.dtype).reshape(-1, *values.shape[1:])
            matrix = functional.conv_transpose2d(
                unit, weight, None, self.stride, 0, 0, self.groups, self.dilation
            )
            return (values.flatten(1) @ matrix.flatten(1)).reshape(len(values), -1, *shape)
        if self.groups == 1:
            return self._folded(values, weight, shape, (0, 0))
        return functional.conv_transpose2d(
            values, weight, None, self.stride, 0, 0, self.groups, self.dilation
        )

    def _folded(
        self, values: Tensor, weight: Tensor, shape: tuple[int, int], padding: tuple[int, ...]
    ) -> Tensor:
        parts = weight.flatten(1).T @ values.flatten(2)
        kernel = (weight.shape[2], weight.shape[3])
        return functional.fold(parts, shape, kernel, self.dilation, padding, self.stride)


@final
@dataclass(eq=False, slots=True)
class Window:
    """Where in the plane the coefficients of each row are, when the rest of them is 0.

    A neuron behind convolutions depends on a small part of the image, so its coefficients fit in a window
    that grows with each layer that is passed. The windows of all neurons of one value are of one size, and
    their corners form a grid.

    Attributes:
        place: (r,) int64 position of the neurons that are bounded in their plane, row by row.
        grid: height and width of that plane.
        stride: between the corners of neighbours' windows now.
        offset: of the first corner, possibly outside the image.
        size: height and width of the windows now.
    """

    place: Tensor
    grid: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    offset: tuple[int, int] = (0, 0)
    size: tuple[int, int] = (1, 1)

    def reset(self) -> None:
        """Back to the neurons themselves."""
        self.stride, self.offset, self.size = (1, 1), (0, 0), (1, 1)

    def grow(self, geometry: Geometry) -> None:
        """Pass a convolution backward."""
        steps, sides = geometry.stride, geometry.padding
        self.offset = (self.offset[0] * steps[0] - sides[0], self.offset[1] * steps[1] - sides[1])
        self.stride = (self.stride[0] * steps[0], self.stride[1] * steps[1])
        self.size = geometry.grown(self.size)

    @property
    def key(self) -> tuple[tuple[int, int], ...]:
        """What decides the windows of a plane."""
        return self.grid, self.stride, self.offset, self.size

    def gather(self, tensor: Tensor, point: Tensor, keep: Callable[[Callable[[], Tensor]], Tensor]) -> Tensor:
        """(r, channels, height, width) the windows of an (n, channels, ...) tensor; 0 outside it.

        Args:
            tensor: one image per point.
            point: (r,) int64.
            keep: what a table of all windows is computed through, once for many rows.
        """
        count = self.grid[0] * self.grid[1]
        if len(tensor) * count * tensor.shape[1] * math.prod(self.size) > _TABLE:
            row, column = self.place // self.grid[1], self.place % self.grid[1]
            return self._all(tensor)[point, row, column]
        table = keep(lambda: self._all(tensor).flatten(3).flatten(0, 2))
        found = table.index_select(0, point * count + self.place)
        return found.reshape(-1, tensor.shape[1], *self.size)

    def _all(self, tensor: Tensor) -> Tensor:
        """(n, *grid, channels, *size) all windows, a view."""
        ends = []
        for axis in (1, 0):
            last = (self.grid[axis] - 1) * self.stride[axis] + self.offset[axis] + self.size[axis]
            ends += [-self.offset[axis], last - tensor.shape[axis + 2]]
        padded = functional.pad(tensor, ends)
        across = padded.unfold(2, self.size[0], self.stride[0]).unfold(3, self.size[1], self.stride[1])
        return across.permute(0, 2, 3, 1, 4, 5)
