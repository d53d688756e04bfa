"""One module per kind of model file: each loads it and answers with its own library."""
