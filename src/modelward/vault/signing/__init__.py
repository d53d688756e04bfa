"""Signed statements about models: OpenSSF Model Signing v1 and modelward's own over a Merkle root."""
