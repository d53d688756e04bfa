"""Evidence: what happened, as it happened. Numbers are derived from it by a judge, as often as wanted."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import msgspec

from modelward.core.canonical import JSON, digest

Cut: TypeAlias = Literal["seconds", "passes", "queries", "interrupted"]
"""Why a check stopped before its own end."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a measurement consumed.

    Attributes:
        seconds: wall time.
        forward: samples sent forward through a differentiable copy.
        backward: samples differentiated.
        queries: samples answered by the model's own runtime.
        bounds: linear forms that a proof sent backward through a copy; each costs about as much as a sample.
            Absent where there were none, so that evidence written before it was counted keeps its digest.
    """

    seconds: float = 0.0
    forward: int = 0
    backward: int = 0
    queries: int = 0
    bounds: int | msgspec.UnsetType = msgspec.UNSET

    @property
    def passes(self) -> int:
        """What a limit of passes counts: samples forward and backward, and the linear forms of proofs."""
        return self.forward + self.backward + (self.bounds or 0)

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            seconds=self.seconds + other.seconds,
            forward=self.forward + other.forward,
            backward=self.backward + other.backward,
            queries=self.queries + other.queries,
            bounds=((self.bounds or 0) + (other.bounds or 0)) or msgspec.UNSET,
        )


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded measurement.

    Attributes:
        check: id of the check that made it.
        version: the check's version; it changes whenever the same input could give another outcome.
        parameters: everything that was chosen (norm, eps, steps, ...).
        n: how many samples (rows, files, probes) the outcome speaks of.
        seed: the child seed the check was given, ``0 <= seed < 2**53``.
        outcome: what was observed, per point where a claim combines several checks; never a judgement.
        unit: unit of the outcome's numbers.
        cost: what it consumed.
        subjects: role (``model``, ``data``, ``train``, ``artifact``) to digest.
        attachments: name to digest of arrays stored beside the ledger (witnesses).
        cut: why the measurement stopped early, or null when it is whole.
    """

    check: str
    version: int
    parameters: dict[str, JSON]
    n: int
    seed: int
    outcome: dict[str, JSON]
    unit: str
    cost: Cost
    subjects: dict[str, str]
    attachments: dict[str, str] = {}
    cut: Cut | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON; what claims and findings refer to."""
        return digest(to_json(self))


def to_json(value: msgspec.Struct) -> dict[str, JSON]:
    """Turn a value type into plain JSON values."""
    plain: dict[str, JSON] = msgspec.to_builtins(value)
    return plain


def finite(value: float, reason: str) -> dict[str, JSON]:
    """Write a number that may be NaN or infinite: ``{"value": x}``, or ``{"value": null, "reason": ...}``."""
    if math.isfinite(value):
        return {"value": float(value)}
    return {"value": None, "reason": reason}
