"""The differentiable copy at work: scores and slopes of a batch, and how large batches are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, final

import torch
from torch.utils.flop_counter import FlopCounterMode

from modelward.threats.evasion.gradient.device import (
    affords,
    convolutions,
    fullest,
    home,
    machine,
    short_of_memory,
)
from modelward.threats.evasion.gradient.losses import logarithms
from modelward.threats.evasion.gradient.steps import Checked, Full, Plain, Question, Recorded, bucket, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from modelward.core.canonical import JSON
    from modelward.threats.evasion.gradient.device import Machine
    from modelward.threats.evasion.gradient.losses import Loss
    from modelward.threats.evasion.gradient.steps import Seen, Way
    from modelward.threats.evasion.share import Share

_BATCH: Final = (8, 512)
_NUMBERS: Final = 1 << 21
"""Values that one batch may hold at once on a CPU, inputs and activations: what caches serve well."""
_NUMBERS_DEVICE: Final = 1 << 29
_BATCH_DEVICE: Final = (64, 8192)
_BESIDE_INPUT: Final = 8  # activations per input number, where none is seen
_DEEP: Final = 4
"""Convolutions from which on channels last were faster on a CPU: up to 1.5 times in a residual net, not in
nets of two."""
_RUNS: Final = 2
_WORTH: Final = 3e14
"""Operations after which a module is translated: about as many as a device does in the time which that takes.
They are counted, not timed, so that the same run translates at the same place."""


@final
class Copy:
    """A module in evaluation mode.

    On an accelerator steps are recorded, images lie in memory as is faster, and a module that is asked very
    often is translated. Whatever is not the plain step is checked against it (see `steps.Checked`).

    Args:
        module: (b, *shape) float32 to (b, k).
        shape: of one sample.
        share: pays for measurements and comparisons; null: nobody counts them.
        notes: what is known of the device so far.
        offer: what the device offers; null: what is known of it.

    Attributes:
        module: as given.
        device: where its parameters are.
        share: as given; that of the next threat takes its place.
        batch: samples at once. On a CPU it follows from the size of the inputs, not from a clock: what is
            found must not depend on how busy the machine is.
    """

    def __init__(
        self,
        module: nn.Module,
        shape: tuple[int, ...],
        *,
        share: Share | None = None,
        notes: Sequence[str] = (),
        offer: Machine | None = None,
    ) -> None:
        self.module, self.device, self.share = module, home(module), share
        self._offer = offer or machine(self.device)
        self._plain = Plain(module)
        self._image = len(shape) == 3 and convolutions(module) > 0
        self._recorded: list[Recorded] = []
        self._notes = [*notes]
        self._done, self._each, self._most = 0.0, 0.0, 1
        self._ready = self._offer is None
        ways: list[tuple[str, Way]] = []
        if self._offer is None:
            room, (least, most) = _NUMBERS, _BATCH
            if self._image and convolutions(module) >= _DEEP:
                ways = [("channels last", Plain(module, last=True))]
        else:
            room, (least, most) = _NUMBERS_DEVICE, _BATCH_DEVICE
        self.batch = max(least, min(most, room // max(1, math.prod(shape) * _BESIDE_INPUT)))
        self._part = self.batch
        self._step = Checked(self._plain, ways, self._affords, sized=self._offer is not None)

    def tune(self, x: Tensor, target: Tensor) -> None:
        """Measure an accelerator once: the batch that it serves fastest, and the layout of images.

        Args:
            x: (n, *shape) samples as they will be asked about.
            target: (n,) int64 true columns.
        """
        offer = self._offer
        if self._ready or offer is None or len(x) == 0:
            return
        self._ready = True
        here = (x, target)
        last = min(self.batch, max(_BATCH_DEVICE[0], bucket(len(x))))
        size = fullest(lambda rows: self._rate(offer, self._plain, rows, here), _BATCH_DEVICE[0], last)
        if size * 2 <= last:  # otherwise larger ones may be faster still
            self.batch = self._part = size
        ways = [("recorded", self._plain)]
        if self._image:
            way = Plain(self.module, last=True)
            slow, fast = (self._rate(offer, one, size, here) for one in (self._plain, way))
            ways += [("recorded, channels last", way)] if (fast or 0.0) > (slow or 0.0) else []
        for name, way in ways:
            self._record(offer, name, way)
        if self._affords(1, 0):
            self._each = self._operations(x[:1])

    def scores(self, x: Tensor) -> Tensor:
        """Logits, or logarithms of probabilities, without slopes."""
        with torch.no_grad():
            return logarithms(self.module(x))

    def look(self, x: Tensor, target: Tensor, goal: Tensor, kind: Loss | None) -> Seen:
        """Ask about a batch; where memory is short, in halves.

        Args:
            x: (b, *shape).
            target: (b,) int64 true columns.
            goal: (b,) int64 columns, -1 for none.
            kind: the loss to differentiate; null for no slope, the value is then the margin.

        Raises:
            RuntimeError: the module raises, or one sample needs more memory than there is.
        """
        if self._offer is None:
            return self._step(Question(x, target, goal), kind)
        self._most = max(self._most, min(len(x), self._part))
        self._translate(self._offer, len(x) * (1 if kind is None else 3))
        while True:
            try:
                return joined(
                    [self._step(part, kind) for part in Question(x, target, goal).parts(self._part)]
                )
            except RuntimeError as error:
                if self._part == 1 or not short_of_memory(error):
                    raise
            self._offer.release()
            self._part = max(1, min(self._part, len(x)) // 2)
            self._notes.append(f"memory is short: {self._part} samples at once")

    def outcome(self) -> dict[str, JSON]:
        """For evidence: how an accelerator was used; nothing where there is none and nothing was given up."""
        notes: list[JSON] = [*self._notes, *self._step.notes]
        if self._offer is None and not notes:
            return {}
        used: dict[str, JSON] = {
            "name": str(self.device),
            "batch": self.batch,
            "step": self._step.name,
            "filled": sum(way.filled for way in self._recorded),
            "notes": notes,
        }
        return {"device": used}

    def _affords(self, forward: int, backward: int) -> bool:
        return affords(self.share, forward, backward)

    def _rate(self, offer: Machine, way: Way, size: int, here: tuple[Tensor, Tensor]) -> float | None:
        """Samples in a second; null where memory or the share is short, or only the plain way works."""
        x, target = (values[torch.arange(size, device=values.device) % len(values)] for values in here)
        if not self._affords(_RUNS * size, _RUNS * size):
            return None
        asked = Question(x, target, torch.full_like(target, -1))
        try:
            return size / min(offer.seconds(lambda: way(asked, "margin")) for _ in range(_RUNS))
        except RuntimeError as error:
            if way is self._plain and not short_of_memory(error):
                raise
        offer.release()
        return None

    def _operations(self, x: Tensor) -> float:
        """Of one question forward; 0 where torch's counter does not know the module's shapes."""
        try:
            with FlopCounterMode(display=False) as counted:
                self.scores(x)
        except (RuntimeError, AssertionError, TypeError, ValueError):
            return 0.0
        return float(counted.get_total_flops())

    def _record(self, offer: Machine, name: str, way: Way) -> None:
        recorded = Recorded(way, offer.record, self._affords)
        self._recorded.append(recorded)
        self._step.prefer(name, recorded)

    def _translate(self, offer: Machine, samples: int) -> None:
        """Translate the module for the fullest batches once that is worth the time that it takes."""
        before = self._done
        self._done += samples * self._each
        hurry = self.share is not None and self.share.seconds_left() is not None
        if before < _WORTH <= self._done and not hurry:
            way = Full(Plain(offer.translate(self.module)), self._plain, bucket(self._most))
            self._record(offer, "recorded, translated", way)
