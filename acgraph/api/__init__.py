"""The public API: one function for each command, with its options as keyword arguments."""
