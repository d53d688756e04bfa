"""A training between two epochs: everything that is needed to go on, in one file."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, final

import msgspec
import torch

from modelward.core.evidence import Cut  # msgspec reads it
from modelward.errors import LedgerUnwritable
from modelward.ledger.blobs import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn, optim

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
        done: whether nothing is left to do.
        cut: the budget that ended it; null: none did.
    """

    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)  # torch's own form
    steps: int = 1
    best: tuple[float, dict[str, Tensor]] | None = None
    history: list[dict[str, JSON]] = field(default_factory=list)
    spent: tuple[float, int, int] = (0.0, 0, 0)
    done: bool = False
    cut: Cut | None = None


_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e15)]


class _Plain(msgspec.Struct):
    """The part of a state that is no tensor, as it is read back."""

    epoch: _Count
    steps: Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
    history: list[dict[str, bool | int | float | str | None]]
    spent: tuple[_Seconds, _Count, _Count]
    done: bool
    cut: Cut | None


_FIELDS: Final = ("epoch", "weights", "optimiser", "steps", "best", "history", "spent", "done", "cut")
_MARK: Final = b"modelward training 2\n"
_SUM: Final = hashlib.sha256().digest_size
_UNREADABLE: Final = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
    OverflowError, MemoryError, pickle.UnpicklingError, struct.error,
)  # fmt: skip
"""What torch raises on content that it did not write."""


def save(path: Path, identity: str, state: State) -> None:
    """Write a state, whole or not at all, 0600.

    Raises:
        LedgerUnwritable: the path cannot be written.
    """
    stream = io.BytesIO()
    torch.save({name: getattr(state, name) for name in _FIELDS}, stream)
    content = stream.getvalue()
    try:
        write_atomically(path, _MARK + _sum(identity, content) + content)
    except OSError as error:
        raise LedgerUnwritable(f"{path}: cannot be written ({error.strerror})") from error


def load(path: Path, identity: str, module: nn.Module, optimiser: optim.Adam) -> State | None:
    """Read a state of the same training; null when there is none, or it is of another or damaged.

    A damaged or foreign file costs a repetition, and nothing else. The digest in front of the content tells
    damage; whoever can compute one could write another training as well, so the content is read as tensors
    and plain values, and used where every one of them has the type and shape that this training gives it.

    Args:
        path: where it may be.
        identity: digest of everything that the outcome depends on.
        module: what is trained, before its first epoch.
        optimiser: of its weights, before its first step.
    """
    try:
        written = path.read_bytes()
    except OSError:
        return None
    head, content = written[: len(_MARK) + _SUM], written[len(_MARK) + _SUM :]
    if head != _MARK + _sum(identity, content):
        return None
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except _UNREADABLE:
        return None
    if not isinstance(found, dict) or set(found) != set(_FIELDS):
        return None
    weights, best = dict(module.state_dict()), found["best"]
    if not _alike(found["weights"], weights) or not _of_adam(found["optimiser"], optimiser):
        return None
    if best is not None and not _alike(best, (0.0, weights)):
        return None
    try:
        plain = msgspec.convert({name: found[name] for name in _Plain.__struct_fields__}, _Plain)
    except msgspec.ValidationError:
        return None
    return State(**found | msgspec.structs.asdict(plain))


def _sum(identity: str, content: bytes) -> bytes:
    return hashlib.sha256(identity.encode() + b"\n" + content).digest()


def _of_adam(found: object, optimiser: optim.Adam) -> bool:
    """Whether this is a state of that optimiser, before its first step or after some."""
    if not isinstance(found, dict) or set(found) != {"state", "param_groups"}:
        return False
    groups, states = found["param_groups"], found["state"]
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    return (
        _alike(groups, optimiser.state_dict()["param_groups"])
        and [number for group in groups for number in group["params"]] == list(range(len(weights)))
        and isinstance(states, dict)
        and set(states) <= set(range(len(weights)))
        and all(
            _alike(state, {"step": torch.tensor(0.0), "exp_avg": weights[i], "exp_avg_sq": weights[i]})
            for i, state in states.items()
        )
    )


def _alike(found: object, wanted: object) -> bool:
    """Whether two nested values have the same types, keys, lengths, shapes and dtypes."""
    if isinstance(found, torch.Tensor) and isinstance(wanted, torch.Tensor):
        return found.shape == wanted.shape and found.dtype == wanted.dtype
    if isinstance(found, dict) and isinstance(wanted, dict):
        return list(found) == list(wanted) and all(_alike(found[key], wanted[key]) for key in wanted)
    if isinstance(found, list | tuple) and isinstance(wanted, list | tuple):
        same = len(found) == len(wanted)
        return same and all(_alike(one, other) for one, other in zip(found, wanted, strict=True))
    return type(found) is type(wanted)
