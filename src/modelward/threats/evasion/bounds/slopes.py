"""Optimised relaxations: the lower slopes of unstable ReLUs, and multipliers of splits, by gradient ascent.

Xu et al. 2021 (alpha-CROWN, arXiv 2011.13824v2, section 3.1); Wang et al. 2021 (beta-CROWN, arXiv
2103.06624v2, section 3.2). Whatever the ascent finds, the bound is computed anew with rounding: a slope in
[0, 1] and a multiplier that is not negative are sound however they were found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from modelward.threats.evasion.bounds.backward import least, order
from modelward.threats.evasion.bounds.steps import Rectified

if TYPE_CHECKING:
    from modelward.threats.evasion.bounds.enclosure import Enclosure
    from modelward.threats.evasion.bounds.rows import Rows

_STEP: Final = 0.25
_DECAY: Final = 0.93
_BETAS: Final = (0.7, 0.95)
_MULTIPLIER_STEP: Final = 0.1


def rectifiers(value: Enclosure) -> list[Rectified]:
    """All ReLUs behind a value, the last first."""
    return [] if value.step is None else [s for s in order(value.step) if isinstance(s, Rectified)]


def ascend(value: Enclosure, a: Tensor, rows: Rows, steps: int) -> None:
    """Improve the slopes and multipliers of rows in place.

    Args:
        value: what is bounded.
        a: (r, *shape) coefficients.
        rows: their `alpha` and `beta` are started where absent, and improved.
        steps: of Adam (Kingma and Ba 2015, arXiv 1412.6980v9, algorithm 1), two samples each and row, and one
            sample more where the rows have windows.
    """
    with torch.no_grad():
        if rows.window is not None:
            # Where the window stands at each step is known on the way back only, and so are the lines there.
            least(value, a, rows, sound=False)
        for step in rectifiers(value):
            rows.alpha.setdefault(step, rows.lines(step).below.clone())
            if step in rows.sign:
                rows.beta.setdefault(step, torch.zeros_like(rows.alpha[step]))
    slopes, multipliers = list(rows.alpha.values()), list(rows.beta.values())
    free = [*slopes, *multipliers]
    if not free:
        return
    for tensor in free:
        tensor.requires_grad_()
    groups = [{"params": slopes, "lr": _STEP}, {"params": multipliers, "lr": _MULTIPLIER_STEP}]
    ascent = torch.optim.Adam([group for group in groups if group["params"]], betas=_BETAS, maximize=True)
    with torch.enable_grad():
        for _ in range(steps):
            ascent.zero_grad(set_to_none=True)
            bound = least(value, a, rows, sound=False)
            total = bound.nan_to_num(0.0, 0.0, 0.0).sum()
            for tensor, slope in zip(free, torch.autograd.grad(total, free, allow_unused=True), strict=True):
                tensor.grad = slope
            ascent.step()
            with torch.no_grad():
                for tensor in slopes:
                    tensor.clamp_(0, 1).nan_to_num_(0.0)
                for tensor in multipliers:
                    tensor.clamp_(min=0).nan_to_num_(0.0)
            for group in ascent.param_groups:
                group["lr"] *= _DECAY
    for tensor in free:
        tensor.detach_()
        tensor.grad = None
