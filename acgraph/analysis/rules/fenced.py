"""Stop every cut at a node, and say why."""

from acgraph.analysis.site import Site
from acgraph.operators.domains import QUANTISED


def fence(site: Site, message: str) -> None:
    """Stop every cut."""
    site.fence_all(message, listed=message == QUANTISED)
    # A dequantised weight is no constant: its integers must stay what they are.
    site.walk.opaque.update(t.name for t in site.node.outputs if t.name)
