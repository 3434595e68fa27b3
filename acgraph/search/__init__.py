"""Search for the rate of each layer, by NumPy and callables; independent of any backend."""

from acgraph.search.annealing import AnnealConfig
from acgraph.search.budget import project_to_budget
from acgraph.search.frontier import next_rate
from acgraph.search.methods import Method, default_evaluations, search
from acgraph.search.problem import Evaluation, Knob, Point, Problem, SearchResult
from acgraph.search.purify import PurifyResult, purify_search

__all__ = [
    "AnnealConfig",
    "Evaluation",
    "Knob",
    "Method",
    "Point",
    "Problem",
    "PurifyResult",
    "SearchResult",
    "default_evaluations",
    "next_rate",
    "project_to_budget",
    "purify_search",
    "search",
]
