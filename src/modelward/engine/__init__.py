"""Plans and runs checks: budget, progress, resume."""
