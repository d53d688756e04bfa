"""Small subjects that every check of the catalogue can measure, and runs of all checks on them."""

from __future__ import annotations

import hashlib
import pickle
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from modelward.core.budget import Budget, Meter
from modelward.core.catalogue import check_entry, load_check
from modelward.core.check import Settings, Subjects
from modelward.core.data import Box, Column, Dataset, Grouping, Ratings
from modelward.core.digest import file_digest
from modelward.core.evidence import to_json
from modelward.core.model import Outputs, ProbeAnswer
from modelward.core.subject import Subject
from modelward.core.trees import Forest
from modelward.numeric.forests import raw_scores

SETTINGS = Settings(limit=12, eps=(0.05,))
SEED = 20_240_229
TEXTUAL = {"evasion.text"}
"""Checks of texts, which no other kind of data can stand in for."""
WEIGHTS = np.array([0.02, 0.4, 1.5, 0.8, -0.8, 2.0], np.float32)
BIAS = np.float32(-2.6)
PICTURE_WEIGHTS = np.tile(np.repeat(np.array([0.5, -0.5], np.float32), 4), 8)


def array_digest(*arrays):
    state = hashlib.sha256()
    for array in arrays:
        state.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return "sha256:" + state.hexdigest()


class PlainModel:
    """A linear classifier that can only be asked, and counts the rows it is asked about."""

    def __init__(self, weights=WEIGHTS, bias=BIAS, shape=(6,)):
        self.asked = self.forwarded = 0
        self.weights, self.bias, self.shape = weights, bias, shape
        self.subject = Subject(kind="model", name="linear", digest=array_digest(weights), format="callable")
        self.outputs = Outputs(kind="logits", classes=("no", "yes"), origin="stated")

    def scores(self, x):
        self.asked += len(x)
        return self.answer(x)

    def answer(self, x):
        score = np.asarray(x, np.float32).reshape(len(x), len(self.weights)) @ self.weights + self.bias
        return np.column_stack([np.zeros_like(score), score]).astype(np.float64)


class LinearModel(PlainModel):
    """The same with a differentiable copy and a probe."""

    tolerance = 1e-5

    def __init__(self, weights=WEIGHTS, bias=BIAS, shape=(6,)):
        import torch

        super().__init__(weights, bias, shape)
        layer = torch.nn.Linear(len(weights), 2)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(np.stack([0 * weights, weights])))
            layer.bias.copy_(torch.tensor([0.0, float(bias)]))
        model = self

        class Counted(torch.nn.Sequential):
            def forward(self, x):
                if isinstance(x, torch.Tensor):  # not while it is traced
                    model.forwarded += len(x)
                return super().forward(x)

        self._module = Counted(torch.nn.Flatten(), layer).eval()

    def module(self):
        return self._module

    @contextmanager
    def probe(self, seconds):
        yield self

    def ask(self, x):
        self.asked += len(x) if x.ndim else 1
        if x.dtype.kind not in "fiub" or x.shape[1:] != self.shape:
            return ProbeAnswer(kind="raised", detail="ValueError: not a table of numbers")
        with np.errstate(all="ignore"):
            flat = self.answer(x).ravel()[:64]
        values = [float(v) if np.isfinite(v) else None for v in flat]
        return ProbeAnswer(kind="answered", scores=values, finite=None not in values)


