"""Where the copy works: what is moved, what is not, what is put back; and CUDA itself where there is one."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from modelward.core.budget import Budget, Meter
from modelward.threats.evasion.gradient import device
from modelward.threats.evasion.gradient.copy import Copy
from modelward.threats.evasion.gradient.device import (
    accelerator,
    affords,
    convolutions,
    exact,
    fullest,
    home,
    machine,
    placed,
    short_of_memory,
)
from modelward.threats.evasion.gradient.steps import Plain, Question, agree
from modelward.threats.evasion.share import Share

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")


def net_of(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(128, 5)).eval()


def inputs(rows=20, seed=0):
    return torch.rand((rows, 3, 8, 8), generator=torch.Generator().manual_seed(seed))


def test_the_accelerator_is_the_current_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert accelerator() == torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert accelerator() is None


@pytest.mark.parametrize("where", ["current_device", "mem_get_info"])
def test_a_device_that_does_not_start_is_not_used(monkeypatch, where):
    """As where the driver is too old, or where another process holds the device for itself."""

    def fails(*_):
        raise RuntimeError(
            "CUDA error: all CUDA-capable devices are busy\nCUDA kernel errors might be reported"
        )

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, where, fails)
    net, notes = net_of(), []
    assert placed(net, inputs(), None, notes) is net
    assert notes == ["CUDA was not used: CUDA error: all CUDA-capable devices are busy"]


def test_a_cpu_offers_nothing():
    assert machine(torch.device("cpu")) is None


def test_the_home_of_a_module_is_that_of_its_weights(elsewhere):
    assert home(nn.ReLU()) == torch.device("cpu")
    assert home(net_of()) == torch.device("cpu")
    assert home(net_of().to(elsewhere)) == elsewhere
    assert home(nn.BatchNorm1d(3, affine=False).to(elsewhere)) == elsewhere  # it has buffers alone


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("anything"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_short_memory_is_told_from_other_errors(error, short):
    assert short_of_memory(error) is short


def test_what_no_search_asked_for_is_not_paid_from_the_last_of_a_share():
    meter = Meter(Budget(passes=1000))
    share = Share(meter)
    assert affords(share, 5, 5)
    assert meter.cost.forward == meter.cost.backward == 5
    assert not affords(share, 8, 8)  # 64 times that is more than what is left
    assert affords(share, 15, 0)
    assert meter.cost.forward == 20
    assert share.cut is None  # a refusal ends no search
    assert affords(None, 10**9, 10**9)


def test_time_that_is_over_refuses():
    now = [0.0]
    share = Share(Meter(Budget(seconds=5.0), clock=lambda: now[0]))
    assert affords(share, 1, 1)
    now[0] = 6.0
    assert not affords(share, 1, 1)
    assert share.cut == "seconds"


def moved(monkeypatch, to, net, share=None, x=None):
    monkeypatch.setattr(device, "accelerator", lambda: to)
    notes = []
    return placed(net, inputs() if x is None else x, share, notes), notes


def test_a_copy_is_moved_and_the_module_left_as_it_is(elsewhere, monkeypatch):
    net = net_of()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    there, notes = moved(monkeypatch, elsewhere, net)
    assert notes == []
    assert home(there) == elsewhere
    assert home(net).type == "cpu"
    assert all(weight.requires_grad for weight in net.parameters())
    assert not any(weight.requires_grad for weight in there.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not there.training


def test_a_comparison_is_booked_on_both_devices(elsewhere, monkeypatch):
    meter = Meter()
    there, _ = moved(monkeypatch, elsewhere, net_of(), Share(meter))
    assert home(there) == elsewhere
    assert (meter.cost.forward, meter.cost.backward) == (16, 16)
    meter = Meter(Budget(passes=500))
    net = net_of()
    assert moved(monkeypatch, elsewhere, net, Share(meter)) == (net, [])
    assert meter.cost.forward == 0


def test_without_an_accelerator_or_points_nothing_is_moved(elsewhere, monkeypatch):
    net = net_of()
    assert moved(monkeypatch, None, net) == (net, [])
    assert moved(monkeypatch, elsewhere, net, x=inputs(0)) == (net, [])
    away = net_of().to(elsewhere)
    assert moved(monkeypatch, elsewhere, away) == (away, [])  # it is the user's, and stays where it is


class Stays(nn.Module):
    """Holds a tensor that is neither parameter nor buffer, which `to` does not move."""

    def __init__(self):
        super().__init__()
        self.net, self.mean = net_of(), torch.full((3, 8, 8), 0.5)

    def forward(self, x):
        return self.net(x - self.mean)


class Differs(nn.Module):
    """Computes something else where it is not at home."""

    def __init__(self, change):
        super().__init__()
        self.net, self.change = net_of(), change

    def forward(self, x):
        return self.net(x) if x.device.type == "cpu" else self.change(self.net, x)


class Locked(nn.Module):
    """Cannot be copied."""

    def __init__(self):
        super().__init__()
        self.net = net_of()

    def __deepcopy__(self, memo):
        raise TypeError("cannot pickle '_thread.lock' object")

    def forward(self, x):
        return self.net(x)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (Stays, "Expected all tensors to be on the same device"),
        (Locked, "cannot pickle"),
        (lambda: Differs(lambda net, x: net(x) + torch.arange(5).to(x.device)), "its answers differ"),
        (lambda: Differs(lambda net, x: net(x.detach())), "its answers differ"),  # right scores, no slopes
        (lambda: Differs(lambda net, x: net(x.detach() + 2 * (x - x.detach()))), "its answers differ"),
    ],
)
def test_a_module_that_the_device_does_not_serve_stays(elsewhere, monkeypatch, net, reason):
    module = net()
    found, notes = moved(monkeypatch, elsewhere, module)
    assert found is module
    assert len(notes) == 1
    assert "meta was not used" in notes[0]
    assert reason in notes[0]


def test_a_module_that_does_not_fit_stays(monkeypatch):
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))  # 965 numbers of 4 bytes
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (8 * 3860 - 1, 10**9))
    assert moved(monkeypatch, torch.device("cuda", 0), net) == (
        net,
        ["the module's 3860 bytes need more than is free on cuda:0"],
    )


def settings():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    precision = [part.fp32_precision for part in (matmul, cudnn.conv, cudnn.rnn)]
    return [*precision, cudnn.deterministic, cudnn.benchmark]


@pytest.mark.skipif(torch.__version__ < "2.9", reason="older torch has other names for these settings")
@pytest.mark.parametrize("before", ["tf32", "ieee"])
def test_products_are_full_float32_meanwhile_and_settings_come_back(before):
    original = settings()
    torch.backends.cuda.matmul.fp32_precision = before
    torch.backends.cudnn.benchmark = True
    try:
        found = settings()
        with exact():
            assert settings() == ["ieee", "ieee", "ieee", True, False]
        assert settings() == found
        with pytest.raises(KeyError), exact():
            raise KeyError
        assert settings() == found
    finally:
        torch.backends.cuda.matmul.fp32_precision = original[0]
        torch.backends.cudnn.benchmark = original[4]
    assert settings() == original


@pytest.mark.parametrize(
    ("rates", "size", "asked"),
    [
        ([100, 190, 300, 310, 900], 256, [64, 128, 256, 512]),
        ([100, 190, 300, 500, 900], 1024, [64, 128, 256, 512, 1024]),
        ([100, 105], 64, [64, 128]),
        ([100, 90], 64, [64, 128]),
        ([None], 64, [64]),
        ([100, 200, None], 128, [64, 128, 256]),
    ],
)
def test_batches_are_doubled_while_that_is_worth_it(rates, size, asked):
    seen = []

    def rate(rows):
        seen.append(rows)
        return rates[len(seen) - 1]

    assert fullest(rate, 64, 1024) == size
    assert seen == asked


def test_the_largest_batch_is_not_exceeded():
    assert fullest(None, 64, 64) == 64  # there is nothing to choose, so nothing is measured
    assert fullest(None, 64, 127) == 64
    assert fullest(float, 64, 300) == 256


def test_only_convolutions_of_images_are_counted():
    assert convolutions(net_of()) == 1
    assert convolutions(nn.Sequential(nn.Conv1d(1, 1, 1), nn.Linear(2, 2))) == 0
    assert convolutions(nn.Sequential(net_of(), net_of())) == 2


class Stream:
    """Writes down what is asked of it."""

    def __init__(self, log, name):
        self.log, self.name = log, name

    def wait_stream(self, other):
        self.log.append(f"{self.name} waits for {other.name}")


class Streams:
    """CUDA's streams and graphs on paper: who waits for whom, and on which stream what is done."""

    def __init__(self, monkeypatch):
        self.log, self.now = [], ["main"]
        main, aside = Stream(self.log, "main"), Stream(self.log, "aside")
        graph = SimpleNamespace(name="graph", replay=lambda: self.log.append("replay"))
        for name, value in {
            "Stream": lambda: aside,
            "current_stream": lambda: main,
            "stream": lambda stream: self.on(stream.name),
            "CUDAGraph": lambda: graph,
            "graph": self.recording,
            "device": lambda at: self.on(str(at)),
            "empty_cache": lambda: None,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)

    @contextmanager
    def on(self, place):
        self.now.append(place)
        try:
            yield
        finally:
            self.now.pop()

    @contextmanager
    def recording(self, graph, stream):
        self.log.append(f"record {graph.name} on {stream.name}")
        yield

    def work(self):
        self.log.append(f"work on {self.now[-1]}")
        return f"answer {len(self.log)}"


