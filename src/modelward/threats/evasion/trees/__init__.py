"""Tree ensembles: exact smallest changes, proofs that there are none, and witnesses."""
