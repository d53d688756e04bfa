"""Statistics and geometry as pure functions; each names its source. Import the module that is needed."""
