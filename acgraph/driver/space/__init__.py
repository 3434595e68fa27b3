"""The search space: what may be cut from a graph, and the reconstruction after a cut."""
