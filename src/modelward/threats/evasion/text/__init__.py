"""Evasion of text classifiers: edits that a reader hardly notices, and the normaliser that undoes many."""
