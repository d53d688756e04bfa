"""The attacks on a device of its own: no step may mix devices, and nothing may come out otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from modelward.adapters.runtimes.torch_module import TorchRuntime
from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.threats.evasion.certified import CertifiedCheck
from modelward.threats.evasion.gradient import copy as gradient_copy
from modelward.threats.evasion.gradient import device
from modelward.threats.evasion.gradient.apgd import Apgd
from modelward.threats.evasion.gradient.balls import Ball
from modelward.threats.evasion.gradient.copy import Copy
from modelward.threats.evasion.gradient.descent import Descent
from modelward.threats.evasion.gradient.device import Machine, placed
from modelward.threats.evasion.gradient.fab import Fab
from modelward.threats.evasion.gradient.masking import slopes
from modelward.threats.evasion.gradient.pool import Task
from modelward.threats.evasion.gradient.sparse import Swaps, Windows
from modelward.threats.evasion.gradient.squares import SquareSearch
from modelward.threats.evasion.gradient.surrogate import Borrowed, fitted
from modelward.threats.evasion.harden.methods import Training
from modelward.threats.evasion.harden.training import TrainingControl
from modelward.threats.evasion.threat import Threat

STARTS = ("centre", "noise", "stripes", "blocks", "corner", "best")
METHODS = {
    "descent": lambda pool: Descent(pool.copy, pool.ball, steps=7),
    "entropy": lambda pool: Apgd(pool.copy, pool.ball, steps=9, kind="entropy"),
    "ratio": lambda pool: Apgd(pool.copy, pool.ball, steps=9, kind="ratio", patient=False),
    "border": lambda pool: Fab(pool.copy, pool.ball, steps=6),
    "squares": lambda pool: SquareSearch(pool.copy, pool.ball, steps=15),
    "swaps": lambda pool: Swaps(pool.copy, pool.ball, pool.arena.reach, steps=6),
    "windows": lambda pool: Windows(pool.copy, pool.ball, pool.arena.reach, steps=6),
    "transfer": lambda pool: Borrowed(pool, fitted(pool, np.arange(8), 3), steps=4),
}
CASES = [
    ("linf", 0.1, ("descent", "entropy", "ratio", "border", "squares", "transfer")),
    ("l2", 0.3, ("descent", "ratio", "border")),
    ("l1", 1.0, ("descent", "ratio", "border")),
    ("l0", 3.0, ("swaps",)),
    ("patch", 0.1, ("windows",)),
]


def image_net(seed=0, classes=4):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(36, classes)).eval()


def images(n=8, seed=1):
    return np.random.default_rng(seed).random((n, 1, 6, 6)).astype(np.float32)


def offered(rate=lambda: 1.0, translated=None):
    """A machine whose recordings are the work itself, and whose clock says what it is told."""

    def seconds(work):
        work()
        return rate()

    return Machine(
        record=lambda work: work,
        seconds=seconds,
        translate=translated or (lambda module: module),
        release=lambda: None,
    )


def there_and_here(room, elsewhere, monkeypatch, threat):
    net = image_net()
    monkeypatch.setattr(device, "accelerator", lambda: elsewhere)
    notes = []
    moved = placed(net, torch.from_numpy(images()), None, notes)
    assert notes == []
    assert moved is not net
    copies = [Copy(moved, (1, 6, 6)), Copy(net, (1, 6, 6))]
    assert [str(copy.device) for copy in copies] == ["meta", "cpu"]
    return [room.pool(net, images(), threat.norm, threat.eps, copy=copy) for copy in copies]


def everything(pool):
    record = pool.record
    return [record.margin.tolist(), record.x.tolist(), record.runs, record.fell, pool.arena.standing.tolist()]


@pytest.mark.parametrize(
    ("threat", "name"), [(Threat(norm, eps), name) for norm, eps, names in CASES for name in names]
)
def test_no_method_mixes_devices_or_finds_anything_else_there(room, elsewhere, monkeypatch, threat, name):
    pools = there_and_here(room, elsewhere, monkeypatch, threat)
    starts = STARTS if threat.graded else ("centre", "noise")
    tasks = [Task(i, goal, starts[i % len(starts)], 50 * i + goal) for i in range(8) for goal in (-1, 2)]
    for pool in pools:
        assert pool.run(METHODS[name](pool), tasks, name)
        assert np.isfinite(pool.record.margin).any() or name == "border"
    assert everything(pools[0]) == everything(pools[1])


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_slopes_are_examined_on_the_device(room, elsewhere, monkeypatch, norm):
    there, here = there_and_here(room, elsewhere, monkeypatch, Threat(norm, 0.3))
    assert slopes(there) == slopes(here) is not None


@pytest.fixture
def moved(elsewhere, monkeypatch):
    """The accelerator is the device that is not there; what it offers may be chosen."""
    monkeypatch.setattr(device, "accelerator", lambda: elsewhere)

    def offering(offer):
        monkeypatch.setattr(gradient_copy, "machine", lambda at: offer if at == elsewhere else None)

    return offering


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.08), ("l0", 2.0)])
def test_the_whole_check_says_the_same_there(room, moved, monkeypatch, norm, eps):
    del moved
    choice = {"norms": (norm,), "eps": (eps,), "preset": "quick", "limit": 3}
    model = room.torch(image_net(), 4)
    points = room.labelled(model, images())
    there = room.run("gradient", model, points, **choice)
    assert 3 <= model.forward < 20  # compared, and bounded; the copy elsewhere is another object
    monkeypatch.setattr(device, "accelerator", lambda: None)
    here = room.run("gradient", model, points, **choice)
    one, other = there.first, here.first
    assert (one.outcome, one.attachments) == (other.outcome, other.attachments)
    compared = 6  # 3 here and 3 there
    assert one.cost.forward == other.cost.forward + compared
    assert (one.cost.backward, one.cost.queries) == (other.cost.backward + compared, other.cost.queries)


def test_an_accelerator_with_recordings_finds_the_same_and_says_how_it_was_used(room, moved, monkeypatch):
    moved(offered())
    model = room.torch(image_net(), 4)
    points = room.labelled(model, images(7))
    there = room.run("gradient", model, points, norms=("linf",), eps=(0.08, 0.1), preset="quick", limit=5)
    monkeypatch.setattr(device, "accelerator", lambda: None)
    here = room.run("gradient", model, points, norms=("linf",), eps=(0.08, 0.1), preset="quick", limit=5)
    for one, other in zip(there.evidence, here.evidence, strict=True):
        assert one.outcome["broken"] == other.outcome["broken"]
        assert one.outcome["device"]["name"] == "meta"
        assert one.outcome["device"]["step"] in {"recorded", "recorded, channels last"}
        assert one.outcome["device"]["notes"] == []
        assert "device" not in other.outcome
    assert there.first.cost.forward > here.first.cost.forward  # measured, recorded and compared
    assert there.evidence[1].outcome["device"]["filled"] >= there.first.outcome["device"]["filled"] > 0


def test_memory_that_runs_out_elsewhere_starts_the_search_again_here(room, moved, monkeypatch):
    moved(offered())
    model = room.torch(image_net(), 4)
    points = room.labelled(model, images())
    asked = []
    original = Ball.start

    def start(ball, kind, seeds, centre, limits):
        asked.append(centre.device.type)
        if centre.device.type == "meta" and len(asked) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return original(ball, kind, seeds, centre, limits)

    monkeypatch.setattr(Ball, "start", start)
    first, second = room.run(
        "gradient", model, points, norms=("linf",), eps=(0.2, 0.25), preset="quick", limit=5
    ).evidence
    assert asked[:2] == ["meta"] * 2
    assert set(asked[2:]) == {"cpu"}
    for one in (first, second):
        assert one.outcome["device"]["name"] == "cpu"
        assert one.outcome["device"]["notes"] == [
            "the memory of meta was too short: started again on the CPU"
        ]
    assert sum(first.outcome["by"].values()) == len(first.outcome["broken"]) > 0


def test_another_error_elsewhere_is_not_taken_for_short_memory(room, moved, monkeypatch):
    moved(offered())
    model = room.torch(image_net(), 4)
    points = room.labelled(model, images())

    def start(*_):
        raise RuntimeError("an illegal instruction was encountered")

    monkeypatch.setattr(Ball, "start", start)
    with pytest.raises(RuntimeError, match="illegal instruction"):
        room.run("gradient", model, points, norms=("linf",), eps=(0.1,), preset="quick")


def test_the_device_that_is_not_there_refuses_what_cuda_refuses(elsewhere):
    far, near = torch.rand(3, 4).to(elsewhere), torch.rand(3, 4)
    for mixed in (
        lambda: far + near,
        lambda: torch.where(near > 0.5, far, 0.0),
        lambda: torch.cat([far, near]),
        lambda: image_net()(torch.rand(1, 1, 6, 6).to(elsewhere)),
        far.numpy,
        lambda: far.index_add(0, torch.arange(3), far),
    ):
        with pytest.raises(RuntimeError, match=r"same device|not supported"):
            mixed()
    assert torch.equal(far[torch.tensor([2, 0])].cpu(), far.cpu()[[2, 0]])  # an index may be near, as on CUDA
    assert (far + 1.0).device == (far * torch.tensor(2.0)).device == elsewhere


class Moved:
    """A live module on another device, with the runtime that answers for it."""

    tolerance = 0.0

    def __init__(self, module, room):
        self.runtime = TorchRuntime(module)
        like = room.torch(image_net(), 4)
        self.subject, self.outputs = like.subject, like.outputs

    def scores(self, x):
        return self.runtime.raw(x).astype(np.float64)

    def module(self):
        return self.runtime.module


def test_a_live_module_elsewhere_answers_is_attacked_there_and_is_not_bounded(room, elsewhere):
    model = Moved(image_net().to(elsewhere), room)
    assert device.home(model.module()) == elsewhere
    np.testing.assert_array_equal(model.scores(images()), room.torch(image_net(), 4).scores(images()))
    result = room.run(
        "gradient",
        model,
        room.data(images(), [0] * 8, classes=4),
        norms=("linf",),
        eps=(0.2,),
        preset="quick",
    )
    here = room.run(
        "gradient", room.torch(image_net(), 4), room.data(images(), [0] * 8, classes=4),
        norms=("linf",), eps=(0.2,), preset="quick",
    )  # fmt: skip
    assert result.first.outcome["broken"] == here.first.outcome["broken"] != []
    assert "certified" not in result.first.outcome
    subjects = Subjects(model=model, data=room.data(images(), [0] * 8, classes=4), attachments=None)
    assert "on meta, and bounds hold" in CertifiedCheck(Settings()).declines(subjects)


def test_a_module_elsewhere_is_trained_here(room, elsewhere):
    module = image_net().to(elsewhere)
    points = room.data(images(40), [0, 1, 2, 3] * 10, classes=4)
    subjects = Subjects(model=Moved(module, room), data=points, train=points, attachments=None)
    control = TrainingControl(Training(method="pgd", eps=0.1, epochs=1, steps=1, batch=8))
    trained = control.apply(subjects, budget=Meter(Budget()), seed=1).model
    assert device.home(trained).type == "cpu"
    assert device.home(module) == elsewhere
    weights = zip(trained.parameters(), module.parameters(), strict=True)
    assert all(not torch.equal(new, old.cpu()) for new, old in weights)
