"""Choose how lowerings are chosen: by timing on this host, or by a model of the cost."""

from acgraph.config import CompressConfig
from acgraph.lowering.base import Chooser
from acgraph.lowering.cost_model import CostModelChooser


def make_chooser(config: CompressConfig) -> Chooser:
    """Make the chooser that a configuration asks for."""
    if config.metric == "params" or config.metric == "size":
        return CostModelChooser(metric=config.metric)
    return CostModelChooser(metric="latency")
