"""How a verb speaks with whoever called it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

Progress: TypeAlias = Callable[[int, int], None]
Ask: TypeAlias = Callable[[], bytes]


def _stated() -> Ask | None:
    from modelward.vault.keys.secrets import passphrase_from

    return passphrase_from(None, None, lambda _: None)


class Talk(msgspec.Struct, frozen=True, kw_only=True):
    """How a verb speaks with whoever called it.

    Attributes:
        passphrase: asked for the passphrase or PIN of a key; by default `MODELWARD_PASSPHRASE`, where that is
            set; null where there is nobody to ask.
        chosen: asked for a new passphrase that will open what is sealed; never that of a key, which whoever
            opens it is not to know. Null where there is nobody to ask.
        warn: told in one sentence what is unwise.
        progress: told bytes done and bytes in all.
    """

    passphrase: Ask | None = msgspec.field(default_factory=_stated)
    chosen: Ask | None = None
    warn: Callable[[str], None] = lambda _: None
    progress: Progress | None = None
