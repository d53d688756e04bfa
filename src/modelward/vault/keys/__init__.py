"""Keys: where they lie, who may use them, and until when."""
