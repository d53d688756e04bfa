"""Genetic search for inputs that cost much, by what each costs alone.

Source: Shumailov, Zhao, Bates, Papernot, Mullins and Anderson 2021, "Sponge Examples" (arXiv 2006.03463v2),
section 4.2: what costs most survives; children take one part from one parent and the rest from another, and
some of it is drawn anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from modelward.core.data import Dataset

POPULATION: Final = 32
_ELITE: Final = 4
_MUTATED: Final = 0.05
_RARE: Final = "ǅΩЖ字한🜁‽\u200b"
"""Letters that tokenizers split into many pieces."""


class Breed(Protocol):
    """Makes inputs of one kind."""

    def first(self) -> NDArray[np.generic]:
        """(k, *shape) inputs without a history: extremes, ordinary ones, random ones."""
        ...

    def child(self, one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.generic]:
        """(1, *shape) from two parents of that shape."""
        ...


@final
class Numbers:
    """Arrays within the box: zeros, extremes, noise, ordinary points.

    Args:
        data: samples; types and box are kept, category codes and whole numbers stay whole.
        random: generator.
    """

    def __init__(self, data: Dataset, random: np.random.Generator) -> None:
        shape = data.x.shape[1:]
        self._x, self._random = data.x, random
        self._low = np.broadcast_to(data.box.lower, shape).astype(np.float64)
        self._high = np.broadcast_to(data.box.upper, shape).astype(np.float64)
        self._whole = np.full(shape, not np.issubdtype(data.x.dtype, np.floating))
        for i, column in enumerate(data.columns):
            self._whole[i] |= column.kind != "real"

    def first(self) -> NDArray[np.generic]:
        """The box's two ends and middle, random corners, noise, and points."""
        shape = self._low.shape
        span = self._high - self._low
        plain = [self._low, self._high, (self._low + self._high) / 2]
        corners = [self._low + span * self._random.integers(0, 2, shape) for _ in range(6)]
        noise = [self._low + span * self._random.random(shape) for _ in range(6)]
        points = [*self._x[self._random.integers(0, len(self._x), POPULATION - 15)]]
        inputs = [*plain, *corners, *noise, *points]
        return np.stack([self._typed(np.asarray(x, np.float64)) for x in inputs])

    def child(self, one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.generic]:
        """The first part of one, the rest of the other, a few features anew."""
        flat = one.astype(np.float64).reshape(-1).copy()
        cut = int(self._random.integers(0, len(flat) + 1))
        flat[cut:] = other.astype(np.float64).reshape(-1)[cut:]
        x = flat.reshape(1, *self._low.shape)
        draws = self._low + (self._high - self._low) * self._random.random(x.shape)
        return self._typed(np.where(self._random.random(x.shape) < _MUTATED, draws, x))

    def _typed(self, x: NDArray[np.float64]) -> NDArray[np.generic]:
        dtype = self._x.dtype
        return np.where(self._whole, np.rint(x), x).astype(dtype)


@final
class Texts:
    """Texts as long as the longest of the data, of letters that are cut into many tokens.

    Args:
        data: (n,) texts.
        random: generator.
    """

    def __init__(self, data: Dataset, random: np.random.Generator) -> None:
        self._random = random
        self._texts = [str(text) for text in data.x]
        self._longest = max(len(text) for text in self._texts)
        self._letters = sorted({letter for text in self._texts for letter in text} | set(_RARE))

    def first(self) -> NDArray[np.generic]:
        """Rare letters and signs repeated, random letters, words of one letter, the longest texts."""
        long = self._longest
        signs = [letter * long for letter in (*_RARE, "a", ".", "1", "\n", "(")]
        words = ["".join(self._random.choice(self._letters, long)) for _ in range(8)]
        spaced = [" ".join(self._random.choice(self._letters, long))[:long] for _ in range(4)]
        longest = sorted(self._texts, key=len)[-(POPULATION - len(signs) - 12) :]
        return _array([*signs, *words, *spaced, *longest])

    def child(self, one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.generic]:
        """The first part of one, the rest of the other, a few letters anew."""
        left, right = str(one[0]), str(other[0])
        cut = int(self._random.integers(0, self._longest + 1))
        text = (left[:cut] + right[cut:])[: self._longest]
        drawn = self._random.random(len(text)) < _MUTATED
        letters = zip(text, drawn, strict=True)
        new = "".join(str(self._random.choice(self._letters)) if new else old for old, new in letters)
        return _array([new])


def _array(texts: list[str]) -> NDArray[np.generic]:
    made = np.empty(len(texts), object)
    made[:] = texts
    return made


def evolve(
    breed: Breed,
    fitness: Callable[[NDArray[np.generic]], float | None],
    *,
    evaluations: int,
    random: np.random.Generator,
    extra: NDArray[np.generic] | None = None,
) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """The inputs that cost most, dearest first.

    Args:
        breed: makes inputs.
        fitness: cost of one input, (1, *shape); null when the budget refused, which ends the search.
        evaluations: how many inputs are tried.
        random: generator.
        extra: (k, *shape) further inputs to begin with.

    Returns:
        (m, *shape) and (m,) costs, m <= `POPULATION`; none when the budget refused at once.
    """
    start = breed.first() if extra is None else np.concatenate([extra, breed.first()])
    known: list[tuple[float, NDArray[np.generic]]] = []
    for turn in range(evaluations):
        if turn < len(start):
            x = start[turn : turn + 1]
        else:
            pair = random.integers(0, min(_ELITE, len(known)), 2)
            x = breed.child(known[int(pair[0])][1], known[int(pair[1])][1])
        cost = fitness(x)
        if cost is None:
            break
        known.append((cost, x))
        known.sort(key=lambda item: -item[0])
        del known[POPULATION:]
    inputs = np.concatenate([x for _, x in known]) if known else start[:0]
    return inputs, np.array([cost for cost, _ in known])
