"""What a model gives away about the data it was trained on."""
