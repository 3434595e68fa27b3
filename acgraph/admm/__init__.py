"""ADMM structured pruning."""
