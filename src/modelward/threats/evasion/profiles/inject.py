"""Invented profiles: what an attacker lets each of its users rate, and how.

Source: Lam and Riedl, Shilling recommender systems for fun and profit, WWW 2004, section 3 (random, average);
Mobasher, Burke, Bhaumik and Williams, Toward trustworthy recommender systems, ACM TOIT 7(4), 2007, section 3
(bandwagon, reverse bandwagon); Li, Wang, Singh and Vorobeychik, Data poisoning attacks on factorization-based
collaborative filtering, NIPS 2016, arXiv:1608.08182v2, section 4 (projected gradient ascent).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

import numpy as np

from modelward.threats.evasion.profiles.table import item_deviations, item_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelward.threats.evasion.profiles.surrogate import Surrogate
    from modelward.threats.evasion.profiles.table import Scale

    FloatArray = NDArray[np.float64]

Goal: TypeAlias = Literal["push", "nuke"]
Strategy: TypeAlias = Literal["random", "average", "bandwagon", "optimised"]
GOALS: Final[tuple[Goal, ...]] = ("push", "nuke")
STRATEGIES: Final[tuple[Strategy, ...]] = ("random", "average", "bandwagon", "optimised")
_SELECTED: Final = 0.1
"""Share of a bandwagon profile's filler that are the items everybody knows."""


@final
@dataclass(frozen=True, slots=True)
class Attack:
    """What an attacker wants and can afford.

    Attributes:
        goal: let the target be liked more (push) or less (nuke).
        target: the item.
        count: invented users.
        filler: items each rates besides the target.
    """

    goal: Goal
    target: int
    count: int
    filler: int


def invent(
    strategy: Strategy,
    table: FloatArray,
    attack: Attack,
    *,
    scale: Scale,
    surrogate: Surrogate,
    random: np.random.Generator,
) -> FloatArray:
    """Profiles of invented users.

    Args:
        strategy: how fillers and their ratings are chosen.
        table: (users, items) the real ratings; random needs their mean alone, average each item's.
        attack: what is wanted.
        scale: what a rating may be.
        surrogate: of the real ratings, for the optimised ones.
        random: source of randomness.

    Returns:
        (count, items) ratings on the scale, NaN where not rated; the target has the best or worst one.
    """
    extreme = scale.upper if attack.goal == "push" else scale.lower
    if strategy == "optimised":
        profiles = surrogate.profiles(attack, scale, random)
    else:
        profiles = _drawn(strategy, table, attack, scale, random)
    profiles = scale.snapped(profiles)
    profiles[:, attack.target] = extreme
    return profiles


def _drawn(
    strategy: Strategy, table: FloatArray, attack: Attack, scale: Scale, random: np.random.Generator
) -> FloatArray:
    items = table.shape[1]
    means = item_means(table)
    rated = table[~np.isnan(table)]
    centres, spreads = np.full(items, rated.mean()), np.full(items, rated.std())
    if strategy == "average":
        centres, spreads = means, item_deviations(table, means)
    selected = known_items(table, attack) if strategy == "bandwagon" else np.empty(0, np.int64)
    profiles = np.full((attack.count, items), np.nan)
    others = np.setdiff1d(np.arange(items), [attack.target, *selected])
    number = min(max(0, attack.filler - len(selected)), len(others))
    for profile in profiles:
        chosen = random.choice(others, number, replace=False)
        profile[chosen] = random.normal(centres[chosen], spreads[chosen])
        profile[selected] = scale.upper if attack.goal == "push" else scale.lower
    return profiles


def known_items(table: FloatArray, attack: Attack) -> NDArray[np.int64]:
    """The items that a bandwagon jumps on: the most rated ones, or for a nuke the least liked of these."""
    count = min(max(1, round(_SELECTED * attack.filler)), table.shape[1] - 1)
    popularity = (~np.isnan(table)).sum(axis=0).astype(np.float64)
    popularity[attack.target] = -1
    order = np.argsort(-popularity, kind="stable")
    if attack.goal == "push":
        return order[:count]
    known = order[: max(count, (len(order) - 1) // 2)]
    return known[np.argsort(item_means(table)[known], kind="stable")[:count]]