def test_a_graph_is_recorded_once_after_three_runs_on_its_own_stream(monkeypatch):
    streams = Streams(monkeypatch)
    play = machine(torch.device("cuda", 1)).record(streams.work)
    assert streams.log == [
        "aside waits for main", *["work on aside"] * 3, "record graph on aside", "work on aside",
        "main waits for aside",
    ]  # fmt: skip
    streams.log.clear()
    assert [play(), play()] == ["answer 6"] * 2  # the memory of the recorded run, written anew
    assert streams.log == ["replay", "replay"]


@pytest.mark.parametrize("runs", [0, 2, 3])
def test_a_recording_that_fails_leaves_the_stream_of_before(monkeypatch, runs):
    """Work that went on elsewhere would not wait for what was asked before."""
    streams = Streams(monkeypatch)

    def work():
        if streams.log.count("work on aside") == runs:
            raise RuntimeError("operation not permitted when stream is capturing")
        return streams.work()

    with pytest.raises(RuntimeError, match="not permitted"):
        machine(torch.device("cuda", 1)).record(work)
    assert streams.now == ["main"]
    assert streams.log[-1] == "main waits for aside"
    assert ("record graph on aside" in streams.log) is (runs == 3)


def test_time_is_taken_when_the_device_is_done(monkeypatch):
    log = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda at: log.append(str(at)))
    taken = machine(torch.device("cuda", 0)).seconds(lambda: log.append("work"))
    assert log == ["cuda:0", "work", "cuda:0"]
    assert 0 <= taken < 5


