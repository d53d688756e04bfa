"""Robust trees: a forest whose splits count what an attacker can move across them."""
