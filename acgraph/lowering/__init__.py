"""Column lowering: column-pruned layers as standard operators that store only kept columns.

``acgraph.passes.lower_columns`` rewrites a model with what is here.
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
