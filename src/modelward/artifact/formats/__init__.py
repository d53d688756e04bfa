"""One static reader per format; `table.py` finds it by name."""
