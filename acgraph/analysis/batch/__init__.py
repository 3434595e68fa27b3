"""Where the batch axis lies in every tensor, and which constants hold its size."""
