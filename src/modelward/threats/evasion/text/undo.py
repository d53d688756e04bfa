"""What would be left of an attack if texts were normalised before the model reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from modelward.threats.evasion.text.normalise import DEFENCES, HARMLESS, normalised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.canonical import JSON
    from modelward.numeric.types import IntArray
    from modelward.threats.evasion.text.arena import TextArena

TOGETHER: Final[dict[str, tuple[str, ...]]] = {
    **{name: (name,) for name in DEFENCES},
    "the first four together": HARMLESS,
    "all together": tuple(DEFENCES),
}
"""Name of a defence to the steps it consists of."""


def removed(arena: TextArena) -> dict[str, JSON] | None:
    """Per defence, how many witnesses are answered right once it is applied; null when the budget refused.

    The attacker did not know of the defence: one who does picks other edits, so this is an upper bound of
    what it is worth.
    """
    broken = arena.broken
    return _counted(arena, [arena.witnesses[i].text for i in broken], broken, holds=False)


def kept(arena: TextArena) -> dict[str, JSON] | None:
    """Per defence, how many unmodified points are answered right once it is applied; null when refused."""
    index = np.arange(len(arena.points.correct))
    return _counted(arena, [*arena.points.data.x], index, holds=True)


def _counted(
    arena: TextArena, texts: Sequence[str], index: IntArray, *, holds: bool
) -> dict[str, JSON] | None:
    """How many texts are right after each defence; one that a defence leaves alone stays what it was."""
    was = arena.points.correct[index] if holds else np.zeros(len(index), np.bool_)
    counts: dict[str, JSON] = {}
    for name, steps in TOGETHER.items():
        new = [normalised(text, steps) for text in texts]
        touched = np.array([a != b for a, b in zip(texts, new, strict=True)], np.bool_)
        answers = arena.ask([t for t, other in zip(new, touched, strict=True) if other], index[touched])
        if answers is None:
            return None
        counts[name] = int(was[~touched].sum() + answers.sum())
    return counts
