"""Readers of tree ensembles: files and objects of every library into one kind of arrays."""