def test_a_translation_is_for_fixed_sizes(monkeypatch):
    found = []
    monkeypatch.setattr(torch, "compile", lambda module, **choices: found.append((module, choices)) or module)
    net = net_of()
    assert machine(torch.device("cuda", 0)).translate(net) is net
    assert found == [(net, {"dynamic": False})]


@CUDA
@pytest.mark.parametrize("kind", [None, "margin", "ratio", "entropy"])
def test_cuda_answers_as_the_cpu_does_plain_and_recorded(kind):
    net = net_of()
    notes = []
    there = placed(net, inputs(), None, notes)
    assert notes == []
    copy = Copy(there, (3, 8, 8))
    copy.tune(inputs(64).to(copy.device), torch.zeros(64, dtype=torch.int64, device=copy.device))
    with exact():
        for number in range(12):
            rows = (40, 17)[number % 2]
            target = torch.arange(rows) % 5
            asked = Question(inputs(rows, number), target, target - 1)
            far = asked.each(lambda values: values.to(copy.device))
            seen = copy.look(*far, kind).each(lambda values: values.cpu())
            assert agree(seen, Plain(net)(asked, kind))
    used = copy.outcome()["device"]
    assert used["step"].startswith("recorded")
    assert used["notes"] == []


@CUDA
def test_a_module_that_waits_for_the_device_is_asked_plainly():
    class Waits(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net_of()

        def forward(self, x):
            return self.net(x) * (2.0 if bool((x.mean() > -1).item()) else 1.0)

    copy = Copy(placed(Waits().eval(), inputs(), None, []), (3, 8, 8))
    copy.tune(inputs(64).to(copy.device), torch.zeros(64, dtype=torch.int64, device=copy.device))
    target = torch.zeros(40, dtype=torch.int64, device=copy.device)
    for number in range(8):
        x = inputs(40, number).to(copy.device)
        sure = Plain(copy.module)(Question(x, target, target - 1), "margin")
        assert agree(copy.look(x, target, target - 1, "margin"), sure)
    assert copy.outcome()["device"]["step"] == "plain"
    assert copy.outcome()["device"]["notes"]


@CUDA
def test_a_translated_module_answers_the_same():
    copy = Copy(net_of().to("cuda"), (3, 8, 8))
    translated = machine(copy.device).translate(copy.module)
    target = torch.arange(64, device=copy.device) % 5
    asked = Question(inputs(64).to(copy.device), target, target - 1)
    assert agree(Plain(translated)(asked, "margin"), Plain(copy.module)(asked, "margin"))
