"""Dependency analysis and cost: pure functions of a model, with immutable results."""
