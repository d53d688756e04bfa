"""What stands around a model: source, configuration, secrets, dependencies, licences."""
