"""Bias: groups of people for whom the model is right less often or says yes less often."""
