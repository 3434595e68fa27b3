"""What ``import acgraph`` offers: one function for each command, with the options as keywords."""
