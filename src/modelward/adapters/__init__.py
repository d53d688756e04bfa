"""Turn files and live objects into models and data sets; the only room that does."""
