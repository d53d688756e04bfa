"""Texts as data sets, as messages to a sandboxed model, and the vectors of words."""
