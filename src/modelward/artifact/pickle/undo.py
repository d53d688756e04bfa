"""Undo what a second reading of array bytes did to symbolic values: it must not mislead the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from modelward.artifact.pickle.values import Map, Obj, Seq

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Value


@final
class Journal:
    """What some values were before they were changed, in order of change."""

    __slots__ = ("_lists", "_maps", "_objects")

    def __init__(self) -> None:
        self._lists: list[tuple[Seq, int, bool]] = []
        self._maps: list[tuple[Map, int, int, bool]] = []
        self._objects: list[tuple[Obj, Value | None, bool, int]] = []

    def note(self, value: Value) -> None:
        """Remember a value before it is changed; the containers only ever grow."""
        if isinstance(value, Seq):
            self._lists.append((value, len(value.items), value.whole))
        elif isinstance(value, Map):
            self._maps.append((value, len(value.keys), len(value.values), value.whole))
        elif isinstance(value, Obj):
            self._objects.append((value, value.state, value.loose, len(value.held)))

    def undo(self) -> list[Obj]:
        """Restore all values; gives the objects among them."""
        for seq, count, whole in reversed(self._lists):
            del seq.items[count:]
            seq.whole = whole
        for table, keys, values, whole in reversed(self._maps):
            del table.keys[keys:], table.values[values:]
            table.whole = whole
        for found, state, loose, held in reversed(self._objects):
            found.state, found.loose = state, loose
            del found.held[held:]
        return [found for found, *_ in self._objects]
