"""Recipients that are a passphrase, by Argon2id.

Stanza: ``{"kind": "passphrase", "salt": <base64>, "memory": <KiB>, "passes": <n>, "lanes": <n>,
"wrapped": <base64>}``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

from modelward.errors import KeyUnusable
from modelward.vault.container.recipients.wrapping import bound, data, encode, fields, master_key, number
from modelward.vault.hazmat import passphrase as hazmat

if TYPE_CHECKING:
    from modelward.vault.container.recipients.wrapping import Stanza

KIND: Final = "passphrase"
SHORTEST: Final = 12  # bytes; Argon2id makes a guess dear, it does not make a short phrase long


@final
class Passphrase:
    """A passphrase, as a recipient and as an identity."""

    def __init__(self, phrase: bytes, costs: hazmat.Costs | None = None) -> None:
        """Take a passphrase.

        Args:
            phrase: its bytes, UTF-8 without a line's end.
            costs: of a guess when wrapping; null for the second recommendation of RFC 9106, section 4.

        Raises:
            KeyUnusable: it is empty.
        """
        if not phrase:
            raise KeyUnusable("the passphrase is empty")
        self._phrase = phrase
        self._costs = costs or hazmat.Costs()

    def wrap(self, master: bytes, container_id: bytes) -> Stanza:
        """Encrypt the master key under the passphrase."""
        if len(self._phrase) < SHORTEST:
            raise KeyUnusable(
                f"the passphrase has {len(self._phrase)} bytes, and whoever holds the container can guess "
                f"without limit: take at least {SHORTEST}",
                advice="Five or more words drawn at random are a good passphrase.",
            )
        salt, costs = os.urandom(hazmat.SALT), self._costs
        context = bound(KIND, container_id)
        sealed = hazmat.seal(self._phrase, master, salt=salt, costs=costs, bound=context)
        return {
            "kind": KIND,
            "salt": encode(salt),
            "memory": costs.memory,
            "passes": costs.passes,
            "lanes": costs.lanes,
            "wrapped": encode(sealed),
        }

    def unwrap(self, stanza: Stanza, container_id: bytes) -> bytes | None:
        """Decrypt the master key; null when this is another passphrase, or the stanza was altered."""
        if stanza["kind"] != KIND:
            return None
        fields(stanza, "salt", "memory", "passes", "lanes", "wrapped")
        costs = hazmat.Costs(
            memory=number(stanza, "memory"), passes=number(stanza, "passes"), lanes=number(stanza, "lanes")
        )
        salt, sealed = data(stanza, "salt"), data(stanza, "wrapped")
        context = bound(KIND, container_id)
        found = hazmat.unseal(self._phrase, sealed, salt=salt, costs=costs, bound=context)
        return None if found is None else master_key(found)

    def __repr__(self) -> str:  # a passphrase never shows in a traceback or a log
        return "Passphrase(...)"
