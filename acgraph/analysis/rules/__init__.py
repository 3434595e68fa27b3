"""Rules: how each operator turns the labels of its inputs into labels of its outputs.

One table, ``RULES``; an operator that is not in it is fenced.
"""

from acgraph.analysis.rules import (
    elementwise,
    fenced,
    indexing,
    layers,
    movement,
    norm,
    recurrent,
    reduce,
    windows,
)
from acgraph.analysis.rules.base import Cut, Keep, OpRule

RULES: dict[str, OpRule] = {
    **elementwise.RULES,
    **fenced.RULES,
    **indexing.RULES,
    **layers.RULES,
    **movement.RULES,
    **norm.RULES,
    **recurrent.RULES,
    **reduce.RULES,
    **windows.RULES,
}

__all__ = ["RULES", "Cut", "Keep", "OpRule"]
