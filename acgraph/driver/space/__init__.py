"""The search space: what may be cut of a graph, and what a cut loses."""
