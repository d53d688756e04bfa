"""Manifests of tables: which rows a data set holds, bound by one root, whatever file they lie in."""
