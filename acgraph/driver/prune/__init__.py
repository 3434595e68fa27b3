"""``prune``: one cut by magnitude or by calibration data, without training."""

from acgraph.driver.prune.magnitude import prune

__all__ = ["prune"]
