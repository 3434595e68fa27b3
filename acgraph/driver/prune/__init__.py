"""``prune``: one cut by magnitude, without data and training."""

from acgraph.driver.prune.magnitude import prune

__all__ = ["prune"]
