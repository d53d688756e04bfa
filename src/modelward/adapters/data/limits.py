"""How much a small file may expand to."""

GRACE = 1 << 28
"""Expanded bytes (cells, for parquet) that no ratio is asked of: 256 Mi."""
MAX_RATIO = 200
"""Beyond `GRACE`, a file that expands to more than this many times its size is taken for a bomb."""
