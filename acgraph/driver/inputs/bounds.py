"""The bounds on layers that the options of a run request."""

from acgraph.analysis.layer_patterns import bound_layers
from acgraph.config import CompressConfig
from acgraph.ir import LayerBound, Model


def requested_bounds(config: CompressConfig, original: Model) -> dict[str, LayerBound]:
    """Return, by node name, how much must be kept of each layer that the options name.

    Raises:
        UsageError: A pattern matches no layer.
    """
    rates = {pattern: rate.value for pattern, rate in config.layer_rate.items()}
    most = None if config.max_layer_rate is None else config.max_layer_rate.value
    return bound_layers(original, config.keep, rates, most)
