"""Evasion: inputs changed slightly so that the model gets them wrong. See README.md in this folder."""
