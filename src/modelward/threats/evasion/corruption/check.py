"""The check `evasion.corruption`: answers to corrupted inputs, and to the worst turn and shift of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.core.evidence import Evidence
from modelward.core.seeds import child_seed
from modelward.numeric.types import FloatArray
from modelward.threats.asking import each_alone, right
from modelward.threats.evasion.arena import examine, opened, trouble
from modelward.threats.evasion.attack import examined, numbers
from modelward.threats.evasion.corruption.kept import Kept
from modelward.threats.evasion.corruption.motions import moved
from modelward.threats.evasion.corruption.pictures import PICTURES, corrupt
from modelward.threats.evasion.corruption.tables import TABLES, spoil
from modelward.threats.evasion.geometry import channel_axis, planes, samples, spatial
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.threat import Threat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Preset, Settings, Subjects
    from modelward.numeric.types import BoolArray, IntArray
    from modelward.threats.evasion.arena import Points
    from modelward.threats.evasion.reach import Reach

SEVERITIES: Final = 5
DEGREES: Final = 30.0
SHIFT: Final = 0.1
"""Largest turn, and largest shift as a share of each side, about 3 pixels of 28 and of 32: Engstrom et al.
2019, "Exploring the Landscape of Spatial Robustness" (arXiv 1712.02779v4, section 3)."""
_GRID: Final[dict[Preset, tuple[int, int]]] = {"quick": (5, 3), "standard": (11, 5), "thorough": (31, 5)}
"""Turns, and shifts per axis: Engstrom et al. take 31 and 5."""
_RANDOM: Final = 10
_TOGETHER: Final = 16
_BYTES: Final = 1 << 26


@final
@dataclass(frozen=True, slots=True)
class _Motion:
    """A set of turns and shifts.

    Attributes:
        degrees: largest turn.
        shift: largest shift, a share of each side.
    """

    degrees: float
    shift: float

    def grid(self, preset: Preset, seed: int) -> FloatArray:
        """(k, 3) degrees, shares down and right: none first, a few random ones, then the grid, shuffled."""
        turns, shifts = _GRID[preset]
        random = np.random.default_rng(seed)
        limits = np.array([self.degrees, self.shift, self.shift])
        counts = [turns if self.degrees else 1, *([shifts if self.shift else 1] * 2)]
        axes = [
            np.linspace(-limit, limit, n) if n > 1 else np.zeros(1)
            for limit, n in zip(limits, counts, strict=True)
        ]
        whole = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        drawn = random.uniform(-1, 1, (_RANDOM, 3)) * limits
        return np.concatenate([drawn, random.permutation(whole)])


MOTIONS: Final = {
    "turns": _Motion(DEGREES, 0.0),
    "shifts": _Motion(0.0, SHIFT),
    "turns and shifts": _Motion(DEGREES, SHIFT),
}


@final
class CorruptionCheck:
    """Every corruption at five severities, then the worst of a grid of motions."""

    id = "evasion.corruption"
    version = 2

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def declines(self, subjects: Subjects) -> str | None:
        """Why these subjects cannot be measured, or null."""
        return trouble(subjects)

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """One evidence per corruption and per set of motions."""
        points = examine(subjects, self._settings, budget)
        data = opened(subjects)[1] if points is None else points.data
        image = not data.columns and spatial(data.x.shape[1:])
        names = [*PICTURES] if image else [*TABLES]
        if image and not _coloured(data.x.shape[1:]):
            names.remove("saturation")
        jobs = names + ([*MOTIONS] if image else [])
        for part, name in enumerate(jobs):
            share = Share(budget, part=part, of=len(jobs))
            outcome: dict[str, JSON] = {"rows": [], "correct": []}
            attachments: dict[str, str] = {}
            if points is not None:
                kept = Kept(points)
                asking = _Asking(points, reach(points.data, Threat("linf", 1.0)), share, kept)
                child = child_seed(seed, name)
                told = (
                    asking.worst(MOTIONS[name], self._settings.preset, child)
                    if name in MOTIONS
                    else asking.severities(name, child)
                )
                outcome = {**examined(points), **told, **kept.outcome()}
                if len(kept.index):
                    attachments["witnesses"] = subjects.attachments.put(kept.arrays())
            yield Evidence(
                check=self.id,
                version=self.version,
                parameters={**self._parameters(name, image=image), "box": {**data.box.describe()}},
                n=0 if points is None else len(points.correct),
                seed=seed,
                outcome=outcome,
                unit="points answered right",
                cost=budget.lap(),
                subjects=subjects.digests(),
                attachments=attachments,
                cut=share.cut if points is not None else budget.cut,
            )
            if budget.cut is not None:
                return
            share.progress(1.0)

    def _parameters(self, name: str, *, image: bool) -> dict[str, JSON]:
        common: dict[str, JSON] = {"limit": self._settings.limit, "confidence": self._settings.confidence}
        if name in MOTIONS:
            motion, grid = MOTIONS[name], _GRID[self._settings.preset]
            asked: dict[str, JSON] = {"turns": grid[0], "shifts": grid[1], "random": _RANDOM}
            limits: dict[str, JSON] = {"degrees": motion.degrees, "shift": motion.shift, "grid": asked}
            size: dict[str, JSON] = {"norm": name, "eps": 1.0, "unit": "times the largest"}
            return {**common, **size, "motion": name, **limits}
        levels = (PICTURES if image else TABLES)[name][1]
        size = {"norm": name, "eps": float(SEVERITIES), "unit": "levels of severity"}
        return {**common, **size, "corruption": name, "levels": [float(level) for level in levels]}


@final
@dataclass(frozen=True, slots=True)
class _Asking:
    points: Points
    reach: Reach
    share: Share
    kept: Kept

    def severities(self, name: str, seed: int) -> dict[str, JSON]:
        """Points answered right per severity, as far as the budget reaches; the same draws for each."""
        kept: list[JSON] = []
        for severity in range(1, SEVERITIES + 1):
            stays = self._stay(name, severity, seed)
            if stays is None:
                break
            kept.append(numbers(self.points.data.rows[stays]))
        return {"right": kept}

    def worst(self, motion: _Motion, preset: Preset, seed: int) -> dict[str, JSON]:
        """Points that some motion turns wrong, and which did; standing points only are asked again."""
        grid = motion.grid(preset, seed)
        standing = self.points.correct.copy()
        tried, found = np.zeros(len(standing), np.bool_), dict[int, FloatArray]()
        limits = np.array([motion.degrees or np.inf, *[motion.shift or np.inf] * 2])
        for start in range(0, len(grid), _TOGETHER):
            few = grid[start : start + _TOGETHER]
            for group in self._groups(np.flatnonzero(standing), len(few)):
                x = self._moved(group, few)
                answers = self._ask(x)
                if answers is None:
                    return self._motions(tried, found)
                tried[group] = True
                wrong = ~right(answers, np.repeat(self.points.target[group], len(few))).reshape(
                    len(group), -1
                )
                fell = np.flatnonzero(wrong.any(axis=1))
                first = wrong[fell].argmax(axis=1)
                at, chosen = fell * len(few) + first, few[first]
                found |= zip(group[fell].tolist(), chosen, strict=True)
                self.kept.keep(group[fell], x[at], answers[at], (np.abs(chosen) / limits).max(axis=1))
                standing[group[fell]] = False
        return self._motions(tried, found)

    def _moved(self, group: IntArray, few: FloatArray) -> NDArray[np.generic]:
        """(m * k, *shape) each point after each motion."""
        x = np.repeat(self._planes(group), len(few), axis=0)
        motions = np.tile(few, (len(group), 1))
        shift = motions[:, 1:] * np.array(x.shape[2:])
        return self._samples(moved(x, degrees=motions[:, 0], shift=shift))

    def _motions(self, tried: BoolArray, found: dict[int, FloatArray]) -> dict[str, JSON]:
        return {
            "attacked": numbers(self.points.data.rows[self.points.correct & tried]),
            "motions": [[float(value) for value in found[i]] for i in sorted(found)],
        }

    def _corrupted(self, name: str, index: IntArray, severity: int, seed: int) -> NDArray[np.generic]:
        random = np.random.default_rng([seed, int(index[0])])
        if name in PICTURES:
            return self._samples(corrupt(self._planes(index), name, severity, random))
        x = spoil(self.points.data.x[index].astype(np.float64), name, severity, self.reach, random)
        return self._typed(x)

    def _planes(self, index: IntArray) -> FloatArray:
        """(m, colours, height, width) the points in units of the box."""
        x = self.points.data.x[index].astype(np.float64)
        unit = (x - self.reach.lower) / np.maximum(self.reach.upper - self.reach.lower, 1e-300)
        return planes(unit, self.reach.shape)

    def _samples(self, x: FloatArray) -> NDArray[np.generic]:
        back = samples(x, self.reach.shape) * (self.reach.upper - self.reach.lower) + self.reach.lower
        return self._typed(back)

    def _typed(self, x: FloatArray) -> NDArray[np.generic]:
        dtype = self.points.data.x.dtype
        if np.issubdtype(dtype, np.integer):
            limits = np.iinfo(str(dtype))
            x = np.clip(np.rint(np.nan_to_num(x)), limits.min, limits.max)
        return x.astype(dtype)

    def _groups(self, index: IntArray, copies: int) -> list[IntArray]:
        """Points whose copies make one batch each."""
        size = max(1, _BYTES // max(1, 8 * copies * int(np.prod(self.reach.shape))))
        return [index[start : start + size] for start in range(0, len(index), size)]

    def _stay(self, name: str, severity: int, seed: int) -> BoolArray | None:
        """(n,) whether corrupted points are answered right; null where the budget does not cover them all."""
        stays = np.zeros(len(self.points.correct), np.bool_)
        fallen = []
        for group in self._groups(np.arange(len(stays)), 1):
            x = self._corrupted(name, group, severity, seed)
            answers = self._ask(x)
            if answers is None:
                return None
            stays[group] = right(answers, self.points.target[group])
            fell = self.points.correct[group] & ~stays[group]
            fallen.append((group[fell], x[fell], answers[fell]))
        for index, x, answers in fallen:  # of severities that all points were asked at
            self.kept.keep(index, x, answers, np.full(len(index), severity))
        return stays

    def _ask(self, x: NDArray[np.generic]) -> FloatArray | None:
        """Answers, or null when the budget refused; where the model raises on a batch, each input alone."""
        if not self.share.take(queries=len(x)):
            return None
        answers, own = each_alone(self.points.model, x, lambda: self.share.take(queries=1))
        return answers if own == len(x) else None


def _coloured(shape: tuple[int, ...]) -> bool:
    axis = channel_axis(shape)
    return axis is not None and shape[axis] > 1
