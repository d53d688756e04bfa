"""What the attacks' own success says of gradients, beside the examined slopes; the outcome for evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelward.core.canonical import JSON
    from modelward.threats.evasion.gradient.masking import Slopes

_FIRST: Final = ("margin", "probe", "targeted margin")
_WITHOUT: Final = {
    "Square": "random search on the copy breaks {count} points that every gradient attack left",
    "transfer": "the slopes of a net fitted to the answers break {count} points that the model's own left",
}
_FEW: Final = 5


def masking(slopes: Slopes, fell: Sequence[str]) -> dict[str, JSON]:
    """The outcome's part on masked gradients.

    Args:
        slopes: what was seen of them.
        fell: the attack that broke each broken point.
    """
    counts = {name: fell.count(name) for name in _WITHOUT}
    later = sum(name not in _FIRST and name not in _WITHOUT for name in fell)
    reasons = [*slopes.reasons]
    reasons += [text.format(count=counts[name]) for name, text in _WITHOUT.items() if counts[name] >= _FEW]
    if later >= _FEW and 2 * later > len(fell):
        reasons.append(f"{later} of {len(fell)} broken points fell only to restarts and longer searches")
    listed: list[JSON] = [*reasons]
    return {
        "masking": {
            **slopes.outcome(),
            "restart_gain": later,
            "square_gain": counts["Square"],
            "transfer_gain": counts["transfer"],
            "reasons": listed,
        }
    }
