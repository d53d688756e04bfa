"""Invented users of a recommender: what they move, and how visible they are."""
