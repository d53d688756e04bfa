"""Models whose robust radius is known, and the builders that the evasion tests share."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.core.data import Box, Column, Dataset
from modelward.core.evidence import Cost, Evidence
from modelward.core.model import Outputs
from modelward.core.subject import Subject
from modelward.threats.evasion.arena import Arena, Points
from modelward.threats.evasion.certified import CertifiedCheck
from modelward.threats.evasion.gradient.balls import Ball
from modelward.threats.evasion.gradient.check import GradientCheck
from modelward.threats.evasion.gradient.copy import Copy
from modelward.threats.evasion.gradient.pool import Pool
from modelward.threats.evasion.query.check import QueryCheck
from modelward.threats.evasion.share import Share
from modelward.threats.evasion.threat import Threat


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class CallableModel:
    """A function of a batch; counts rows, and can be told to raise on some inputs."""

    def __init__(self, answer, classes, kind):
        self.answer, self.asked = answer, 0
        self.subject = Subject(kind="model", name="callable", digest="sha256:model")
        self.outputs = Outputs(kind=kind, classes=classes, origin="stated")

    def scores(self, x):
        self.asked += len(x)
        return np.asarray(self.answer(x), np.float64)


class Counted(nn.Module):
    """A module behind a counter; tracing sees through it, which it would not with a hook."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.forwarded = self.backward = 0

    def forward(self, x):
        if isinstance(x, torch.Tensor):  # not while it is traced
            self.forwarded += len(x)
            if x.requires_grad:
                x.register_hook(self._count_backward)
        return self.net(x)

    def _count_backward(self, gradient):
        self.backward += len(gradient)


class TorchModel(CallableModel):
    """A module that is its own runtime; counts every sample sent forward, apart from the runtime's."""

    tolerance = 0.0

    def __init__(self, module, classes, kind="logits", runtime=None, tolerance=0.0):
        self.net = module.eval()
        self.tolerance = tolerance
        self.counted = Counted(self.net)
        CallableModel.__init__(self, runtime or self._quiet, classes, kind)

    @property
    def forward(self):
        return self.counted.forwarded

    @property
    def backward(self):
        return self.counted.backward

    def _quiet(self, x):
        with torch.no_grad():
            return self.net(torch.as_tensor(np.asarray(x, np.float32))).double().numpy()

    def module(self):
        return self.counted


class Store:
    """Keeps what checks attach, by digest."""

    def __init__(self):
        self.kept = {}

    def put(self, arrays):
        state = hashlib.sha256()
        for name in sorted(arrays):
            state.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
        self.kept["sha256:" + state.hexdigest()] = dict(arrays)
        return "sha256:" + state.hexdigest()


def box(lower=0.0, upper=1.0, scale=None, unit="box width"):
    low, high = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
    size = high - low if scale is None else np.asarray(scale, np.float64)
    return Box(lower=low, upper=high, scale=size, unit=unit, source="stated")


def data(x, y, *, classes=2, columns=(), bounds=None, rows=None):
    x = np.asarray(x)
    return Dataset(
        subject=Subject(kind="dataset", name="points", digest="sha256:points"),
        x=x,
        y=np.asarray(y, np.int64),
        labels=tuple(str(i) for i in range(classes)),
        rows=np.arange(len(x), dtype=np.int64) if rows is None else np.asarray(rows, np.int64),
        total=len(x),
        columns=tuple(columns),
        box=bounds or box(),
    )


def table(x, y, kinds, *, classes=2, immutable=(), onehot=None, bounds=None):
    """A table whose box is the range of its own rows."""
    x = np.asarray(x, np.float64)
    low, high = np.nanmin(x, axis=0), np.nanmax(x, axis=0)
    columns = [
        Column(
            name=f"c{i}",
            kind=kind,
            lower=float(low[i]),
            upper=float(high[i]),
            categories=tuple("abcdefgh"[: int(high[i]) + 1]) if kind == "category" else (),
            immutable=i in immutable,
            onehot=(onehot or {}).get(i),
        )
        for i, kind in enumerate(kinds)
    ]
    width = np.where(high > low, high - low, 1.0)
    return data(
        x, y, classes=classes, columns=columns, bounds=bounds or box(low, high, width, unit="training range")
    )


def labelled(model, x, **options):
    """Data whose labels are the model's own decisions, so that every point is right."""
    y = model.scores(np.asarray(x)).argmax(axis=1)
    model.asked = 0
    return data(x, y, classes=len(model.outputs.classes), **options)


def run(check, model, points, *, budget=None, seed=7, **settings):
    store = Store()
    subjects = Subjects(model=model, data=points, attachments=store)
    checks = {"gradient": GradientCheck, "query": QueryCheck, "certified": CertifiedCheck}
    instance = checks[check](Settings(**settings))
    assert instance.declines(subjects) is None
    meter = Meter(budget or Budget())
    found = list(instance.run(subjects, budget=meter, seed=seed))
    return SimpleNamespace(evidence=found, store=store, meter=meter, subjects=subjects, first=found[0])


def pool(net, x, norm="linf", eps=0.1, *, copy=None, points=None, target=None, **options):
    """What the methods of the gradient attack share, on points that the net answers right; nothing is tried yet."""
    budget, kind = options.get("budget"), options.get("kind", "logits")
    classes = net(torch.zeros((1, *x.shape[1:]))).shape[1]
    model = TorchModel(net, names(classes), kind)
    found = labelled(model, x) if points is None else points
    right = np.asarray(found.y if target is None else target, np.int64)
    every = Points(
        data=found, model=model, target=right, correct=np.ones(len(x), np.bool_), scores=model.scores(found.x)
    )
    arena = Arena(every, Threat(norm, eps), share=Share(Meter(budget)), seed=5)
    copy = Copy(net, x.shape[1:]) if copy is None else copy
    return Pool(arena, copy, Ball(arena.reach, copy.device))


def witnesses(result, index=0):
    evidence = result.evidence[index]
    return result.store.kept[evidence.attachments["witnesses"]] if evidence.attachments else None


def linear(weight, bias):
    weight, bias = np.asarray(weight, np.float32), np.asarray(bias, np.float32)
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(weight))
        layer.bias.copy_(torch.as_tensor(bias))
    return layer


def names(count):
    return tuple(str(i) for i in range(count))


def evidence(check, *, rows=range(10), cut=None, norm="linf", eps=0.1, digests=None, **outcome):
    parameters = {
        "norm": norm,
        "eps": eps,
        "unit": "box width",
        "box": {"lower": 0.0, "upper": 1.0, "unit": "box width", "source": "stated"},
        "space": "continuous",
    }
    parameters |= outcome.pop("parameters", {})
    lists = {name: values if isinstance(values, dict) else list(values) for name, values in outcome.items()}
    return Evidence(
        check=f"evasion.{check}",
        version=1,
        parameters=parameters,
        n=len(list(rows)),
        seed=1,
        outcome={"rows": list(rows), "correct": list(rows), **lists},
        unit="row number",
        cost=Cost(seconds=1.0, forward=3, backward=2, queries=5),
        subjects=digests or {"model": "sha256:m", "data": "sha256:d"},
        cut=cut,
    )


@pytest.fixture
def room():
    return SimpleNamespace(
        callable=lambda answer, classes=2, kind="logits": CallableModel(answer, names(classes), kind),
        torch=lambda module, classes=2, **options: TorchModel(module, names(classes), **options),
        linear=linear,
        box=box,
        data=data,
        table=table,
        labelled=labelled,
        run=run,
        pool=pool,
        witnesses=witnesses,
        evidence=evidence,
        store=Store,
    )
