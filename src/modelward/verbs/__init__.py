"""One composition per verb; the command line and the Python API call the same functions."""
