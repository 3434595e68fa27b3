"""Checkpoints of a run, and what they are compared with when it is resumed."""
