"""Rules that recognise formats by their content, in groups that are imported only when asked."""
