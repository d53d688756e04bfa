"""A sealed model or data set as a folder of files."""
