"""Column lowering: rewrites column-pruned layers as standard operators on the kept columns only.

The pass is ``acgraph.passes.lower_columns``.
"""

from acgraph.lowering.base import DENSE, Candidate, Chooser
from acgraph.lowering.candidates import candidates
from acgraph.lowering.cost_model import CostModel, CostModelChooser, Metric
from acgraph.lowering.layer import ConvLayer, LinearLayer
from acgraph.lowering.rewrite import fragment_model

__all__ = [
    "DENSE",
    "Candidate",
    "Chooser",
    "ConvLayer",
    "CostModel",
    "CostModelChooser",
    "LinearLayer",
    "Metric",
    "candidates",
    "fragment_model",
]
