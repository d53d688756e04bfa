"""Points in time and spans of days, as attestations and policies write them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Final, TypeAlias

import msgspec

from modelward.errors import PolicyInvalid

Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its zone, RFC 3339 in JSON."""

_UNITS: Final = {"h": 3600, "d": 86400, "w": 7 * 86400}
_LONGEST: Final = timedelta(days=36_500)


def parse_span(text: str) -> timedelta:
    """Read a span: a whole number and ``h``, ``d`` or ``w``, like ``30d``.

    Raises:
        PolicyInvalid: it is none, or is not above 0 and at most 100 years.
    """
    match = re.fullmatch(r"([0-9]{1,9})([hdw])", text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST.total_seconds():  # a timedelta holds less than ten digits of weeks
        raise PolicyInvalid(
            f"{text[:40]!r} is no span of time", advice="Write hours, days or weeks: 12h, 30d, 4w."
        )
    return timedelta(seconds=seconds)


def span_words(span: timedelta) -> str:
    """A span in words, rounded down."""
    hours = int(span.total_seconds()) // 3600
    count, unit = (hours // 24, "day") if abs(hours) >= 48 else (hours, "hour")
    return f"{count} {unit}{'' if count == 1 else 's'}"
