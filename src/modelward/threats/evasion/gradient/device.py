"""Where the copy works: on a CUDA device if there is one that gives the same answers, else where it is.

What runs there is full float32 (no TF32) and picks its convolutions the same way each time. Sums may still
come in another order than on a CPU, so that two devices agree up to rounding only; witnesses are always those
that the original runtime confirmed.
"""

from __future__ import annotations

import copy
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, cast, final

import torch
from torch import nn

from modelward.threats.evasion.gradient.steps import BEFORE, Plain, Question, agree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from modelward.threats.evasion.gradient.steps import Seen
    from modelward.threats.evasion.share import Share

_ROOM: Final = 8
"""So many times the memory of its weights must be free for a module to be moved."""
_FASTER: Final = 1.1
"""A batch twice as large is taken when it brings this many times the samples in a second."""
_ALIKE: Final = 8
_SPARE: Final = 64
"""Measurements and comparisons are made where the share covers this many times what they ask."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What an accelerator can do besides running a module.

    Attributes:
        record: see `steps.Recorded`.
        seconds: run something to its end, and say how long it took.
        translate: a module that computes the same with fewer and larger kernels.
        release: give unused memory back.
    """

    record: Callable[[Callable[[], Seen]], Callable[[], Seen]]
    seconds: Callable[[Callable[[], object]], float]
    translate: Callable[[nn.Module], nn.Module]
    release: Callable[[], None]


def accelerator() -> torch.device | None:
    """The current CUDA device; null where there is none. No other is woken up."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else None


def machine(device: torch.device) -> Machine | None:
    """What a device offers; null for a CPU."""
    if device.type != "cuda":
        return None

    def seconds(work: Callable[[], object]) -> float:
        torch.cuda.synchronize(device)
        begin = time.perf_counter()
        work()
        torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    def record(work: Callable[[], Seen]) -> Callable[[], Seen]:
        with torch.cuda.device(device):
            return _graph(work)

    return Machine(record=record, seconds=seconds, translate=_translated, release=torch.cuda.empty_cache)


def home(module: nn.Module) -> torch.device:
    """Where a module's numbers are."""
    found = next(chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if found is None else found.device


def short_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that a device's memory is used up, in torch's words or in those of libraries."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "alloc_failed" in text


def affords(share: Share | None, forward: int, backward: int) -> bool:
    """Book samples that no search asked for, unless a share is nearly spent; null: nobody counts them."""
    if share is None:
        return True
    left = share.passes_left()
    if left is not None and left < _SPARE * (forward + backward):
        return False
    return share.take(forward=forward, backward=backward)


def placed(module: nn.Module, x: Tensor, share: Share | None, notes: list[str]) -> nn.Module:
    """A copy of a module on the accelerator, if it fits there and answers a few inputs as it does here.

    Args:
        module: in evaluation mode; left as it is.
        x: (b, *shape) inputs to compare on, on the CPU; up to 8 are used.
        share: pays for the comparison.
        notes: gets a sentence where the accelerator cannot be used.

    Returns:
        The copy, whose weights need no slopes; or the module itself.
    """
    if home(module).type != "cpu" or len(x) == 0:
        return module
    try:
        device = accelerator()
        size = sum(
            part.numel() * part.element_size() for part in chain(module.parameters(), module.buffers())
        )
        full = (
            device is not None and device.type == "cuda" and _ROOM * size > torch.cuda.mem_get_info(device)[0]
        )
    except RuntimeError as error:  # a driver that does not fit, a device that others hold for themselves
        notes.append(f"CUDA was not used: {_first_line(error)}")
        return module
    if device is None:
        return module
    if full:
        notes.append(f"the module's {size} bytes need more than is free on {device}")
        return module
    x = x[:_ALIKE]
    if not affords(share, 2 * len(x), 2 * len(x)):
        return module
    target = torch.zeros(len(x), dtype=torch.int64)
    asked = Question(x, target, target - 1)
    sure = Plain(module)(asked, "margin")
    try:
        moved = copy.deepcopy(module).requires_grad_(requires_grad=False).to(device)
        there = asked.each(lambda values: values.to(device))
        seen = Plain(moved)(there, "margin").each(lambda values: values.cpu())
    except (RuntimeError, TypeError, ValueError) as error:
        notes.append(f"{device} was not used: {_first_line(error)}")
        return module
    if not agree(seen, sure):
        notes.append(f"{device} was not used: its answers differ from those of the CPU")
        return module
    return moved


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


@contextmanager
def exact() -> Iterator[None]:
    """Full float32 products on CUDA and the same convolutions each time; the settings found are put back."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    wanted: list[tuple[object, str, object]] = [(cudnn, "deterministic", True), (cudnn, "benchmark", False)]
    if torch.torch_version.TorchVersion(torch.__version__) >= "2.9":  # the older names may not be mixed in
        operations = (matmul, *(getattr(cudnn, name) for name in ("conv", "rnn")))
        wanted += [(part, "fp32_precision", "ieee") for part in operations]
    else:
        wanted += [(part, "allow_tf32", False) for part in (matmul, cudnn)]
    before = [(part, name, getattr(part, name)) for part, name, _ in wanted]
    try:
        for part, name, value in wanted:
            setattr(part, name, value)
        yield
    finally:
        for part, name, value in before:
            setattr(part, name, value)


def fullest(rate: Callable[[int], float | None], first: int, last: int) -> int:
    """The batch that is served fastest: doubled while that brings at least a tenth more in a second.

    Args:
        rate: samples in a second for a size of batch; null where it does not fit.
        first: size to begin with.
        last: largest size.
    """
    size, best = first, rate(first) if first * 2 <= last else None
    while best is not None and size * 2 <= last:
        more = rate(size * 2)
        if more is None or more < _FASTER * best:
            break
        size, best = size * 2, more
    return size


def convolutions(module: nn.Module) -> int:
    """How many two-dimensional convolutions a module has."""
    return sum(isinstance(part, nn.Conv2d) for part in module.modules())


def _graph(work: Callable[[], Seen]) -> Callable[[], Seen]:
    """A CUDA graph of some work on fixed tensors, on the current device.

    All runs are on a stream of their own (torch 2.13, "CUDA semantics", section "Whole-network capture"); the
    one that torch would choose belongs to the device of the first graph ever recorded.
    """
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch gives it no types
    main, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
    aside.wait_stream(main)
    try:
        with torch.cuda.stream(aside):  # torch's own context stays on its stream where a recording fails
            for _ in range(BEFORE):
                work()
            with torch.cuda.graph(graph, stream=aside):
                seen = work()
    finally:
        main.wait_stream(aside)

    def play() -> Seen:
        graph.replay()
        return seen

    return play


def _translated(module: nn.Module) -> nn.Module:
    """Slow: it runs a compiler at the first question of each size."""
    return cast("nn.Module", torch.compile(module, dynamic=False))
