"""Robust trees: the given library grows them again on training data that has been attacked."""
