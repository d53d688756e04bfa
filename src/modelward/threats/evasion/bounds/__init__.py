"""Interval bound propagation: sound enclosures of what a network can answer (imports torch)."""
