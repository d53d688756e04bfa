"""Controls: defences that are applied to a model, and say what they did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, final

if TYPE_CHECKING:
    from modelward.core.budget import Meter
    from modelward.core.check import Subjects
    from modelward.core.evidence import Evidence


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Hardened:
    """What a control made.

    Attributes:
        model: the defended model as a live object that an audit takes; the one that was given is unchanged.
        evidence: what was done, measured on held-out training data only, and what it cost.
    """

    model: object
    evidence: Evidence


class Control(Protocol):
    """One defence. Constructed with its options; holds no other state."""

    id: str
    version: int

    def declines(self, subjects: Subjects) -> str | None:
        """Why this defence cannot be applied to these subjects, in one sentence; null when it can."""
        ...

    def apply(self, subjects: Subjects, *, budget: Meter, seed: int) -> Hardened:
        """Apply the defence to a copy of the model.

        Args:
            subjects: the model, and the training data that the defence may look at.
            budget: asked before every expense; when it refuses, what there is is returned.
            seed: the only source of randomness, ``0 <= seed < 2**53``.
        """
        ...
