"""Comparison of two models, for ``acgraph diff``."""

from acgraph.difference.activations import Activation, RunDifference, run_both
from acgraph.difference.compare import diff_models
from acgraph.difference.explained import Explained, explain_by_plan
from acgraph.difference.layer_table import LayerPair, LayerSide, count_operators, pair_layers
from acgraph.difference.match import match_nodes
from acgraph.difference.model_explorer import model_explorer_from_diff
from acgraph.difference.node_changes import node_changes
from acgraph.difference.render import change_lines, json_from_diff, text_from_diff
from acgraph.difference.types import GraphDiff

__all__ = [
    "Activation",
    "Explained",
    "GraphDiff",
    "LayerPair",
    "LayerSide",
    "RunDifference",
    "change_lines",
    "count_operators",
    "diff_models",
    "explain_by_plan",
    "json_from_diff",
    "match_nodes",
    "model_explorer_from_diff",
    "node_changes",
    "pair_layers",
    "run_both",
    "text_from_diff",
]
