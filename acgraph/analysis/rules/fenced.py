"""The rule of fenced operators."""

from acgraph.analysis.site import Site
from acgraph.operators.domains import QUANTISED


def fence(site: Site, message: str) -> None:
    """Fence all inputs and outputs of a node."""
    site.fence_all(message, listed=message == QUANTISED)
    # A dequantised weight does not count as a constant: its integers must not change.
    site.walk.opaque.update(t.name for t in site.node.outputs if t.name)
