"""The check `evasion.corruption`: inputs as they go wrong by themselves, and the worst turn and shift."""
