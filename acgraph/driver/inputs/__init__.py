"""The inputs of a run: its data, the trainable network, and a check of the import."""
