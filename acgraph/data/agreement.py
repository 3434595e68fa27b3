"""How far one network agrees with another: the figure where there are no labels."""

from acgraph.tasks import Agreement

__all__ = ["Agreement"]
