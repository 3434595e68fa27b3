"""Describe the training of a network whose batch size is fixed."""

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.diagnostics import counted


def describe_fixed_batch(module: GraphModule) -> str:
    """Describe in one line why the batch size of a network is fixed, and how it trains.

    Returns:
        The line; empty if the network runs at any batch size.
    """
    reason = module.fixed_reason
    if reason is None:
        return ""
    batch = counted(module.fixed_batch or 1, "image")
    kept = ""
    if module.keeps_statistics:
        kept = ", and BatchNormalization keeps its running statistics"
    return (
        f"the export fixed the batch size ({reason}): training runs {batch} at a time with "
        f"gradient accumulation{kept}"
    )
