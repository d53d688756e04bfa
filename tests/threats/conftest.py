"""Models and data whose right answers are known by construction."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.core.data import Box, Dataset, Grouping
from modelward.core.evidence import Cost, Evidence
from modelward.core.model import Outputs, ProbeAnswer
from modelward.core.subject import Subject


def digest(*arrays):
    state = hashlib.sha256()
    for array in arrays:
        state.update(str((array.dtype, array.shape)).encode() + np.ascontiguousarray(array).tobytes())
    return "sha256:" + state.hexdigest()


class FakeModel:
    """Answers with a function of the whole batch and remembers how many rows it was asked."""

    def __init__(self, answer, *, classes=("0", "1"), kind="probabilities", missing=False):
        self.answer, self.asked = answer, 0
        details = {"takes_missing": missing}
        self.subject = Subject(kind="model", name="fake", digest="sha256:" + "0" * 64, details=details)
        self.outputs = Outputs(kind=kind, classes=classes, origin="stated")

    def scores(self, x):
        self.asked += len(x)
        return np.asarray(self.answer(x), np.float64)


class FakeProbeModel(FakeModel):
    """A model with a probe; ``react`` maps an input to a `ProbeAnswer`."""

    def __init__(self, answer, react, **options):
        super().__init__(answer, **options)
        self.react, self.sent = react, []

    @contextmanager
    def probe(self, seconds):
        yield self

    def ask(self, x):
        self.sent.append(x)
        self.asked += x.shape[0] if x.ndim else 1
        return self.react(x)


class MemoryStore:
    def put(self, arrays):
        return digest(*arrays.values())


def make_data(x, y=None, *, labels=("0", "1"), columns=(), groups=(), name="data"):
    x = np.asarray(x)
    shape = x.shape[1:]
    flat = x.reshape(len(x), -1) if len(x) else np.zeros((1, int(np.prod(shape))))
    lower, upper = flat.min(0).reshape(shape).astype(float), flat.max(0).reshape(shape).astype(float)
    return Dataset(
        subject=Subject(kind="dataset", name=name, digest=digest(x)),
        x=x,
        y=None if y is None else np.asarray(y, np.int64),
        labels=labels,
        rows=np.arange(len(x)),
        total=len(x),
        columns=tuple(columns),
        box=Box(lower=lower, upper=upper, scale=upper - lower, unit="training range", source="stated"),
        groupings=tuple(Grouping(**group) for group in groups),
    )


def make_texts(x):
    x = np.asarray(x, dtype=object)
    zero = np.zeros(())
    return Dataset(
        subject=Subject(kind="dataset", name="texts", digest=digest(np.array([*map(repr, x)]))),
        x=x, y=None, labels=(), rows=np.arange(len(x)), total=len(x),
        box=Box(lower=zero, upper=zero, scale=zero + 1, unit="edits", source="the kind of data"),
    )  # fmt: skip


def two(share):
    """Probabilities of two classes from that of the second."""
    share = np.asarray(share, np.float64)
    return np.column_stack([1 - share, share])


def run(check_class, subjects, *, budget=None, seed=5, settings=None):
    check = check_class(settings or Settings())
    assert check.declines(subjects) is None
    meter = Meter(budget or Budget())
    found = list(check.run(subjects, budget=meter, seed=seed))
    for item in found:
        json.dumps(item.outcome, allow_nan=False)
    return found


def subjects_of(model=None, data=None, train=None):
    return Subjects(model=model, data=data, train=train, attachments=MemoryStore())


def record(check, outcome, *, n, parameters=None, cut=None, seed=3):
    """Evidence as a check would have left it."""
    return Evidence(
        check=check,
        version=1,
        parameters={"confidence": 0.95} | (parameters or {}),
        n=n,
        seed=seed,
        outcome=outcome,
        unit="rows",
        cost=Cost(queries=n, seconds=0.5),
        subjects={"model": "sha256:" + "0" * 64},
        cut=cut,
    )


@pytest.fixture
def lab():
    """Builders of models, data, subjects and evidence, and ``lab.run``, which runs one check."""
    return SimpleNamespace(
        model=FakeModel,
        probed=FakeProbeModel,
        data=make_data,
        texts=make_texts,
        subjects=subjects_of,
        run=run,
        two=two,
        answer=ProbeAnswer,
        evidence=record,
    )
