"""What the genetic search makes: inputs within their box or length, of the data's type."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.threats.evasion.cost.check import _cut
from modelward.threats.evasion.cost.search import _RARE, POPULATION, Numbers, Texts, evolve


def texts_of(room, texts):
    array = np.empty(len(texts), object)
    array[:] = texts
    return room.data(array, [0] * len(texts))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int32])
@pytest.mark.parametrize("shape", [(3,), (1, 4, 4), (2, 3, 3)])
def test_numbers_stay_in_the_box_with_their_type_and_shape(room, dtype, shape):
    data = room.data(np.full((5, *shape), 3, dtype), [0] * 5, bounds=room.box(1.0, 9.0))
    breed = Numbers(data, np.random.default_rng(0))
    first = breed.first()
    assert (first.dtype, first.shape) == (np.dtype(dtype), (POPULATION, *shape))
    np.testing.assert_array_equal(first[0], np.full(shape, 1))
    np.testing.assert_array_equal(first[1], np.full(shape, 9))
    np.testing.assert_array_equal(first[2], np.full(shape, 5))
    assert np.isin(first[3:9], [1, 9]).all()
    assert (first[15:] == 3).all()
    for i in range(20):
        child = breed.child(first[i : i + 1], first[i + 1 : i + 2])
        assert (child.dtype, child.shape) == (np.dtype(dtype), (1, *shape))
        assert ((child >= 1) & (child <= 9)).all()


def test_a_child_is_the_start_of_one_and_the_end_of_the_other(room):
    data = room.data(np.zeros((2, 400)), [0, 0])
    breed = Numbers(data, np.random.default_rng(1))
    one, other = np.full((1, 400), 0.25), np.full((1, 400), 0.75)
    cuts = []
    for _ in range(30):
        child = breed.child(one, other)[0]
        kept = np.isin(child, [0.25, 0.75])
        assert 0.85 < kept.mean() < 1
        assert (np.diff(child[kept]) >= 0).all()
        cuts.append((child[kept] == 0.25).mean())
    assert min(cuts) < 0.2
    assert max(cuts) > 0.8


def test_whole_columns_of_what_gradients_found_are_whole(room):
    points = room.table([[0.5, 1, 0], [0.1, 9, 2]], [0, 0], ["real", "integer", "category"])
    dense = np.array([[0.33, 4.6, 1.2]])
    np.testing.assert_allclose(_cut(dense, points), [[0.33, 5, 1]])
    assert _cut(None, points) is None
    image = room.data(np.zeros((1, 3)), [0])
    assert _cut(dense, image) is dense


@given(st.lists(st.text(max_size=12), min_size=1, max_size=12), st.integers(0, 99))
@settings(max_examples=40)
def test_texts_are_never_longer_than_the_longest(texts, seed):
    from types import SimpleNamespace

    array = np.empty(len(texts), object)
    array[:] = texts
    random = np.random.default_rng(seed)
    breed, longest = Texts(SimpleNamespace(x=array), random), max(map(len, texts))
    first = breed.first()
    assert all(isinstance(text, str) and len(text) <= longest for text in first)
    assert set(texts) & set(first) or len(texts) > 7
    for i in range(len(first) - 1):
        child = breed.child(first[i : i + 1], first[i + 1 : i + 2])
        assert child.shape == (1,)
        assert isinstance(child[0], str)
        assert len(child[0]) <= longest


def test_rare_letters_fill_whole_texts(room):
    first = set(Texts(texts_of(room, ["abcdef", "x"]), np.random.default_rng(0)).first())
    assert {letter * 6 for letter in _RARE} <= first
    assert "abcdef" in first


def test_a_child_of_texts_takes_from_both(room):
    breed = Texts(texts_of(room, ["a" * 300]), np.random.default_rng(0))
    one, other = (texts_of(room, [letter * 300]).x for letter in "ab")
    children = [breed.child(one, other)[0] for _ in range(12)]
    for child in children:
        plain = [c for c in child if c in "ab"]
        assert len(plain) > 0.9 * len(child)
        changes = sum(left != right for left, right in pairwise(plain))
        assert changes <= 12  # one cut, and here and there a letter drawn anew
    assert any("a" * 20 in child and "b" * 20 in child for child in children)


class Counting:
    """A breed of single numbers, to see who is bred from whom."""

    def __init__(self):
        self.parents = []

    def first(self):
        return np.arange(6.0)[:, None]

    def child(self, one, other):
        self.parents.append((float(one[0, 0]), float(other[0, 0])))
        return one + 0.5


def test_parents_are_the_four_dearest_and_extras_come_first():
    breed, asked = Counting(), []

    def fitness(x):
        asked.append(float(x[0, 0]))
        return float(x[0, 0])

    inputs, costs = evolve(
        breed, fitness, evaluations=12, random=np.random.default_rng(0), extra=np.array([[-3.0], [99.0]])
    )
    assert asked[:8] == [-3.0, 99.0, 0, 1, 2, 3, 4, 5]
    assert len(asked) == 12
    assert set(breed.parents[0]) <= {99.0, 5.0, 4.0, 3.0}
    assert costs.tolist() == sorted(asked, reverse=True)
    assert inputs[:, 0].tolist() == costs.tolist()


@pytest.mark.parametrize("evaluations", [0, 1, 5, 6, 7])
def test_no_more_is_asked_than_was_said(evaluations):
    asked = []
    inputs, costs = evolve(
        Counting(), lambda x: asked.append(x) or 1.0, evaluations=evaluations, random=np.random.default_rng(0)
    )
    assert len(asked) == len(inputs) == len(costs) == evaluations


@pytest.mark.parametrize("allowed", [0, 1, 6, 8])
def test_a_refusal_at_any_turn_keeps_what_was_found(allowed):
    left = iter([float(i) for i in range(allowed)])
    inputs, costs = evolve(
        Counting(), lambda _: next(left, None), evaluations=50, random=np.random.default_rng(0)
    )
    assert costs.tolist() == [float(i) for i in reversed(range(allowed))]
    assert inputs.shape == (allowed, 1)


def test_only_a_population_is_kept():
    inputs, costs = evolve(
        Counting(), lambda x: -float(x[0, 0]), evaluations=90, random=np.random.default_rng(0)
    )
    assert len(inputs) == len(costs) == POPULATION
    assert costs[0] == 0.0
