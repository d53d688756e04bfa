"""The nouns of modelward: frozen values that every room speaks in."""
