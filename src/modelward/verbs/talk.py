"""How a verb speaks with whoever called it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

Progress: TypeAlias = Callable[[int, int], None]
Ask: TypeAlias = Callable[[], bytes]


class Talk(msgspec.Struct, frozen=True, kw_only=True):
    """How a verb speaks with whoever called it.

    Attributes:
        passphrase: asked for a passphrase or PIN when one is needed; null where there is nobody to ask.
        warn: told in one sentence what is unwise.
        progress: told bytes done and bytes in all.
    """

    passphrase: Ask | None = None
    warn: Callable[[str], None] = lambda _: None
    progress: Progress | None = None