class StumpModel(PlainModel):
    """One tree of depth one per feature, on the side that the linear model would choose."""

    def __init__(self, weights=WEIGHTS, bias=BIAS, shape=(6,)):
        super().__init__(weights, bias, shape)
        digest = array_digest(np.sign(weights))
        self.subject = Subject(kind="model", name="stumps", digest=digest, format="callable")

    def forest(self):
        d, side = len(self.weights), np.sign(self.weights)
        number = np.arange(3 * d)
        inner, leaf = number % 3 == 0, number % 3 > 0
        value = np.zeros((3 * d, 2))
        value[leaf, 1] = np.stack([-side, side], axis=1).ravel()
        nothing = np.zeros(3 * d, np.int64)
        return Forest(
            width=d,
            roots=number[inner],
            feature=np.where(inner, number // 3, -1),
            threshold=np.where(inner, 0.5, 0.0),
            left=np.where(inner, number + 1, number),
            right=np.where(inner, number + 2, number),
            missing_left=nothing > 0,
            subset=nothing - 1,
            codes=np.zeros((0, 0), np.bool_),
            other_left=np.zeros(0, np.bool_),
            value=value,
            base=np.zeros(2),
            link="softmax",
            slack=1e-9,
        )

    def answer(self, x):
        return raw_scores(self.forest(), np.asarray(x, np.float64).reshape(len(x), -1))


class TextModel(PlainModel):
    """Finds words of praise in texts."""

    def answer(self, x):
        score = [2.0 * sum(word in {"good", "great"} for word in text.split()) - 1 for text in x]
        return np.column_stack([np.zeros(len(x)), score])


class MeanRecommender:
    """Scores items by their mean rating, whoever asks."""

    def fit(self, users, items, ratings):
        counts = np.bincount(items, minlength=items.max() + 1)
        self.means = np.bincount(items, ratings, len(counts)) / counts

    def predict(self, users):
        return np.tile(self.means, (len(users), 1))


def ratings(values):
    """20 users and 12 items; every user rated 6 of them."""
    users, items = np.nonzero(np.add.outer(np.arange(20), np.arange(12)) % 2 == 0)
    return Ratings(
        subject=Subject(kind="dataset", name="ratings", digest=array_digest(users, items)),
        users=users,
        items=items,
        values=np.resize(np.asarray(values, np.float64), len(users)),
        user_names=tuple(f"u{i}" for i in range(20)),
        item_names=tuple(f"i{i}" for i in range(12)),
    )


def recommender(values=(1, 3, 5, 4, 2, 5, 1)):
    subject = Subject(kind="model", name="means", digest=array_digest(np.zeros(1)), format="recommender")
    return subject, MeanRecommender(), ratings(values)


class CountingStore:
    """Remembers what was attached by its digest."""

    def __init__(self):
        self.held = {}

    def put(self, arrays):
        name = array_digest(*(arrays[key] for key in sorted(arrays)))
        self.held[name] = dict(arrays)
        return name


def table(n, seed, *, labels=("no", "yes")):
    rng = np.random.default_rng(seed)
    age, sex = rng.integers(20, 80, n), rng.integers(0, 2, n)
    red = rng.integers(0, 2, n)
    x = np.column_stack([age, sex, rng.random(n), red, 1 - red, rng.random(n)]).astype(np.float64)
    margin = x.astype(np.float32) @ WEIGHTS + BIAS + rng.normal(0, 0.5, n)
    columns = (
        Column(name="age", kind="integer", lower=20, upper=80, immutable=True),
        Column(name="sex", kind="boolean", lower=0, upper=1, immutable=True, sensitive=True),
        Column(name="income", kind="real", lower=0, upper=1),
        Column(name="red", kind="boolean", lower=0, upper=1, onehot="colour"),
        Column(name="blue", kind="boolean", lower=0, upper=1, onehot="colour"),
        Column(name="score", kind="real", lower=0, upper=1),
    )
    lower, upper = np.array([20.0, 0, 0, 0, 0, 0]), np.array([80.0, 1, 1, 1, 1, 1])
    groupings = (
        Grouping(name="sex", codes=sex.astype(np.int64), levels=("f", "m")),
        Grouping(name="age", codes=(age >= 50).astype(np.int64), levels=("below 50", "50 and above")),
    )
    return Dataset(
        subject=Subject(kind="dataset", name=f"table-{seed}", digest=array_digest(x)),
        x=x,
        y=(margin > 0).astype(np.int64),
        labels=labels,
        rows=np.arange(n, dtype=np.int64),
        total=n,
        columns=columns,
        box=Box(lower=lower, upper=upper, scale=upper - lower, unit="training range", source="stated"),
        groupings=groupings,
    )


def pictures(n, seed):
    """Images of 8 x 8 whose label is whether the left half is brighter, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 1, 8, 8)).astype(np.float32)
    y = (x.reshape(n, -1) @ PICTURE_WEIGHTS + rng.normal(0, 1, n) > 0).astype(np.int64)
    edge = np.zeros((1, 1, 1))
    return Dataset(
        subject=Subject(kind="dataset", name=f"pictures-{seed}", digest=array_digest(x)),
        x=x,
        y=y,
        labels=("no", "yes"),
        rows=np.arange(n, dtype=np.int64),
        total=n,
        box=Box(lower=edge, upper=edge + 1, scale=edge + 1, unit="box width", source="stated"),
        groupings=(Grouping(name="sex", codes=rng.integers(0, 2, n), levels=("f", "m")),),
    )


def texts(n, seed):
    """Sentences of six words whose label is whether one of them is praise."""
    rng = np.random.default_rng(seed)
    words = np.array(["good", "great", "plain", "usual", "other", "thing", "today", "again", "there"])
    x = np.empty(n, dtype=object)
    x[:] = [" ".join(row) for row in words[rng.integers(0, len(words), (n, 6))]]
    edge = np.zeros(())
    return Dataset(
        subject=Subject(kind="dataset", name=f"texts-{seed}", digest=array_digest(np.array([*x]))),
        x=x,
        y=np.array(["good" in text or "great" in text for text in x], np.int64),
        labels=("no", "yes"),
        rows=np.arange(n, dtype=np.int64),
        total=n,
        box=Box(lower=edge, upper=edge, scale=edge + 1, unit="edits", source="stated"),
    )


@pytest.fixture(scope="session")
def picture_subjects(artifact):
    """The same kinds of subject for images, for one check."""

    def make(check_id):
        if check_id in TEXTUAL:
            parts = {"artifact": artifact, "attachments": CountingStore()}
            return Subjects(**parts | subjects_for(check_id))
        return Subjects(
            artifact=artifact,
            model=model_for(check_id, PICTURE_WEIGHTS, np.float32(0), (1, 8, 8)),
            data=pictures(160, 3),
            train=pictures(120, 4),
            recommender=recommender(),
            attachments=CountingStore(),
        )

    return make


def model_for(check_id, *options):
    """A model with the powers that a check needs."""
    kind = StumpModel if "trees" in check_entry(check_id).needs else LinearModel
    return kind(*options)


def subjects_for(check_id):
    """What differs from the ordinary subjects, for a check that needs it."""
    if check_id in TEXTUAL:
        return {"model": TextModel(), "data": texts(160, 1), "train": texts(120, 2)}
    return {"model": model_for(check_id)}


@pytest.fixture(scope="session")
def artifact(tmp_path_factory):
    path = tmp_path_factory.mktemp("artifact") / "model.pkl"
    path.write_bytes(pickle.dumps({"weights": [1.0, 2.0], "name": "linear"}, protocol=4))
    return path, Subject(kind="artifact", name="model.pkl", digest=file_digest(path), format="pickle")


@pytest.fixture(scope="session")
def make_subjects(artifact):
    """Fresh subjects; keyword arguments replace parts of them."""

    def make(**changes):
        parts = {
            "artifact": artifact,
            "model": LinearModel(),
            "data": table(160, 1),
            "train": table(120, 2),
            "recommender": recommender(),
            "attachments": CountingStore(),
        }
        return Subjects(**parts | changes)

    return make


def snapshot(data):
    """Digest of everything a check could change in a data set."""
    return array_digest(
        data.x, data.y, data.rows, *(g.codes for g in data.groupings), data.box.lower, data.box.upper
    )


@pytest.fixture(scope="session")
def measure(make_subjects):
    """Run one check: ``measure(check_id, budget=..., seed=...)`` gives evidence, meter, model, subjects."""

    def run(check_id, *, budget=None, seed=SEED, clock=None):
        subjects = make_subjects(**subjects_for(check_id))
        check = load_check(check_entry(check_id))(SETTINGS)
        before = snapshot(subjects.data), snapshot(subjects.train), subjects.artifact[0].read_bytes()
        reason = check.declines(subjects)
        declining = subjects.model.asked
        subjects.model.forwarded = 0
        meter = Meter(budget or Budget(), **({"clock": clock} if clock else {}))
        evidence = list(check.run(subjects, budget=meter, seed=seed)) if reason is None else []
        after = snapshot(subjects.data), snapshot(subjects.train), subjects.artifact[0].read_bytes()
        return SimpleNamespace(
            reason=reason,
            asked_by_declines=declining,
            evidence=evidence,
            meter=meter,
            model=subjects.model,
            subjects=subjects,
            untouched=before == after,
        )

    return run


@pytest.fixture(scope="session")
def whole(measure):
    """The unlimited run of a check, made once."""
    return cache(measure)


@pytest.fixture(scope="session")
def timeless():
    """Evidence as JSON without wall times, and what was found by them; all else is equal in equal runs."""

    def strip(item):
        plain = to_json(item)
        plain["cost"].pop("seconds")
        if plain["outcome"].pop("timing", None) is not None:
            plain["attachments"].clear()
        return plain

    return strip


@pytest.fixture
def unsupported(tmp_path):
    """Subjects that some checks must decline: what differs from the ordinary ones."""
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    safe = Subject(kind="artifact", name=path.name, digest=file_digest(path), format="csv")
    foreign = table(40, 1, labels=("no", "maybe"))
    assert foreign.y is not None
    assert foreign.y.any()
    return {
        "no model": {"artifact": (path, safe)},
        "unknown label": {"data": foreign},
        "no gradients": {"model": PlainModel()},
        "no trees": {"model": PlainModel()},
        "no probe": {"model": PlainModel()},
        "no rows": {"data": foreign.take(np.zeros(0, np.int64))},
        "same rows": {"train": table(160, 1)},
        "numbers": {"data": table(40, 1)},
        "equal ratings": {"recommender": recommender((3,))},
        "texts": {"model": TextModel(), "data": texts(40, 1), "train": texts(40, 2)},
    }
