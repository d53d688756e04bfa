"""Matrix factorisation as the attacker's own model of the recommender, and gradients through it.

Source: Li, Wang, Singh and Vorobeychik, Data poisoning attacks on factorization-based collaborative
filtering, NIPS 2016, arXiv:1608.08182v2, section 4.1: the factors are taken at their stationary conditions,
so that the derivative of a factor by a rating is the inverse of its own normal matrix times the other side's
factor. Here they are solved for what depends on the invented users first: their factors, and the target's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelward.threats.evasion.profiles.inject import Attack
    from modelward.threats.evasion.profiles.table import Scale

    FloatArray = NDArray[np.float64]

_RANK: Final = 8
_SWEEPS: Final = 10
_RIDGE: Final = 1.0
_STEPS: Final = 20
_START: Final = 0.25
"""First step of the ascent, as a share of the scale; it falls to zero along a cosine."""


@final
class Surrogate:
    """Factors of the real ratings, by alternating least squares.

    Args:
        table: (users, items) ratings, NaN where not rated.
        random: source of the first factors.

    Attributes:
        mean: subtracted from all ratings.
        users: (users, rank) factors.
        items: (items, rank) factors.
    """

    def __init__(self, table: FloatArray, random: np.random.Generator) -> None:
        self._rated = ~np.isnan(table)
        self.mean = float(table[self._rated].mean())
        self._centred = np.where(self._rated, table - self.mean, 0.0)
        self.users = np.zeros((table.shape[0], _RANK))
        self.items = random.normal(0, 0.1, (table.shape[1], _RANK))
        for _ in range(_SWEEPS):
            self.users = _solved(self._centred, self._rated, self.items)
            self.items = _solved(self._centred.T, self._rated.T, self.users)

    def profiles(self, attack: Attack, scale: Scale, random: np.random.Generator) -> FloatArray:
        """Profiles that move the target most, by projected gradient ascent on their ratings.

        Returns:
            (count, items) ratings within the scale, NaN where not rated; those of the target are extreme.
        """
        sign = 1.0 if attack.goal == "push" else -1.0
        centred = np.zeros((attack.count, self.items.shape[0]))
        centred[:, attack.target] = (scale.upper if sign > 0 else scale.lower) - self.mean
        rated = self._fillers(attack, centred, random)
        best, most = centred, -np.inf
        for step in range(_STEPS):
            gain, slope = self.gain(centred, rated, attack.target)
            if sign * gain > most:
                best, most = centred, sign * gain
            size = _START * (scale.upper - scale.lower) * 0.5 * (1 + np.cos(np.pi * step / _STEPS))
            moved = centred + sign * size * np.sign(slope)
            moved = np.clip(moved, scale.lower - self.mean, scale.upper - self.mean)
            moved[:, attack.target] = centred[:, attack.target]
            centred = np.where(rated, moved, 0.0)
        return np.where(rated, best + self.mean, np.nan)

    def gain(self, centred: FloatArray, rated: NDArray[np.bool_], target: int) -> tuple[float, FloatArray]:
        """What the invented users add up to, and its derivative by each of their ratings.

        Args:
            centred: (m, items) ratings less `mean`.
            rated: (m, items) which of them are given.
            target: the item.

        Returns:
            The sum of scores of the target over the real users that have not rated it, and its derivative.
        """
        rank = self.items.shape[1]
        wanting = self.users[~self._rated[:, target]].sum(axis=0)
        inverses = np.linalg.inv(_normal(rated, self.items))
        invented = np.einsum("mij,mj->mi", inverses, np.where(rated, centred, 0.0) @ self.items)
        voters = self._rated[:, target]
        matrix = _RIDGE * np.eye(rank) + self.users[voters].T @ self.users[voters]
        matrix += invented.T @ invented
        votes = self.users[voters].T @ self._centred[voters, target] + invented.T @ centred[:, target]
        factor = np.linalg.solve(matrix, votes)
        pull = np.linalg.solve(matrix, wanting)
        # d factor = matrix^-1 (d votes - d matrix factor); what changes both is each user's factor.
        left = centred[:, target] - invented @ factor
        by_users = np.outer(left, pull) - np.outer(invented @ pull, factor)
        slope = np.einsum("mij,mj->mi", inverses, by_users) @ self.items.T
        slope[:, target] += invented @ pull
        return float(wanting @ factor), np.where(rated, slope, 0.0)

    def _fillers(self, attack: Attack, centred: FloatArray, random: np.random.Generator) -> NDArray[np.bool_]:
        """The rated items: each profile draws them by how far each can move the target at the start."""
        everywhere = np.ones_like(centred, dtype=bool)
        _, slope = self.gain(centred, everywhere, attack.target)
        weights = np.abs(slope[0]) + 1e-12
        weights[attack.target] = 0.0
        rated = np.zeros_like(centred, dtype=bool)
        number = min(attack.filler, centred.shape[1] - 1)
        for row in rated:
            row[random.choice(len(weights), number, replace=False, p=weights / weights.sum())] = True
        rated[:, attack.target] = True
        return rated


def _normal(rated: NDArray[np.bool_], factors: FloatArray) -> FloatArray:
    """(rows, rank, rank) sums of the outer products of what each row rated, and the ridge."""
    rank = factors.shape[1]
    products = np.einsum("ij,ik->ijk", factors, factors).reshape(len(factors), -1)
    sums: FloatArray = (rated.astype(np.float64) @ products).reshape(-1, rank, rank)
    return sums + _RIDGE * np.eye(rank)


def _solved(centred: FloatArray, rated: NDArray[np.bool_], factors: FloatArray) -> FloatArray:
    """Ridge regression of every row on the factors of what it rated."""
    solved = np.linalg.solve(_normal(rated, factors), (centred @ factors)[..., None])
    return np.asarray(solved[..., 0], dtype=np.float64)
