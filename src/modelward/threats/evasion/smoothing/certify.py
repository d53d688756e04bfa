"""Prediction and certificate of a smoothed classifier from counted answers.

Cohen, Rosenfeld and Kolter 2019, "Certified adversarial robustness via randomized smoothing" (arXiv
1902.02918v2). The smoothed classifier g answers what the base classifier f answers most often under Gaussian
noise. If f answers c with probability at least p > 1/2 there, g answers c within the L2 radius
sigma * Phi^-1(p) (theorem 1 with the bound 1 - p for the runner-up, section 3.2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from scipy import special

from modelward.numeric.proportion import clopper_pearson

if TYPE_CHECKING:
    from modelward.numeric.types import IntArray


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How often a point is asked, and how sure a certificate must be.

    Attributes:
        sigma: standard deviation of the noise, in the box's unit.
        select: answers from which the class is chosen (n0).
        estimate: further answers from which its probability is bounded (n).
        alpha: largest probability that a certificate is wrong.
    """

    sigma: float
    select: int
    estimate: int
    alpha: float

    @property
    def queries(self) -> int:
        """Answers per point."""
        return self.select + self.estimate


@final
@dataclass(frozen=True, slots=True)
class Smoothed:
    """What is known of the smoothed classifier at a point.

    Attributes:
        decision: score column, -1 when it abstains.
        radius: L2 radius within which the decision stays, 0 when it abstains.
    """

    decision: int
    radius: float


def certified(chosen: IntArray, counted: IntArray, sampling: Sampling) -> Smoothed:
    """Certify one point (Cohen et al. 2019, section 3.2.2, CERTIFY).

    Args:
        chosen: (select,) decisions under noise, -1 where there was no answer.
        counted: (estimate,) further decisions, drawn independently of the former.
        sampling: see `Sampling`.
    """
    answers = chosen[chosen >= 0]
    if not len(answers):
        return Smoothed(-1, 0.0)
    top = int(np.bincount(answers).argmax())
    lower, _ = clopper_pearson(int((counted == top).sum()), len(counted), 1 - sampling.alpha, side="lower")
    if lower <= 0.5:
        return Smoothed(-1, 0.0)
    # A quantile that is one part in 10^9 too large would be a certificate too far.
    return Smoothed(top, sampling.sigma * float(special.ndtri(lower)) * (1 - 1e-9))
