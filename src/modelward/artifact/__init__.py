"""Static readers of model files: what a file is, and what loading it could do. Nothing is loaded."""
