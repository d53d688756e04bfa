"""Manifests of tables: which rows a data set holds, bound by one root, whatever file they lie in."""

from typing import Final

PREDICATE: Final = "https://modelward.dev/table/v1"
"""What a signed manifest is called; here, so that telling one costs no library of tables."""
