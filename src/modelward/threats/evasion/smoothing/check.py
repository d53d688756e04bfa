"""The check `evasion.smoothing`: L2 certificates of the model smoothed by noise, by queries alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.core.evidence import Evidence
from modelward.core.seeds import child_seed
from modelward.errors import ModelRaised
from modelward.threats.asking import targets
from modelward.threats.evasion.arena import choose, opened, trouble
from modelward.threats.evasion.attack import numbers
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.smoothing.certify import Sampling, Smoothed, certified
from modelward.threats.evasion.threat import scope, threats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Preset, Settings, Subjects
    from modelward.core.data import Dataset
    from modelward.core.model import Model
    from modelward.numeric.types import IntArray
    from modelward.threats.evasion.reach import Reach
    from modelward.threats.evasion.threat import Threat

_ANSWERS: Final[dict[Preset, tuple[int, int]]] = {
    "quick": (16, 150),
    "standard": (32, 400),
    "thorough": (100, 10_000),
}
_ALPHA: Final = 0.001
_RATIO: Final = 1.5
"""Eps over sigma: a certificate at eps then takes a probability of Phi(1.5) = 0.933, within every preset."""
_BATCH: Final = 2048
_BATCH_BYTES: Final = 1 << 25


@final
class SmoothingCheck:
    """Randomised smoothing: what the model answers most often under noise, and within which radius."""

    id = "evasion.smoothing"
    version = 1

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def declines(self, subjects: Subjects) -> str | None:
        """Why these subjects cannot be certified, or null."""
        reason = trouble(subjects)
        if reason is not None:
            return reason
        _, data = opened(subjects)
        planned = self._threats(data)
        if not planned:
            return "smoothing gives L2 certificates, and l2 is not among the norms"
        if any(_switches(reach(data.take(np.zeros(1, np.int64)), threat)) for threat in planned):
            return "Gaussian noise does not cover changes of categories, which eps allows"
        return None

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """Sample every chosen point; one evidence per eps, with a noise of its own."""
        model, whole = opened(subjects)
        data = choose(whole, self._settings.limit)
        target = targets(model, data)
        planned = self._threats(data)
        for i, threat in enumerate(planned):
            share = Share(budget, part=i, of=len(planned))
            select, estimate = _ANSWERS[self._settings.preset]
            sampling = Sampling(sigma=threat.eps / _RATIO, select=select, estimate=estimate, alpha=_ALPHA)
            found = list(_sampled(model, reach(data, threat), sampling, share, seed))
            done = len(found)
            rows = data.rows if done else data.rows[:0]
            right = np.array([f.decision for f in found], np.int64) == target[:done]
            radius = np.array([f.radius for f in found], np.float64)
            abstained = np.array([f.decision < 0 for f in found], np.bool_)
            parameters: dict[str, JSON] = {
                **scope(threat, data.box),
                "limit": self._settings.limit,
                "preset": self._settings.preset,
                "sigma": sampling.sigma,
                "n0": sampling.select,
                "n": sampling.estimate,
                "alpha": sampling.alpha,
                "rounding": "not bounded: certificates hold for real arithmetic",
            }
            yield Evidence(
                check=self.id,
                version=self.version,
                parameters=parameters,
                n=len(rows),
                seed=seed,
                outcome={
                    "rows": numbers(rows),
                    "sampled": numbers(rows[:done]),
                    "abstained": numbers(rows[:done][abstained]),
                    "correct": numbers(rows[:done][right]),
                    "certified": numbers(rows[:done][right & (radius >= threat.eps)]),
                    "radii": [float(r) for r in radius],
                },
                unit="row number",
                cost=budget.lap(),
                subjects=subjects.digests(),
                cut=share.cut,
            )
            if budget.cut is not None:
                return

    def _threats(self, data: Dataset) -> list[Threat]:
        return [threat for threat in threats(self._settings, data.box) if threat.norm == "l2"]


def _switches(reach: Reach) -> bool:
    return bool(reach.groups) or bool((reach.free & reach.category).any())


def _sampled(model: Model, reach: Reach, sampling: Sampling, share: Share, seed: int) -> Iterator[Smoothed]:
    """Certify point after point until the budget refuses."""
    total = len(reach.points)
    for i in range(total):
        left = share.queries_left()
        if left is not None and left < sampling.queries:
            share.take(queries=sampling.queries)  # refused, which records the cut
            return
        random = np.random.default_rng(child_seed(seed, f"smoothing/{reach.threat.eps!r}/{i}"))
        decisions = _decisions(model, reach, i, sampling, (random, share))
        if decisions is None:
            return
        yield certified(decisions[: sampling.select], decisions[sampling.select :], sampling)
        share.progress((i + 1) / total)


def _decisions(
    model: Model,
    reach: Reach,
    point: int,
    sampling: Sampling,
    means: tuple[np.random.Generator, Share],
) -> IntArray | None:
    """(n0 + n,) decisions of the model under noise; -1 for no answer, null when the budget refused."""
    random, share = means
    size = max(1, min(_BATCH, _BATCH_BYTES // max(1, 8 * math.prod(reach.shape))))
    parts: list[IntArray] = []
    done = 0
    while done < sampling.queries:
        count = min(size, sampling.queries - done)
        if not share.take(queries=count):
            return None
        x = noisy(reach, point, sampling.sigma * random.standard_normal((count, *reach.shape)))
        try:
            scores = np.asarray(model.scores(x), np.float64)
        except ModelRaised:  # no answer counts against every class
            parts.append(np.full(count, -1, np.int64))
        else:
            parts.append(np.where(np.isnan(scores).any(axis=1), -1, scores.argmax(axis=1)))
        done += count
    return np.concatenate(parts)


def noisy(reach: Reach, point: int, noise: NDArray[np.float64]) -> NDArray[np.generic]:
    """One point under noise, of the type that the model gets.

    Features that may not change get no noise. Rounding to whole numbers, and to what the type holds, is part
    of the base classifier, so the certificate covers it.

    Args:
        reach: what may change, and the size of a unit.
        point: which point.
        noise: (m, *shape) in units.
    """
    x = reach.points[point].astype(np.float64) + np.where(reach.free, reach.scale * noise, 0.0)
    x = np.where(reach.whole, np.rint(x), x)
    if not np.issubdtype(reach.points.dtype, np.floating):
        limits = np.iinfo(reach.points.dtype.str)
        x = np.clip(x, limits.min, limits.max)
    noised: NDArray[np.generic] = x.astype(reach.points.dtype)
    return noised
