"""A training between two epochs: everything that is needed to go on, in one file."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast, final

import torch

from modelward.errors import LedgerUnwritable
from modelward.ledger.blobs import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from modelward.core.canonical import JSON


@final
@dataclass(slots=True, kw_only=True)
class State:
    """What a training has reached.

    Attributes:
        epoch: epochs that are complete.
        weights: of the network now.
        optimiser: its state.
        steps: of the inner attack; they grow once one step was overfitted to.
        best: weights of the best epoch so far, and what it scored; null before eps was reached.
        history: one entry per epoch.
        spent: CPU seconds, forward and backward samples of the earlier processes.
        done: whether nothing is left to do, and if a budget ended it, which.
    """

    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)  # torch's own form
    steps: int = 1
    best: tuple[float, dict[str, Tensor]] | None = None
    history: list[dict[str, JSON]] = field(default_factory=list)
    spent: tuple[float, int, int] = (0.0, 0, 0)
    done: bool = False


_FIELDS = ("epoch", "weights", "optimiser", "steps", "best", "history", "spent", "done")


def save(path: Path, identity: str, state: State) -> None:
    """Write a state, whole or not at all, 0600.

    Raises:
        LedgerUnwritable: the path cannot be written.
    """
    stream = io.BytesIO()
    torch.save({"identity": identity, **{name: getattr(state, name) for name in _FIELDS}}, stream)
    try:
        write_atomically(path, stream.getvalue())
    except OSError as error:
        raise LedgerUnwritable(f"{path}: cannot be written ({error.strerror})") from error


def load(path: Path, identity: str) -> State | None:
    """Read a state of the same training; null when there is none, or it is of another or damaged.

    A damaged or foreign file costs a repetition, and nothing else: it is read as tensors and plain values.

    Args:
        path: where it may be.
        identity: digest of everything that the outcome depends on.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, pickle.UnpicklingError):
        return None
    if not isinstance(content, dict) or content.get("identity") != identity or set(_FIELDS) - set(content):
        return None
    return State(**{name: cast("Any", content[name]) for name in _FIELDS})
