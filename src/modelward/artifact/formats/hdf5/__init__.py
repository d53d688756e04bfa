"""HDF5: what opening the file, its links, its external data and its pickled attributes can do."""
