"""What a run reads: its data, the network made trainable, and whether a file was read right."""
