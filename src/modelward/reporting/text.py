"""Words and numbers for people: cleaned of what could mislead a reader or a terminal, and capped."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelward.core.canonical import JSON
    from modelward.core.claim import Bracket, Claim
    from modelward.core.evidence import Cost

LIMIT = 600
"""Characters of one text that a report shows; the JSON holds all of it."""

_JOINERS = "\u200c\u200d"
"""Zero-width joiners that Arabic, Indic scripts and emoji need; they cannot reorder a line."""


def clean(text: str, limit: int = LIMIT) -> str:
    r"""Make any text safe to print on one line.

    Control characters, bidirectional overrides and other invisible formats (Unicode TR 36: they let a name
    read as another one) become visible escapes such as ``\u202e``; white space becomes one space.

    Args:
        text: anything, also lone surrogates.
        limit: characters kept; the rest is replaced by its count.
    """
    flat = " ".join(text[: 4 * limit].split())
    shown = "".join(_visible(char) for char in flat)
    hidden = len(text) - limit
    return shown if len(shown) <= limit else f"{shown[:limit]}… ({max(hidden, 1):,} more characters)"


def _visible(char: str) -> str:
    category = unicodedata.category(char)
    if category in {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"} or (category == "Cf" and char not in _JOINERS):
        return _escape(char)
    return char


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def spelled(text: str) -> str:
    """Every character of a text in a form that can be seen; blanks other than the usual one are escaped too.

    Unlike `clean` it keeps all blanks, and leaves no invisible character that a language might need.
    """
    return "".join(
        _escape(char)
        if char in _JOINERS or (char != " " and unicodedata.category(char) == "Zs")
        else _visible(char)
        for char in text
    )


def plain(value: JSON) -> JSON:
    """Make a value encodable: a number that is not finite becomes null, a lone surrogate its escape."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    return value


def percent(share: float) -> str:
    """A share as a percentage with one decimal: 0.9732 -> ``97.3 %``; never 100.0 or 0.0 by rounding."""
    shown = f"{100 * share:.1f}"
    if (shown == "100.0" and share < 1) or (shown == "0.0" and share > 0):
        shown = f"{100 * share:.3g}" if share < 0.5 else f"{math.floor(1000 * share) / 10:.1f}"
    return f"{shown} %"


def number(value: float) -> str:
    """A number with at most four significant digits, integers whole: 0.12345 -> ``0.1234``."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"


def amount(value: float | None) -> str:
    """A claim's number: three decimals, or a question mark when it is not known."""
    return "?" if value is None else f"{value:.3f}" if abs(value) < 1000 else number(value)


def seconds(value: float) -> str:
    """A duration: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def cost_text(cost: Cost) -> str:
    """What was consumed, leaving out what was not: ``4.1 s · 12,000 forward · 8,000 backward``."""
    return " · ".join(part for part in (seconds(cost.seconds), samples_text(cost)) if part)


def samples_text(cost: Cost) -> str:
    """The samples of a cost: ``12,000 forward · 311 queries``; empty when there were none."""
    named = (
        (cost.forward, "forward"), (cost.backward, "backward"), (cost.bounds or 0, "bounds"),
        (cost.queries, "queries"),
    )  # fmt: skip
    return " · ".join(f"{count:,} {word}" for count, word in named if count)


def plural(count: int, one: str, many: str = "") -> str:
    """``1 finding``, ``2 findings``, ``no findings``."""
    return f"{f'{count:,}' if count else 'no'} {one if count == 1 else many or one + 's'}"


def value_text(value: JSON, limit: int = 120) -> str:
    """A JSON value in one short phrase; long lists are only counted."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value) if math.isfinite(value) else "not finite"
    if isinstance(value, str):
        return clean(value, limit)
    if isinstance(value, dict):
        return clean(
            ", ".join(f"{key} {value_text(item, 40)}" for key, item in list(value.items())[:12]), limit
        )
    if len(value) > 8 or any(isinstance(item, list | dict) for item in value):
        return f"list of {len(value):,}"
    return clean(", ".join(value_text(item, 40) for item in value), limit)


def scope_text(scope: Mapping[str, JSON]) -> str:
    """A claim's scope in one phrase, norm and eps first: ``L∞ · eps 0.1 · box 0 to 1``."""
    norms = {"linf": "L∞", "l2": "L2", "l1": "L1", "l0": "L0"}
    parts: list[str] = []
    for key in sorted(scope, key=lambda key: ("norm", "eps").index(key) if key in {"norm", "eps"} else 2):
        value = scope[key]
        if key == "norm":
            parts.append(norms.get(str(value), value_text(value, 40)))
        elif isinstance(value, dict) and "similarity" in value:
            parts.append(f"similarity {value_text(value['similarity'], 80)}")
        elif isinstance(value, dict) and {"lower", "upper"} <= set(value):
            parts.append(f"{key} {_box_text(value, unit='unit' not in scope)}")
        else:
            parts.append(f"{key} {value_text(value, 80)}")
    return clean(" · ".join(parts), 240)


def _box_text(box: Mapping[str, JSON], *, unit: bool) -> str:
    kind = box.get("unit")
    if isinstance(kind, str) and kind.endswith("range"):
        return f"each feature's own range, {value_text(box.get('source'), 40)}"
    named = f", unit {value_text(kind, 40)}" if unit and kind else ""
    return f"{value_text(box['lower'])} to {value_text(box['upper'])}{named}"


def bracket_ends(bracket: Bracket) -> tuple[float, float]:
    """The bracket with what is not known filled in: nothing proved is 0, nothing attacked is 1."""
    lower = 0.0 if bracket.lower is None else bracket.lower
    upper = 1.0 if bracket.upper is None else bracket.upper
    return min(max(lower, 0.0), 1.0), min(max(upper, 0.0), 1.0)


def bracket_words(bracket: Bracket) -> tuple[str, str, str]:
    """What is proved, undecided and broken, in words."""
    lower, upper = bracket_ends(bracket)
    return (
        "nothing proved" if bracket.lower is None else f"{percent(lower)} proved",
        f"{percent(max(0.0, upper - lower))} undecided",
        "no attack ran" if bracket.upper is None else f"{percent(1 - upper)} broken",
    )


def is_share(claim: Claim) -> bool:
    """Whether everything the claim states lies in [0, 1], so that it can be drawn on one axis."""
    numbers = [claim.value] if claim.value is not None else []
    if claim.interval is not None:
        numbers += [claim.interval.lower, claim.interval.upper]
    return claim.bracket is not None or (bool(numbers) and all(0 <= x <= 1 for x in numbers))


def claim_text(claim: Claim) -> str:
    """What a claim states, in numbers: the bracket, or the value with its interval."""
    if claim.bracket is not None:
        low, high = claim.bracket.lower, claim.bracket.upper
        return f"{'?' if low is None else percent(low)} to {'?' if high is None else percent(high)}"
    if claim.value is None:
        return "unknown"
    if claim.interval is None:
        return amount(claim.value)
    low, high = claim.interval.lower, claim.interval.upper
    return f"{amount(claim.value)} ({amount(low)} to {amount(high)})"
