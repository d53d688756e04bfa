"""Interval bound propagation: sound enclosures of what a network can answer. Imports torch; load it lazily."""
