"""The check `evasion.query`: attacks that only ask the model, by its scores or by its decisions alone."""
