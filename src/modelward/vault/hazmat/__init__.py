"""Cryptographic primitives, thin and without policy; imported from the vault only."""
