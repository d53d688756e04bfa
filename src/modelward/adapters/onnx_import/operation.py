"""One operator call as a translator sees it: typed access to inputs and attributes, nothing overlooked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import numpy as np
import torch

from modelward.adapters.onnx_import.builder import Constant, Signal, Value
from modelward.adapters.onnx_import.graph import plain
from modelward.errors import OperatorUnsupported

if TYPE_CHECKING:
    from torch import Tensor

    from modelward.adapters.onnx_import.graph import Node


@final
@dataclass(frozen=True)
class Operation:
    """A node with its inputs translated.

    Attributes:
        node: what the file says.
        inputs: values, None where an optional input is absent.
        opset: version of the operator set (of the default domain), which fixes what the operator means.
        fixed_batch: the batch size when the file states one, else None.
        used: names of the attributes that a translator has looked at; the rest is refused.
    """

    node: Node
    inputs: tuple[Value | None, ...]
    opset: int
    fixed_batch: int | None
    used: set[str] = field(default_factory=set)

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int) -> Value:
        """A required input."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise OperatorUnsupported(f"input {index} is missing")
        return value

    def tensor(self, index: int) -> Tensor:
        """A required input that has to be the same constant at every batch size, as a tensor."""
        value = self.value(index)
        if isinstance(value, Signal):
            raise OperatorUnsupported(f"input {index} is computed from the data, not a constant")
        if not value.static:
            raise OperatorUnsupported(f"input {index} depends on the batch size")
        return value.probes[0]

    def scalar(self, index: int) -> float:
        """A required constant input of one element."""
        tensor = self.tensor(index)
        if tensor.numel() != 1:
            raise OperatorUnsupported(f"input {index} has {tensor.numel()} elements; one is expected")
        return float(tensor.item())

    def listing(self, index: int) -> list[int]:
        """A required constant input of a few integers."""
        return _integers(self.tensor(index), f"input {index}")

    def listings(self, index: int) -> tuple[list[int], ...]:
        """The same, at each probing batch size."""
        value = self.value(index)
        if isinstance(value, Signal):
            raise OperatorUnsupported(f"input {index} is computed from the data, not a constant")
        return tuple(_integers(probe, f"input {index}") for probe in value.probes)

    def constants_only(self) -> tuple[Constant, ...]:
        """All inputs, for operators that are only understood on constants."""
        for index, value in enumerate(self.inputs):
            if isinstance(value, Signal):
                raise OperatorUnsupported(f"input {index} is computed from the data, not a constant")
        return tuple(value for value in self.inputs if isinstance(value, Constant))

    def attribute(self, name: str) -> object:
        """The raw attribute, or None."""
        self.used.add(name)
        return self.node.attributes.get(name)

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer attribute; required where no default is given."""
        value = self.attribute(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, int):
            raise OperatorUnsupported(f"attribute {name} is {value!r}; an integer is expected")
        return value

    def integers(self, name: str, default: list[int] | None = None) -> list[int]:
        """A list of integers; required where no default is given."""
        value = self.attribute(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            raise OperatorUnsupported(f"attribute {name} is not a short list of integers")
        return value

    def real(self, name: str, default: float) -> float:
        """A float attribute."""
        value = self.attribute(name)
        if value is None:
            return default
        if not isinstance(value, (int, float)):
            raise OperatorUnsupported(f"attribute {name} is {value!r}; a number is expected")
        return float(value)

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        value = self.attribute(name)
        if value is None:
            return default
        if not isinstance(value, bytes):
            raise OperatorUnsupported(f"attribute {name} is {value!r}; a string is expected")
        return value.decode(errors="replace")

    def refuse_unused(self) -> None:
        """Refuse attributes that no one looked at: their meaning would be lost."""
        unknown = sorted(set(self.node.attributes) - self.used)
        if unknown:
            raise OperatorUnsupported(f"attribute {plain(unknown[0])} is not understood")


def to_torch(array: object) -> Tensor:
    """A numpy array as a tensor of its own.

    Raises:
        OperatorUnsupported: torch has no such element type (strings, for instance).
    """
    if not isinstance(array, np.ndarray):
        raise OperatorUnsupported("a constant is not a tensor")
    try:
        return torch.from_numpy(np.array(array))
    except TypeError as error:
        raise OperatorUnsupported(f"a constant has the element type {array.dtype}") from error


def _integers(tensor: Tensor, what: str) -> list[int]:
    if tensor.is_floating_point() or tensor.numel() > 2**16:
        raise OperatorUnsupported(f"{what} is not a list of integers")
    return [int(item) for item in tensor.reshape(-1).tolist()]
