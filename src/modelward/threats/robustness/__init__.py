"""What a model does with inputs that no one meant it to see."""
