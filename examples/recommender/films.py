"""A recommender of films: matrix factorisation with biases, trained by alternating least squares in numpy.

`build` is what the audit is given (--factory films:build): it trains anew on every set of ratings, because
the question is what invented users among them change.
"""

from __future__ import annotations

import numpy as np

RANK = 6
RIDGE = 4.0
SWEEPS = 8


class Films:
    """Score of a user for a film: overall mean, bias of user and film, and what they have in common."""

    def fit(self, users: np.ndarray, items: np.ndarray, ratings: np.ndarray) -> None:
        """Learn from scratch."""
        shape = (int(users.max()) + 1, int(items.max()) + 1)
        self.mean = float(ratings.mean())
        self.item_bias = shrunken(items, ratings - self.mean, shape[1])
        self.user_bias = shrunken(users, ratings - self.mean - self.item_bias[items], shape[0])
        rest = ratings - self.mean - self.user_bias[users] - self.item_bias[items]
        table, rated = np.zeros(shape), np.zeros(shape)
        table[users, items], rated[users, items] = rest, 1.0
        self.films = np.random.default_rng(0).normal(0, 0.1, (shape[1], RANK))
        for _ in range(SWEEPS):
            self.people = ridge(table, rated, self.films)
            self.films = ridge(table.T, rated.T, self.people)

    def predict(self, users: np.ndarray) -> np.ndarray:
        """(m, items) expected ratings."""
        return self.mean + self.user_bias[users, None] + self.item_bias + self.people[users] @ self.films.T


def shrunken(codes: np.ndarray, rest: np.ndarray, count: int) -> np.ndarray:
    """Mean of each code's values, drawn to 0 where there are few."""
    return np.bincount(codes, rest, count) / (np.bincount(codes, minlength=count) + RIDGE)


def ridge(table: np.ndarray, rated: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Ridge regression of every row on the factors of what it rated."""
    products = np.einsum("ij,ik->ijk", factors, factors).reshape(len(factors), -1)
    normal = (rated @ products).reshape(-1, RANK, RANK) + RIDGE * np.eye(RANK)
    return np.linalg.solve(normal, (table @ factors)[..., None])[..., 0]


def build() -> Films:
    """The recommender, untrained."""
    return Films()
