"""What a model's decisions rest on."""
