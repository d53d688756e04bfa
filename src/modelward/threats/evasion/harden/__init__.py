"""Defences against evasion: adversarial and certified training, robust trees, normalisation, detectors."""
