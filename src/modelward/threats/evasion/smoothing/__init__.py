"""Randomised smoothing: L2 certificates of a classifier that answers by majority over noise."""
