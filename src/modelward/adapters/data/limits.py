"""What is refused: how much a small file may expand to, how many distinct values a column may have."""

GRACE = 1 << 28
"""Expanded bytes (cells, for parquet) that no ratio is asked of: 256 Mi."""
MAX_RATIO = 200
"""Beyond `GRACE`, a file that expands to more than this many times its size is taken for a bomb."""
MAX_LABELS = 1000
"""More distinct labels than this are a regression target or an identifier."""
MAX_CATEGORIES = 10_000
"""More distinct texts than this are an identifier."""
EXACT = 2.0**53
"""Whole numbers up to here are exact in float64; beyond, every float64 is whole."""
LARGEST = 1e300
"""Numbers of greater magnitude are refused like infinities: the width of a box around them would be one."""
