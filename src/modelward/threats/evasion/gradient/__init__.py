"""White-box attacks: a cascade of searches along the gradient, cheap before dear, on what still stands."""
