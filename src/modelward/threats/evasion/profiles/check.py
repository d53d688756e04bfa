"""The check `evasion.profiles`: invented users that push or nuke items of a recommender."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.core.evidence import Evidence
from modelward.core.seeds import child_seed
from modelward.threats.evasion.profiles.inject import GOALS, STRATEGIES, Attack, invent
from modelward.threats.evasion.profiles.surrogate import Surrogate
from modelward.threats.evasion.profiles.table import as_table, hits, scale_of, trained
from modelward.threats.evasion.profiles.visible import told_apart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from modelward.core.budget import Meter
    from modelward.core.canonical import JSON
    from modelward.core.check import Preset, Settings, Subjects
    from modelward.core.data import Ratings
    from modelward.core.model import Recommender
    from modelward.threats.evasion.profiles.inject import Goal, Strategy
    from modelward.threats.evasion.profiles.table import Scale

    FloatArray = NDArray[np.float64]

_TARGETS: Final[dict[Preset, int]] = {"quick": 5, "standard": 10, "thorough": 30}
_SHARES: Final[dict[Preset, tuple[float, ...]]] = {
    "quick": (0.03,),
    "standard": (0.01, 0.05),
    "thorough": (0.01, 0.03, 0.1),
}
"""Invented users, as a share of the real ones."""
_TOP: Final = 10
_LARGEST: Final = 50_000_000


@final
@dataclass(frozen=True, slots=True)
class _World:
    """What all attacks start from.

    Attributes:
        recommender: trained anew for each attack.
        table: (users, items) the real ratings.
        scale: what a rating may be.
        surrogate: the attacker's own model.
        before: (users, items) scores without invented users.
        filler: items that an invented user rates, the real users' median.
    """

    recommender: Recommender
    table: FloatArray
    scale: Scale
    surrogate: Surrogate
    before: FloatArray
    filler: int


@final
class ProfilesCheck:
    """Trains the recommender with invented users among the real ones, and compares what it then says."""

    id = "evasion.profiles"
    version = 1

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def declines(self, subjects: Subjects) -> str | None:
        """Why these subjects cannot be measured, or null."""
        _, ratings = _given(subjects)
        name, size = ratings.subject.name, (len(ratings.user_names), len(ratings.item_names))
        if size[0] < 3 or size[1] < 3:
            return f"{name} has {size[0]} users and {size[1]} items, and at least 3 of each are needed"
        if size[0] * size[1] > _LARGEST:
            return f"{name} has {size[0]:,} users and {size[1]:,} items, a table too large for this check"
        if scale_of(ratings) is None:
            return f"all ratings of {name} are the same, so nothing says what a better one is"
        if not len(_targets(as_table(ratings), 1, 0)):
            return f"every item of {name} is rated by every user, so there is nothing to recommend"
        return None

    def run(self, subjects: Subjects, *, budget: Meter, seed: int) -> Iterator[Evidence]:
        """One evidence per goal, strategy and number of invented users."""
        recommender, ratings = _given(subjects)
        table, scale = as_table(ratings), scale_of(ratings)
        targets = _targets(table, _TARGETS[self._settings.preset], child_seed(seed, "targets"))
        if scale is None or not budget.take(queries=2 * len(table)):
            return
        everyone = np.arange(len(table), dtype=np.int64)
        before = trained(recommender, table, everyone)
        again = trained(recommender, table, everyone)
        world = _World(
            recommender=recommender,
            table=table,
            scale=scale,
            surrogate=Surrogate(table, np.random.default_rng(child_seed(seed, "surrogate"))),
            before=before,
            filler=max(1, int(np.median((~np.isnan(table)).sum(axis=1)))),
        )
        noise = float(np.abs(_shifts(world, again, targets)).max())
        shares = _SHARES[self._settings.preset]
        plan = [(goal, strategy, share) for share in shares for goal in GOALS for strategy in STRATEGIES]
        for part, (goal, strategy, share) in enumerate(plan):
            parameters: dict[str, JSON] = {
                "goal": goal,
                "strategy": strategy,
                "share": share,
                "invented": max(1, round(share * len(table))),
                "filler": world.filler,
                "top": _TOP,
                "confidence": self._settings.confidence,
                "scale": [scale.lower, scale.upper],
            }
            outcome = self._measure(world, targets, parameters, budget=budget, seed=seed)
            budget.progress(part + 1, len(plan))
            done = len(outcome["shift"]) if isinstance(outcome["shift"], list) else 0
            names: list[JSON] = [ratings.item_names[target] for target in targets[:done]]
            yield Evidence(
                check=self.id,
                version=self.version,
                parameters=parameters,
                n=done,
                seed=seed,
                outcome={"targets": names, "noise": noise, **outcome},
                unit="ratings",
                cost=budget.lap(),
                subjects=subjects.digests(),
                cut=budget.cut,
            )
            if budget.cut is not None:
                return

    def _measure(
        self,
        world: _World,
        targets: NDArray[np.int64],
        parameters: dict[str, JSON],
        *,
        budget: Meter,
        seed: int,
    ) -> dict[str, JSON]:
        """Per target: prediction shift, hit ratio before and after, and how visible the profiles are."""
        goal, strategy = _chosen(parameters)
        everyone = np.arange(len(world.table), dtype=np.int64)
        found: dict[str, list[JSON]] = {name: [] for name in ("shift", "before", "after", "rdma", "degsim")}
        for target in targets.tolist():
            if not budget.take(queries=len(world.table)):
                break
            label = f"{goal}/{strategy}/{parameters['share']}/{target}"
            attack = Attack(goal, target, int(str(parameters["invented"])), world.filler)
            invented = invent(
                strategy,
                world.table,
                attack,
                scale=world.scale,
                surrogate=world.surrogate,
                random=np.random.default_rng(child_seed(seed, label)),
            )
            after = trained(world.recommender, np.concatenate([world.table, invented]), everyone)
            open_to = np.isnan(world.table[:, target])
            rows = world.table[open_to]
            found["shift"].append(float(_shifts(world, after, np.array([target]))[0]))
            for name, scores in (("before", world.before), ("after", after)):
                found[name].append(float(hits(scores[open_to], rows, target, _TOP).mean()))
            for name, area in told_apart(world.table, invented).items():
                found[name].append(area)
        return dict(found)


def _given(subjects: Subjects) -> tuple[Recommender, Ratings]:
    if subjects.recommender is None:
        raise TypeError("the engine plans this check for recommenders alone")
    return subjects.recommender[1], subjects.recommender[2]


def _chosen(parameters: dict[str, JSON]) -> tuple[Goal, Strategy]:
    goal = next(goal for goal in GOALS if goal == parameters["goal"])
    return goal, next(strategy for strategy in STRATEGIES if strategy == parameters["strategy"])


def _targets(table: FloatArray, count: int, seed: int) -> NDArray[np.int64]:
    """Items, drawn uniformly among those that somebody has not rated."""
    free = np.flatnonzero(np.isnan(table).any(axis=0))
    random = np.random.default_rng(seed)
    return random.choice(free, min(count, len(free)), replace=False) if len(free) else free


def _shifts(world: _World, after: FloatArray, targets: NDArray[np.int64]) -> FloatArray:
    """(targets,) mean change of each target's score over the real users that have not rated it.

    Source: Mobasher et al. 2007, section 4.2 (prediction shift).
    """
    changes = np.where(np.isnan(world.table), after - world.before, np.nan)[:, targets]
    shifts: FloatArray = np.nanmean(changes, axis=0)
    return shifts
