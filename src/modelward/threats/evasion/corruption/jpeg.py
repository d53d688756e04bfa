"""What JPEG compression loses, without its file format: quantised cosines of blocks of 8 by 8.

Source: ITU-T T.81 (1992): annex A.3.3 (transform), A.3.4 (quantisation), annex K table K.1 (luminance); the
table is scaled by quality as libjpeg does (jcparam.c, jpeg_quality_scaling). Every colour is treated as
luminance, so that nothing is subsampled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from modelward.numeric.types import FloatArray

_SIZE: Final = 8
_TABLE: Final = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


def compressed(x: FloatArray, quality: float) -> FloatArray:
    """Images after compression.

    Args:
        x: (n, colours, height, width) in [0, 1].
        quality: 1 (worst) to 100.
    """
    height, width = x.shape[2:]
    extra = ((0, 0), (0, 0), (0, -height % _SIZE), (0, -width % _SIZE))
    whole = np.pad(np.rint(x * 255), extra, mode="edge") - 128
    blocks = whole.reshape(*x.shape[:2], whole.shape[2] // _SIZE, _SIZE, whole.shape[3] // _SIZE, _SIZE)
    cosines, table = _cosines(), quantisation(quality)[:, None]
    waves = np.einsum("ui,nchiwj,vj->nchuwv", cosines, blocks, cosines)
    kept = np.rint(waves / table) * table
    back = np.einsum("ui,nchuwv,vj->nchiwj", cosines, kept, cosines).reshape(whole.shape)
    return np.asarray(np.clip(np.rint(back + 128), 0, 255)[:, :, :height, :width] / 255)


def quantisation(quality: float) -> FloatArray:
    """(8, 8) steps of the cosines."""
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    return np.clip(np.floor((_TABLE * scale + 50) / 100), 1, 255)


def _cosines() -> FloatArray:
    """(8, 8) the orthonormal transform: rows are frequencies."""
    frequency, place = np.arange(_SIZE)[:, None], np.arange(_SIZE)[None]
    waves = np.cos((2 * place + 1) * frequency * np.pi / (2 * _SIZE)) * np.sqrt(2 / _SIZE)
    waves[0] /= np.sqrt(2)
    return np.asarray(waves)
