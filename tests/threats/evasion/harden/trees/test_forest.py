"""Growing trees: what stops them, what is random, and what they say of the samples they were grown from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.threats.evasion.harden.trees.forest import FEWEST, Grown, forest
from modelward.threats.evasion.harden.trees.grid import grid


def one(x, y, *, radius=0.0, depth=6):
    (tree,) = forest(grid(x, x - radius, x + radius), y, trees=1, depth=depth, seed=0)
    return tree


def ends(tree, x):
    """The leaf of each row, followed one by one."""
    found = []
    for row in x.astype(np.float32):
        node = 0
        while tree.feature[node] >= 0:
            value = row[tree.feature[node]]
            left = tree.missing_left[node] if np.isnan(value) else value < np.float32(tree.threshold[node])
            node = int(tree.left[node] if left else tree.right[node])
        found.append(node)
    return np.array(found)


def noisy(seed, n=200, d=4, k=2):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, d))
    y = np.clip(np.rint(x[:, 0] + x[:, 1] ** 2 + random.normal(0, 0.5, n)), 0, k - 1).astype(np.int64)
    y[:k] = np.arange(k)
    return x, y


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), k=st.sampled_from([2, 3]), gaps=st.booleans(), depth=st.integers(1, 6))
def test_a_tree_is_a_tree_and_its_leaves_hold_the_shares_of_what_ends_there(seed, k, gaps, depth):
    x, y = noisy(seed, k=k)
    if gaps:
        x[np.random.default_rng(seed).random(x.shape) < 0.2] = np.nan
    tree = one(x, y, depth=depth)
    inner = np.flatnonzero(tree.feature >= 0)
    assert (tree.left[inner] > inner).all()
    children = np.concatenate([tree.left[inner], tree.right[inner]])
    assert sorted(children.tolist()) == list(range(1, len(tree.feature)))
    leaves = tree.feature < 0
    assert (tree.left[leaves] == -1).all()
    assert (tree.right[leaves] == -1).all()
    assert tree.depth <= depth
    end = ends(tree, x)
    for leaf in np.flatnonzero(leaves):
        inside = y[end == leaf]
        assert len(inside) >= FEWEST or len(tree.feature) == 1
        np.testing.assert_allclose(np.bincount(inside, minlength=k) / len(inside), tree.shares[leaf])


def test_without_an_attacker_a_tree_learns_what_can_be_learnt(clouds):
    x, y = clouds()
    tree = one(x, y)
    assert (tree.shares[ends(tree, x)].argmax(axis=1) == y).all()
    assert set(tree.feature[tree.feature >= 0].tolist()) == {1}


def test_under_attack_it_asks_what_holds(clouds):
    x, y = clouds()
    tree = one(x, y, radius=0.1)
    assert tree.feature[0] == 0
    answered = tree.shares[ends(tree, x)].argmax(axis=1)
    assert 0.85 < (answered == y).mean() < 0.95
    for sign in (-1, 1):
        for f in range(2):
            moved = x + sign * 0.0999 * np.eye(2)[f]
            assert (tree.shares[ends(tree, moved)].argmax(axis=1) == answered).mean() > 0.99


def test_a_node_ends_at_its_depth_with_one_class_or_with_few_samples(clouds):
    x, y = clouds()
    assert one(x, y, depth=1).depth == 1
    assert len(one(x[::2], np.r_[np.zeros(149, int), 1], radius=0.5).feature) == 1  # nothing holds
    few = 2 * FEWEST - 1
    assert len(one(x[:few], y[:few]).feature) == 1
    assert one(x[: few + 1], y[: few + 1]).depth == 1


def test_trees_of_a_forest_differ_and_equal_seeds_give_equal_ones():
    x, y = noisy(0, d=9)
    around = grid(x, x - 0.05, x + 0.05)
    found = [list(forest(around, y, trees=6, depth=4, seed=seed)) for seed in (1, 1, 2)]
    for a, b in zip(found[0], found[1], strict=True):
        np.testing.assert_array_equal(a.threshold, b.threshold)
        np.testing.assert_array_equal(a.shares, b.shares)
    roots = {(int(tree.feature[0]), float(tree.threshold[0])) for tree in found[0]}
    assert len(roots) > 3
    assert any((a.shares[0] != b.shares[0]).any() for a, b in zip(found[0], found[2], strict=True))
    assert len({int(tree.feature[0]) for tree in found[0]}) > 1  # not every node may ask about every feature


def test_the_first_trees_of_a_forest_are_those_of_a_larger_one():
    x, y = noisy(1)
    around = grid(x, x, x)
    small, large = (list(forest(around, y, trees=n, depth=3, seed=5)) for n in (2, 4))
    for a, b in zip(small, large, strict=False):
        np.testing.assert_array_equal(a.threshold, b.threshold)


@pytest.mark.parametrize(
    ("left", "right", "depth"),
    [([-1], [-1], 0), ([1, -1, -1], [2, -1, -1], 1), ([1, -1, 3, -1, -1], [2, -1, 4, -1, -1], 2)],
)
def test_depth_is_the_longest_path(left, right, depth):
    left, right = np.array(left), np.array(right)
    tree = Grown(
        feature=np.where(left < 0, -1, 0),
        threshold=np.zeros(len(left)),
        left=left,
        right=right,
        missing_left=np.zeros(len(left), np.bool_),
        shares=np.ones((len(left), 2)) / 2,
    )
    assert tree.depth == depth


def test_missing_values_of_the_future_follow_the_larger_side():
    x = np.concatenate([np.zeros(20), np.ones(80)])[:, None]
    y = (x[:, 0] > 0).astype(np.int64)
    assert not one(x, y).missing_left[0]
    assert one(1 - x, y).missing_left[0]
