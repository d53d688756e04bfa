"""Distances against an independent route: the mixed-integer program of Kantchelian et al. 2016.

arXiv 1509.07892v2, section 4: a binary variable per threshold, a weight per leaf, order and consistency
constraints; solved by HiGHS through scipy.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from modelward.numeric.forests import raw_scores
from modelward.threats.evasion.trees.distance import Distance, smallest

SCALE = 1e4


class Program:
    """Rows of a sparse linear program."""

    def __init__(self, size):
        self.size, self.rows, self.low, self.high = size, [], [], []

    def add(self, terms, low, high):
        self.rows.append(terms)
        self.low.append(low)
        self.high.append(high)

    def matrix(self):
        entries = [(i, j, v) for i, row in enumerate(self.rows) for j, v in row]
        i, j, v = zip(*entries, strict=True)
        return LinearConstraint(
            coo_array((v, (i, j)), shape=(len(self.rows), self.size)).tocsr(), self.low, self.high
        )


def paths(forest):
    """(tree, leaf, [(feature, threshold, goes left)]) of every leaf."""
    for tree, root in enumerate(forest.roots):
        stack = [(root, [])]
        while stack:
            node, path = stack.pop()
            f = forest.feature[node]
            if f < 0:
                yield tree, node, path
                continue
            step = (int(f), float(forest.threshold[node]))
            stack += [
                (forest.left[node], [*path, (*step, True)]),
                (forest.right[node], [*path, (*step, False)]),
            ]


def solved(forest, origin, norm, target):
    """The smallest change; with two classes."""
    keys = sorted(
        {(int(f), float(t)) for f, t in zip(forest.feature, forest.threshold, strict=True) if f >= 0}
    )
    place = {key: i for i, key in enumerate(keys)}
    every = list(paths(forest))
    n = len(keys) + len(every) + 1
    bound, program, objective, constant = n - 1, Program(n), np.zeros(n), 0.0
    for tree in range(len(forest.roots)):
        program.add([(len(keys) + i, 1.0) for i, one in enumerate(every) if one[0] == tree], 1, 1)
    for i, (_, _, path) in enumerate(every):
        for f, t, left in path:  # a leaf is taken only if all its conditions hold
            if left:
                program.add([(len(keys) + i, 1.0), (place[f, t], -1.0)], -np.inf, 0)
            else:
                program.add([(len(keys) + i, 1.0), (place[f, t], 1.0)], -np.inf, 1)
    margin = [float(forest.value[leaf, target] - forest.value[leaf, 1 - target]) for _, leaf, _ in every]
    base = float(forest.base[target] - forest.base[1 - target])
    program.add([(len(keys) + i, m) for i, m in enumerate(margin)], -np.inf, -base - forest.slack)
    for f in range(forest.width):
        edges = [t for g, t in keys if g == f]
        for low, high in pairwise(edges):  # x <= low implies x <= high
            program.add([(place[f, low], 1.0), (place[f, high], -1.0)], -np.inf, 0)
        sides = [
            sorted(t for t in edges if t >= origin[f]),
            sorted((t for t in edges if t < origin[f]), reverse=True),
        ]
        for up, side in zip((True, False), sides, strict=True):
            last = 0.0
            for t in side:
                size = abs((np.nextafter(t, np.inf) if up else t) - origin[f])
                cost = {"linf": size, "l1": size, "l2": size**2, "l0": 1.0}[norm]
                if norm == "linf":
                    flip = [(place[f, t], -cost)] if up else [(place[f, t], cost)]
                    program.add([*flip, (bound, -1.0)], -np.inf, -cost if up else 0)
                else:
                    objective[place[f, t]] += (last - cost) if up else (cost - last)
                    constant += (cost - last) if up else 0.0
                last = cost
    objective[bound] = 1.0 if norm == "linf" else 0.0
    whole = np.concatenate([np.ones(len(keys)), np.zeros(len(every) + 1)])
    found = milp(
        objective * SCALE,  # HiGHS stops within 1e-6 of the best objective
        constraints=program.matrix(),
        integrality=whole,
        bounds=Bounds(0, [1.0] * (n - 1) + [10.0]),
        options={"mip_rel_gap": 1e-9},
    )
    if found.status == 2:
        return np.inf
    total = found.fun / SCALE + constant
    return float(np.sqrt(max(0.0, total))) if norm == "l2" else float(total)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
@pytest.mark.parametrize("seed", range(4))
def test_forests_of_ten_trees(wood, norm, seed):
    rng = np.random.default_rng(100 + seed)
    forest = wood.random(rng, 5, trees=10, depth=4, grid=25)
    data = wood.table(rng.random((4, 5)))
    finite = 0
    for row in range(4):
        target = int(raw_scores(forest, data.x[row : row + 1]).argmax())
        expected = solved(forest, data.x[row], norm, target)
        point = wood.point(forest, data, row, norm, target)
        found = smallest(point, wood.effort, Distance(0.0, np.inf), 9.0)
        assert np.isinf(found.upper) == np.isinf(expected)
        if np.isfinite(expected):
            finite += 1
            assert found.upper == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert finite > 0
