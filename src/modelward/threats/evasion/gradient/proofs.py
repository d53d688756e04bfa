"""Cheap proofs between cheap and dear attacks: a point that is proved needs no more of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np

from modelward.core.check import Settings
from modelward.errors import OperatorUnsupported
from modelward.threats.evasion.modules import elsewhere

if TYPE_CHECKING:
    from torch import nn

    from modelward.core.canonical import JSON
    from modelward.numeric.types import IntArray
    from modelward.threats.evasion.arena import Arena

_CHUNK: Final = 16
_NUMBERS: Final = 1 << 17


@final
@dataclass(frozen=True, slots=True)
class Proofs:
    """What cheap bounds say of some points.

    Attributes:
        bounded: positions of the points that were bounded, ascending.
        kinds: name of each kind of proof to the positions that it secures.
    """

    bounded: IntArray
    kinds: dict[str, IntArray]

    @property
    def certified(self) -> IntArray:
        """Positions with a proof, ascending."""
        return np.sort(np.concatenate([np.zeros(0, np.int64), *self.kinds.values()]))

    def outcome(self, rows: IntArray) -> dict[str, JSON]:
        """For evidence; nothing where nothing was bounded."""
        if len(self.bounded) == 0:
            return {}
        listed: dict[str, JSON] = {
            name: [int(row) for row in rows[index]] for name, index in self.kinds.items()
        }
        return {
            "bounded": [int(row) for row in rows[self.bounded]],
            "certified": [int(row) for row in rows[self.certified]],
            "proofs": listed,
        }


def secured(module: nn.Module, tolerance: float, arena: Arena, order: IntArray) -> Proofs:
    """Try intervals and linear relaxation on points, until a whole chunk gains nothing.

    Args:
        module: the copy, in evaluation mode.
        tolerance: see `Differentiable.tolerance`.
        arena: the threat, and what is booked.
        order: positions, those that look safest first.
    """
    import torch

    from modelward.threats.evasion.bounds.cascade import KINDS
    from modelward.threats.evasion.bounds.propagate import traced
    from modelward.threats.evasion.certified import Prover

    nothing = Proofs(np.zeros(0, np.int64), {})
    values = arena.reach.points.reshape(len(arena.standing), -1).astype(np.float64)
    order = order[np.isfinite(values[order]).all(axis=1)]
    if len(order) == 0 or elsewhere(module) is not None:
        return nothing
    try:
        prover = Prover(module, traced(module), tolerance)
        for rows in (1, 2):  # some graphs hold for one row only
            prover.enclose(arena.reach, order[np.zeros(rows, np.int64)])
        if not prover.faithful(arena.reach.points[order[:1]]):
            return nothing
    except OperatorUnsupported:
        return nothing
    cascade = prover.cascade(arena.reach, arena.points.target, Settings(preset="quick"), arena.share.take)
    size = max(1, min(_CHUNK, _NUMBERS // max(1, values.shape[1])))
    with torch.no_grad():
        for begin in range(0, len(order), size):
            part = torch.from_numpy(order[begin : begin + size])
            if not cascade.cheap(part) or not bool((cascade.proved[part] >= 0).any()):
                break
    kind = cascade.proved.numpy()
    found = {name: np.flatnonzero(kind == i) for i, name in enumerate(KINDS)}
    kinds = {name: index for name, index in found.items() if len(index)}
    return Proofs(np.flatnonzero(cascade.bounded.numpy()), kinds)
