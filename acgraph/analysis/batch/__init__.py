"""Find the batch axis of every tensor, and the constants that contain the batch size."""
