"""Detectors of adversarial inputs, and how much of what they promise an attacker leaves of them."""
