"""What a graph says about itself, counted while it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelward.artifact.reading import Reading
    from modelward.core.canonical import JSON

MOST: Final = 200
"""Most names that are kept of one kind, and the length at which a text is cut."""


@final
class Tally:
    """Operators and tensors of a graph.

    Attributes:
        operators: names in order of first use, with how often each occurs.
        tensors: constants that hold parameters.
        parameters: numbers in all of them together.
        dtypes: name -> tensors of that type.
    """

    __slots__ = ("dtypes", "operators", "parameters", "tensors")

    def __init__(self) -> None:
        self.operators: dict[str, int] = {}
        self.tensors = self.parameters = 0
        self.dtypes: dict[str, int] = {}

    def operator(self, name: str) -> None:
        """Count one use."""
        self.operators[name] = self.operators.get(name, 0) + 1

    def tensor(self, dtype: str, dims: Iterable[int]) -> None:
        """Count one constant; a dimension that is not known counts as none."""
        size = 1
        for dim in dims:
            size *= max(dim, 0)
        self.tensors += 1
        self.parameters += min(size, 1 << 62)
        self.dtypes[dtype] = self.dtypes.get(dtype, 0) + 1

    def report(self, into: Reading, framework: str, **facts: str | Sequence[str] | Mapping[str, str]) -> None:
        """Write the facts; empty ones are left out."""
        known: dict[str, JSON] = {"framework": framework}
        if self.tensors:
            known |= {
                "tensors": self.tensors,
                "parameters": min(self.parameters, (1 << 53) - 1),
                "dtypes": dict(sorted(self.dtypes.items())),
            }
        if self.operators:
            known["operators"] = [name[:MOST] for name in list(self.operators)[:MOST]]
        known |= {key: _cut(value) for key, value in facts.items() if value}
        into.facts.update(known)


def _cut(value: str | Sequence[str] | Mapping[str, str]) -> JSON:
    if isinstance(value, str):
        return value[:MOST]
    if isinstance(value, Mapping):
        return {key[:MOST]: text[:MOST] for key, text in list(value.items())[:MOST]}
    return [text[:MOST] for text in value[:MOST]]
