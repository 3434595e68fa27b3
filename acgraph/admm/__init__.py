"""Structured pruning by ADMM, by NumPy and callables; independent of any backend."""

from acgraph.admm.config import AdmmConfig
from acgraph.admm.residuals import Residual
from acgraph.admm.solver import AdmmResult, layer_scales, run_admm
from acgraph.admm.state import AdmmState

__all__ = ["AdmmConfig", "AdmmResult", "AdmmState", "Residual", "layer_scales", "run_admm"]
