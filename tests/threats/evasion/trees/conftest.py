"""Random forests with known answers: brute force over cells, and mixed-integer programs."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from modelward.core.data import Box, Column, Dataset
from modelward.core.model import Outputs
from modelward.core.subject import Subject
from modelward.core.trees import Forest
from modelward.numeric.forests import raw_scores
from modelward.threats.evasion.reach import reach
from modelward.threats.evasion.threat import Threat
from modelward.threats.evasion.trees.costs import Costs
from modelward.threats.evasion.trees.search import Effort, Point


class TreeModel:
    """A forest that is its own runtime."""

    def __init__(self, forest, kind="logits", answer=None):
        self._forest, self._answer, self.asked = forest, answer, 0
        self.subject = Subject(kind="model", name="forest", digest="sha256:forest")
        classes = tuple(str(i) for i in range(len(forest.base)))
        self.outputs = Outputs(kind=kind, classes=classes, origin="stated")

    def forest(self):
        return self._forest

    def scores(self, x):
        self.asked += len(x)
        raw = raw_scores(self._forest, np.asarray(x, np.float64).reshape(len(x), -1))
        return raw if self._answer is None else self._answer(raw)


class Grower:
    """Collects nodes; children stand behind their parents."""

    def __init__(self, width, k):
        self.width, self.k, self.nodes, self.codes, self.roots = width, k, [], [], []

    def add(self, feature=-1, threshold=0.0, missing=False, codes=None, value=None):
        row = -1
        if codes is not None:
            row = len(self.codes)
            self.codes.append(codes)
        self.nodes.append([feature, threshold, missing, row, value])
        return len(self.nodes) - 1

    def forest(self, children, base=None, slack=1e-9):
        m, c = len(self.nodes), max((len(row) for row in self.codes), default=0)
        number = np.arange(m)
        left, right = number.copy(), number.copy()
        for node, (one, two) in children.items():
            left[node], right[node] = one, two
        value = np.zeros((m, self.k))
        for node, row in enumerate(self.nodes):
            if row[4] is not None:
                value[node] = row[4]
        codes = np.zeros((len(self.codes), c), np.bool_)
        for i, row in enumerate(self.codes):
            codes[i, : len(row)] = row
        return Forest(
            width=self.width,
            roots=np.array(self.roots),
            feature=np.array([row[0] for row in self.nodes]),
            threshold=np.array([row[1] for row in self.nodes], np.float64),
            left=left,
            right=right,
            missing_left=np.array([row[2] for row in self.nodes], np.bool_),
            subset=np.array([row[3] for row in self.nodes]),
            codes=codes,
            other_left=np.zeros(len(codes), np.bool_),
            value=value,
            base=np.zeros(self.k) if base is None else np.asarray(base, np.float64),
            link="softmax",
            slack=slack,
        )


def random_forest(rng, width=3, *, trees=4, depth=3, k=2, coded=(), grid=6, slack=1e-9):
    """Thresholds on a grid of halves, so that trees share them; sets of codes on some features."""
    grower, children = Grower(width, k), {}

    def grow(level):
        if level == 0 or rng.random() < 0.15:
            return grower.add(value=np.round(rng.normal(size=k), 3))
        feature = int(rng.integers(width))
        codes = rng.random(4) < 0.5 if feature in coded else None
        node = grower.add(feature, float(rng.integers(1, grid)) / grid, bool(rng.random() < 0.5), codes)
        children[node] = (grow(level - 1), grow(level - 1))
        return node

    for _ in range(trees):
        grower.roots.append(len(grower.nodes))
        grow(depth)
    return grower.forest(children, slack=slack)


def table(x, *, kinds=None, y=None, k=2, onehot=None, immutable=(), scale=None, dtype=np.float64):
    x = np.asarray(x, dtype)
    width = x.shape[1]
    kinds = kinds or ["real"] * width
    high = np.array([3.0 if kind in {"category", "integer"} else 1.0 for kind in kinds])
    columns = tuple(
        Column(
            name=f"c{i}",
            kind=kind,
            lower=0.0,
            upper=float(high[i]),
            categories=tuple("abcd") if kind == "category" else (),
            onehot=(onehot or {}).get(i),
            immutable=i in immutable,
        )
        for i, kind in enumerate(kinds)
    )
    size = high if scale is None else np.asarray(scale, np.float64)
    return Dataset(
        subject=Subject(kind="dataset", name="points", digest="sha256:points"),
        x=x,
        y=np.zeros(len(x), np.int64) if y is None else np.asarray(y, np.int64),
        labels=tuple(str(i) for i in range(k)),
        rows=np.arange(len(x)),
        total=len(x),
        columns=columns,
        box=Box(lower=0 * high, upper=high, scale=size, unit="training range", source="stated"),
    )


def cells(forest, data, row):
    """Every value that matters, per feature: the point's own, thresholds and what lies just above them."""
    found = []
    for i, column in enumerate(data.columns):
        own = float(data.x[row, i])
        if np.isnan(own) or column.immutable:
            found.append([own])
            continue
        edges = forest.threshold[(forest.feature == i) & (forest.subset < 0)]
        if column.kind in {"category", "integer", "boolean"}:
            values = np.append(np.arange(column.lower, column.upper + 1), own)
        else:
            kind = data.x.dtype
            low = edges.astype(kind)
            low = np.where(low > edges, np.nextafter(low, kind.type(-np.inf)), low)
            values = np.concatenate([[own], low, np.nextafter(low, kind.type(np.inf))])
        found.append(
            sorted({float(v) for v in values if data.box.lower[i] <= v <= data.box.upper[i] or v == own})
        )
    return found


def brute(forest, data, row, norm, target):
    """The smallest adversarial change, by trying every combination of cells that is admitted."""
    x = np.array(list(itertools.product(*cells(forest, data, row)))).astype(data.x.dtype)
    wide = reach(data, Threat(norm, np.inf))
    index = np.full(len(x), row)
    wrong = raw_scores(forest, x.astype(np.float64)).argmax(axis=1) != target
    fine = wrong & wide.admits(x, index)
    return float(wide.size(x[fine], index[fine]).min()) if fine.any() else np.inf


@pytest.fixture(scope="session")
def wood():
    return SimpleNamespace(
        random=random_forest,
        grower=Grower,
        table=table,
        brute=brute,
        model=TreeModel,
        point=lambda forest, data, row, norm, target: Point(
            Costs(forest, reach(data, Threat(norm, np.inf))), row, target
        ),
        effort=Effort(states=100_000, take=lambda _: True),
    )
