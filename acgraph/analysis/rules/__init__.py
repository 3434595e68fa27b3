"""The rules: how each operator propagates labels from its inputs to its outputs.

The table of operators refers to them by name; operators without an entry are fenced.
"""

from acgraph.analysis.rules import (
    elementwise,
    indexing,
    layers,
    movement,
    norm,
    recurrent,
    reduce,
    windows,
)
from acgraph.analysis.rules.base import Cut, Keep, Resize, Rule

RULES: dict[str, Rule] = {
    **elementwise.RULES,
    **indexing.RULES,
    **layers.RULES,
    **movement.RULES,
    **norm.RULES,
    **recurrent.RULES,
    **reduce.RULES,
    **windows.RULES,
}
RESIZES: dict[str, Resize] = {
    **indexing.RESIZES,
    **layers.RESIZES,
    **movement.RESIZES,
    **norm.RESIZES,
    **recurrent.RESIZES,
    **reduce.RESIZES,
    **windows.RESIZES,
}

__all__ = ["RESIZES", "RULES", "Cut", "Keep", "Resize", "Rule"]
