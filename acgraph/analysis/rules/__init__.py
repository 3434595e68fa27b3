"""Rules: how each operator turns the labels of its inputs into labels of its outputs.

The table of operators names them; an operator that is not in it is fenced.
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
