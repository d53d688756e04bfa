"""Recommenders that a user's factory builds, and the ratings that they learn from."""
