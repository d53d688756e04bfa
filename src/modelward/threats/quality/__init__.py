"""How well a model does what it is for: the baseline that every other number refers to."""
