"""The copy: how large batches are, what an accelerator is used for, and what happens when its memory is short."""

from __future__ import annotations

from itertools import count

import pytest
import torch
from torch import nn

from modelward.core.budget import Budget, Meter
from modelward.threats.evasion.gradient import copy as gradient_copy
from modelward.threats.evasion.gradient.copy import Copy
from modelward.threats.evasion.gradient.device import Machine
from modelward.threats.evasion.gradient.steps import Plain, Question, agree
from modelward.threats.evasion.share import Share

SHAPE = (2, 8, 8)


class Counts(nn.Module):
    """A net that counts its samples and can take so many at once; a counter in a list stays out of copies."""

    def __init__(self, layers=1, most=10**9):
        super().__init__()
        torch.manual_seed(layers)
        parts = [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU()]
        for _ in range(layers - 1):
            parts += [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
        self.net = nn.Sequential(*parts, nn.Flatten(), nn.Linear(256, 4))
        self.most, self.batches, self.last = most, [], []

    def forward(self, x):
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        self.batches.append(len(x))
        self.last.append(x.stride()[1] == 1)
        return self.net(x)


def question(rows, seed=0):
    random = torch.Generator().manual_seed(seed)
    x = torch.rand((rows, *SHAPE), generator=random)
    target = torch.randint(0, 4, (rows,), generator=random)
    return Question(x, target, torch.randint(-1, 4, (rows,), generator=random))


class Agent:
    """A machine on paper: what it records it calls, and its clock says how long a batch takes."""

    def __init__(self, net, takes=lambda rows, last: 1.0):
        self.net, self.takes = net, takes
        self.recorded = self.released = 0
        self.translated = []

    def offer(self):
        def seconds(work):
            work()
            return self.takes(self.net.batches[-1], self.net.last[-1])

        def record(work):
            self.recorded += 1
            return work

        def translate(module):
            self.translated.append(module)
            return module

        def release():
            self.released += 1

        return Machine(record=record, seconds=seconds, translate=translate, release=release)


def copy_on(net, takes=lambda rows, last: 1.0, **choices):
    agent = Agent(net, takes)
    return Copy(net.eval(), SHAPE, offer=agent.offer(), **choices), agent


def tuned(rows, takes, budget=None, net=None):
    net = net or Counts()
    meter = Meter(budget or Budget())
    copy, agent = copy_on(net, takes, share=Share(meter))
    asked = question(rows)
    copy.tune(asked.x, asked.target)
    return copy, meter, agent


@pytest.mark.parametrize(
    ("shape", "cpu", "far"),
    [((4,), 512, 8192), ((1, 28, 28), 334, 8192), ((3, 32, 32), 85, 8192), ((3, 512, 512), 8, 85)],
)
def test_batches_follow_from_the_size_of_inputs(shape, cpu, far):
    assert Copy(nn.Flatten(), shape).batch == cpu
    assert Copy(nn.Flatten(), shape, offer=Agent(None).offer()).batch == far


@pytest.mark.parametrize("kind", [None, "margin", "ratio", "entropy"])
def test_on_a_cpu_a_question_is_one_plain_step(kind):
    net, asked = Counts().eval(), question(30)
    meter = Meter()
    copy = Copy(net, SHAPE, share=Share(meter))
    copy.tune(asked.x, asked.target)
    assert net.batches == []
    seen = copy.look(*asked, kind)
    assert net.batches == [30]
    assert not net.last[0]
    sure = Plain(net)(asked, kind)
    assert torch.equal(seen.margin, sure.margin)
    assert kind is None or torch.equal(seen.slope, sure.slope)
    assert meter.cost.forward == 0  # the caller books what it asks
    assert copy.outcome() == {}
    torch.testing.assert_close(copy.scores(asked.x), net(asked.x).detach())


def test_deep_nets_have_their_channels_last_on_a_cpu():
    net, meter = Counts(layers=4).eval(), Meter()
    copy = Copy(net, SHAPE, share=Share(meter))
    for number in range(5):
        asked = question(30, number)
        assert agree(copy.look(*asked, "margin"), Plain(net)(asked, "margin"))
    assert [one for one, rows in zip(net.last, net.batches, strict=True) if rows == 30][::2] == [True] * 5
    assert (meter.cost.forward, meter.cost.backward) == (32, 32)  # two comparisons of 16
    assert copy.outcome() == {}


def test_a_deep_net_that_needs_its_channels_first_gets_them():
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Counts(layers=4).net[:-2]
            self.head = nn.Linear(256, 4)

        def forward(self, x):
            return self.head(self.net(x).view(len(x), -1))

    net = Views().eval()
    copy = Copy(net, SHAPE)
    for number in range(3):
        asked = question(12, number)
        assert agree(copy.look(*asked, "margin"), Plain(net)(asked, "margin"))
    found = copy.outcome()["device"]
    assert found["step"] == "plain"
    assert "channels last: given up, view size is not compatible" in found["notes"][0]


@pytest.mark.parametrize(
    ("rows", "takes", "batch"),
    [
        (1000, lambda rows, _: 1.0 if rows <= 256 else rows / 256, 256),  # full at 256
        (1000, lambda rows, _: 1.0, 8192),  # larger is faster up to all points: perhaps beyond
        (1000, lambda rows, _: float(rows), 64),
        (40, lambda rows, _: float(rows), 8192),  # too few points to tell
    ],
)
def test_the_batch_that_is_served_fastest_is_measured_once(rows, takes, batch):
    copy, meter, _ = tuned(rows, takes)
    assert copy.batch == batch
    forward = meter.cost.forward
    assert forward == sum(copy.module.batches)  # every sample is booked
    asked = question(rows)
    copy.tune(asked.x, asked.target)
    assert meter.cost.forward == forward


def test_measuring_is_for_who_can_pay():
    copy, meter, _ = tuned(1000, lambda rows, _: 1.0, Budget(passes=5000))
    assert meter.cost.forward == 1  # the operations of one sample are counted
    assert meter.cut is None
    assert copy.batch == 64


def test_a_batch_that_does_not_fit_is_not_chosen():
    copy, _, agent = tuned(1000, lambda rows, _: 1.0, net=Counts(most=300))
    assert copy.batch == 256
    assert agent.released == 1


@pytest.mark.parametrize(("factor", "name"), [(0.8, "recorded, channels last"), (1.2, "recorded")])
def test_the_faster_layout_is_chosen(factor, name):
    copy, _, agent = tuned(64, lambda rows, last: factor if last else 1.0)
    for number in range(8):
        asked = question(64, number)
        assert agree(copy.look(*asked, "margin"), Plain(copy.module)(asked, "margin"))
    assert agent.recorded == 1
    assert copy.outcome()["device"]["step"] == name


def test_a_layout_that_fails_is_not_chosen():
    class First(Counts):
        def forward(self, x):
            if x.stride()[1] == 1:
                raise RuntimeError("view size is not compatible")
            return Counts.forward(self, x)

    copy, _, agent = tuned(64, lambda rows, last: 1.0, net=First())
    assert copy.outcome()["device"]["step"] == "recorded"
    assert copy.outcome()["device"]["notes"] == []
    assert agent.released == 1


def test_an_error_of_the_module_is_raised_and_not_measured():
    class Breaks(Counts):
        def forward(self, x):
            raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        tuned(200, lambda rows, last: 1.0, net=Breaks())


@pytest.mark.parametrize("most", [1, 7, 16, 99])
@pytest.mark.parametrize("kind", [None, "ratio"])
def test_where_memory_is_short_a_batch_is_asked_in_halves(most, kind):
    net = Counts(most=most)
    copy, agent = copy_on(net)
    asked = question(100)
    seen = copy.look(*asked, kind)
    net.most = 10**9
    assert agree(seen, Plain(net)(asked, kind))
    halves = [100 // 2**i for i in range(1, 8) if 100 // 2 ** (i - 1) > most]
    assert copy.outcome()["device"]["notes"] == [
        f"memory is short: {rows} samples at once" for rows in halves
    ]
    assert agent.released == len(halves)
    net.batches.clear()
    copy.look(*asked, kind)
    assert max(net.batches) == halves[-1]  # it is remembered


def test_one_sample_that_does_not_fit_is_an_error():
    copy, _ = copy_on(Counts(most=0))
    with pytest.raises(torch.OutOfMemoryError):
        copy.look(*question(3), "margin")


def test_other_errors_are_no_reason_for_halves():
    class Breaks(Counts):
        def forward(self, x):
            raise RuntimeError("no kernel image is available")

    copy, agent = copy_on(Breaks())
    with pytest.raises(RuntimeError, match="no kernel"):
        copy.look(*question(3), "margin")
    assert agent.released == 0


def worked(monkeypatch, operations, budget=None, steps=12):
    monkeypatch.setattr(gradient_copy, "_WORTH", operations)
    net = Counts()
    copy, agent = copy_on(net, share=Share(Meter(budget or Budget())))
    first = question(64)
    copy.tune(first.x, first.target)
    at = []
    for number in range(steps):
        asked = question(64, number)
        assert agree(copy.look(*asked, "margin"), Plain(net)(asked, "margin"))
        at.append(len(agent.translated))
    return copy, agent, at


def test_a_module_is_translated_once_when_that_is_worth_it(monkeypatch):
    convolution, linear = 2 * 64 * 2 * 4 * 9, 2 * 256 * 4
    each = 3 * 64 * (convolution + linear)  # forward once, backward twice as much
    copy, agent, at = worked(monkeypatch, 5 * each)
    assert at == [0] * 4 + [1] * 8
    assert agent.translated == [copy.module]
    assert copy.outcome()["device"]["step"] == "recorded, translated"
    assert copy.outcome()["device"]["notes"] == []
    _, _, at = worked(monkeypatch, 13 * each)
    assert at == [0] * 12


def test_a_module_whose_operations_cannot_be_counted_is_not_translated(monkeypatch):
    class Counter:
        def __init__(self, display):
            assert not display

        def __enter__(self):
            raise AssertionError("unknown shapes of attention")

        def __exit__(self, *_):
            raise NotImplementedError

    monkeypatch.setattr(gradient_copy, "FlopCounterMode", Counter)
    copy, agent, at = worked(monkeypatch, 1.0)
    assert at == [0] * 12
    assert agent.translated == []
    assert copy.outcome()["device"]["notes"] == []


def test_who_has_a_limit_of_time_is_not_kept_waiting_for_a_translation(monkeypatch):
    copy, agent, _ = worked(monkeypatch, 1.0, Budget(seconds=3600.0))
    assert agent.translated == []
    assert copy.outcome()["device"]["step"] in {"recorded", "recorded, channels last"}


def test_a_translation_that_answers_otherwise_is_given_up(monkeypatch):
    monkeypatch.setattr(gradient_copy, "_WORTH", 1.0)
    net = Counts()
    agent = Agent(net)
    offer = agent.offer()

    class Flat(nn.Module):
        def forward(self, x):
            return net(x.detach() + 0 * x)

    machine = Machine(
        record=offer.record, seconds=offer.seconds, translate=lambda _: Flat(), release=offer.release
    )
    copy = Copy(net.eval(), SHAPE, offer=machine)
    first = question(64)
    copy.tune(first.x, first.target)
    for number in range(6):
        asked = question(64, number)
        assert agree(copy.look(*asked, "margin"), Plain(net)(asked, "margin"))
    notes = copy.outcome()["device"]["notes"]
    assert notes == ["recorded, translated: given up, its answers differ from those of the plain step"]
    assert copy.outcome()["device"]["step"].startswith("recorded")


def test_the_outcome_says_how_the_accelerator_was_used():
    copy, _ = copy_on(Counts(), notes=["known before"])
    for number, rows in zip(range(9), count(10), strict=False):
        copy.look(*question(rows, number), "entropy")
    assert copy.outcome() == {
        "device": {"name": "cpu", "batch": 8192, "step": "plain", "filled": 0, "notes": ["known before"]}
    }
    copy, _, _ = tuned(64, lambda rows, last: 1.0)
    for number in range(6):
        copy.look(*question(9, number), "entropy")
    assert copy.outcome()["device"]["filled"] == 3 * 7


def test_the_size_of_batches_does_not_change_what_is_said_of_a_row():
    """Random numbers come with the searches, and nothing else may tell a row from its company."""
    net, asked = Counts().eval(), question(50)
    whole = Copy(net, SHAPE).look(*asked, "ratio")
    alone = [Copy(net, SHAPE).look(*part, "ratio") for part in asked.parts(1)]
    torch.testing.assert_close(torch.cat([one.slope for one in alone]), whole.slope, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.cat([one.margin for one in alone]), whole.margin, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_size_of_batches_does_not_change_what_is_found(room, monkeypatch, norm):
    """An accelerator's best batch is measured, so nothing that is found may hang on it."""
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))
    with torch.no_grad():  # borders through the middle of the box
        net[0].weight *= 3
        net[2].bias -= net(torch.rand(500, 6)).mean(dim=0)
    model = room.torch(net, 3)
    points = room.labelled(model, torch.rand((14, 6), generator=torch.Generator().manual_seed(2)).numpy())
    found = []
    for size in (3, 512):
        monkeypatch.setattr(gradient_copy, "_BATCH", (3, size))
        result = room.run("gradient", model, points, norms=(norm,), eps=(0.05, 0.15), preset="quick")
        found.append([(one.outcome["broken"], one.outcome.get("certified")) for one in result.evidence])
    assert found[0] == found[1]
    assert 0 < len(found[0][0][0]) < len(found[0][1][0])
