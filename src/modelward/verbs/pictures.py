"""An image and its changed version as three small pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from modelward.reporting.exhibit import Picture
from modelward.reporting.png import png
from modelward.threats.evasion.geometry import planes

if TYPE_CHECKING:
    from numpy.typing import NDArray

EDGE: Final = 64
"""Pixels of the longer side of a picture, at most."""
_RGB: Final = 3


def picture(original: NDArray[np.generic], x: NDArray[np.generic], box: tuple[float, float]) -> Picture:
    """Draw both, and their difference made strong enough to see.

    Args:
        original: (*shape) one image, see `modelward.threats.evasion.geometry`.
        x: likewise, the changed one.
        box: values of black and white.
    """
    low, high = box
    width = high - low if high > low else 1.0
    both = [planes(np.nan_to_num(a[None].astype(np.float64)), a.shape)[0] for a in (original, x)]
    plain, wrong, block = _reduced(*both)
    if len(plain) != _RGB:  # grey, or bands that have no colour
        plain, wrong = (a.mean(axis=0, keepdims=True) for a in (plain, wrong))
    change = (wrong - plain) / width
    strongest = float(np.abs(change).max())
    gain = max(1.0, 0.5 / strongest) if strongest > 0 else 1.0
    colours, rows, columns = plain.shape
    drawn = ((plain - low) / width, 0.5 + gain * change, (wrong - low) / width)
    files = [png(_bytes(a), columns, rows, colours) for a in drawn]
    return Picture(
        width=columns,
        height=rows,
        original=files[0],
        change=files[1],
        changed=files[2],
        gain=gain,
        block=block,
    )


def _bytes(shares: NDArray[np.float64]) -> bytes:
    """(colours, height, width) shares of white as one byte each, the colours of a pixel together."""
    return np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8).transpose(1, 2, 0).tobytes()


def _reduced(
    plain: NDArray[np.float64], wrong: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Both with one pixel for each square block, the one that changed most, so that no change is lost."""
    colours, height, width = plain.shape
    block = math.ceil(max(height, width) / EDGE)
    if block == 1:
        return plain, wrong, 1
    down, across = -(-height // block), -(-width // block)
    missing = ((0, 0), (0, down * block - height), (0, across * block - width))
    cut = []
    for a in (plain, wrong):
        parts = np.pad(a, missing, mode="edge").reshape(colours, down, block, across, block)
        cut.append(parts.transpose(0, 1, 3, 2, 4).reshape(colours, down, across, block * block))
    chosen = np.abs(cut[1] - cut[0]).sum(axis=0).argmax(axis=-1)[None, :, :, None]
    first, second = (np.take_along_axis(a, chosen, axis=3)[..., 0] for a in cut)
    return first, second, block
