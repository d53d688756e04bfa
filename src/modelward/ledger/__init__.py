"""The only store: append-only, a Merkle tree over canonical JSON; nothing recorded changes unseen."""
