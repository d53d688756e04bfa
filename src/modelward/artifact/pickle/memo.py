"""The memo, where a stream keeps values it refers to again.

Picklers number entries 0, 1, 2, ..., so a plain list serves them; `Sparse` takes over for a stream that
leaves gaps, and for a second reading of a stream that must not disturb the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, final

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Value


@final
class Sparse:
    """A memo with gaps, laid over the entries of another one."""

    __slots__ = ("_base", "_count", "_table")

    def __init__(self, base: Memo) -> None:
        self._base = base
        self._count = len(base)
        self._table: dict[int, Value] = {}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, key: int) -> Value:
        found = self._table.get(key)
        return self._base[key] if found is None else found

    def __contains__(self, key: int) -> bool:
        return key in self._table or has(self._base, key)

    def __setitem__(self, key: int, value: Value) -> None:
        self._count += key not in self
        self._table[key] = value

    def append(self, value: Value) -> None:
        """MEMOIZE: the key is the number of entries."""
        self[self._count] = value


Memo: TypeAlias = "list[Value] | Sparse"


def has(memo: Memo, key: int) -> bool:
    """Whether an entry was put under this key."""
    return 0 <= key < len(memo) if isinstance(memo, list) else key in memo


def put(memo: Memo, key: int, value: Value) -> Memo:
    """Put a value under a key; gives the memo to use from now on."""
    if not isinstance(memo, list) or key > len(memo):
        memo = memo if isinstance(memo, Sparse) else Sparse(memo)
        memo[key] = value
    elif key == len(memo):
        memo.append(value)
    else:
        memo[key] = value
    return memo
