"""Compare two models."""

from acgraph.diff.compare import diff_models
from acgraph.diff.match import match_nodes
from acgraph.diff.render import json_from_diff, text_from_diff
from acgraph.diff.types import GraphDiff

__all__ = ["GraphDiff", "diff_models", "json_from_diff", "match_nodes", "text_from_diff"]
