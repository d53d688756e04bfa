"""For whom a container is: the master key, wrapped once for each recipient."""

from modelward.vault.container.recipients.references import generate_identity, open_identity, parse_recipient
from modelward.vault.container.recipients.wrapping import (
    Identity,
    Recipient,
    Stanza,
    check_stanzas,
    describe,
    id_of,
    unwrap_any,
    wrap_for,
)

__all__ = [
    "Identity", "Recipient", "Stanza", "check_stanzas", "describe", "generate_identity", "id_of",
    "open_identity", "parse_recipient", "unwrap_any", "wrap_for",
]  # fmt: skip
