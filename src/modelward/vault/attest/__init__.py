"""Attestations over what is sealed, and the policy that decides by them whether it is admitted."""
