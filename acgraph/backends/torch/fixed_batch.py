"""Say how a network trains whose batch cannot be changed."""

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.diagnostics import counted


def describe_fixed_batch(module: GraphModule) -> str:
    """Say in one line how a network with a fixed batch trains, and why the batch is fixed.

    Returns:
        The line; empty where the network runs at any batch.
    """
    reason = module.fixed_reason
    if reason is None:
        return ""
    batch = counted(module.fixed_batch or 1, "image")
    kept = ""
    if module.keeps_statistics:
        kept = ", and BatchNormalization keeps its running statistics"
    return (
        f"the export fixed the batch ({reason}): training runs {batch} at a time and adds up the "
        f"gradients of a batch{kept}"
    )
