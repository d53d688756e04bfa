"""Invented ratings of films: tastes of a few kinds, popular and obscure films, people who rate a few."""

from __future__ import annotations

import numpy as np
import pandas as pd

KINDS = 4
_NOISE = 0.6


def generate(users: int, items: int, seed: int) -> pd.DataFrame:
    """Ratings from 1 to 5 in the columns ``user``, ``item`` and ``rating``, about 30 for each user.

    A rating is what the film is worth, what it has in common with the user's taste, and chance. Films are
    rated the more often the more popular they are (a power law), as in every shop.

    Args:
        users: how many people.
        items: how many films.
        seed: fixes everything.
    """
    rng = np.random.default_rng(seed)
    tastes, traits = rng.normal(size=(users, KINDS)), rng.normal(size=(items, KINDS))
    worth = rng.normal(3.4, 0.5, items)
    popular = 1.0 / (1.0 + rng.permutation(items)) ** 0.7
    rows = []
    for user in range(users):
        count = int(np.clip(rng.lognormal(3.3, 0.4), 8, items // 2))
        seen = rng.choice(items, count, replace=False, p=popular / popular.sum())
        liked = worth[seen] + traits[seen] @ tastes[user] / np.sqrt(KINDS) + rng.normal(0, _NOISE, count)
        rated = np.clip(np.rint(liked), 1, 5).astype(int)
        rows += [(f"u{user:04}", f"film-{item:03}", rating) for item, rating in zip(seen, rated, strict=True)]
    return pd.DataFrame(rows, columns=["user", "item", "rating"])
