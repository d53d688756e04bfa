"""A symbolic pickle machine: what a pickle stream would do, without doing it."""
