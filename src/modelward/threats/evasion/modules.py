"""Using a torch module without leaving a trace in it."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


def elsewhere(module: nn.Module) -> str | None:
    """A device beside the CPU that holds a parameter or a buffer of a module; null: none does."""
    devices = {part.device.type for part in chain(module.parameters(), module.buffers())}
    return min(devices - {"cpu"}, default=None)


@contextmanager
def as_evaluated(module: nn.Module) -> Iterator[None]:
    """Put a module and its parts in evaluation mode, and give each its own mode back afterwards."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
