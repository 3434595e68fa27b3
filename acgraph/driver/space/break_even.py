"""Find how many columns of a layer must be removed before the cut saves time."""

from collections.abc import Iterable
from dataclasses import replace

from acgraph.analysis.layers import Layer
from acgraph.driver.space.columns import LayerReader
from acgraph.lowering.candidates import candidates
from acgraph.lowering.cost_model import CostModel
from acgraph.lowering.layer import ConvLayer
from acgraph.pruning.projection import column_mask, zero_columns

#: Shares are found to a precision of one in this number.
STEPS = 16


def break_even_share(
    layer: ConvLayer,
    *,
    pattern: str = "free",
    multiple: int = 1,
    model: CostModel | None = None,
) -> float:
    """Return the largest kept share of columns at which some compact form beats the dense one.

    Found by bisection, on the assumption that fewer columns are never slower.

    Args:
        layer: The layer, whose columns are removed by norm.
        pattern: Which columns are removed together.
        multiple: The pattern's granularity.
        model: The cost model that estimates times.

    Returns:
        A share in (0, 1); 0 if no form is faster at any share.
    """
    estimate = model or CostModel()

    def pays(step: int) -> bool:
        keep = max(1, step * layer.columns // STEPS)
        mask = column_mask(layer.weight, keep, pattern=pattern, multiple=multiple)
        ways = candidates(replace(layer, weight=zero_columns(layer.weight, mask)))
        dense, *others = (estimate.latency_us(way.fragment) for way in ways)
        return min(others, default=dense) < dense

    low, high = 0, STEPS
    while high - low > 1:
        middle = (low + high) // 2
        if pays(middle):
            low = middle
        else:
            high = middle
    return low / STEPS


def max_columns(
    reader: LayerReader, found: Iterable[Layer], *, pattern: str, multiple: int
) -> dict[str, int]:
    """Map the weights of uncut layers to the largest number of columns that still saves time."""
    most = {}
    for layer in found:
        read = reader.read(layer)
        if isinstance(read, ConvLayer) and read.used == read.columns:
            share = break_even_share(read, pattern=pattern, multiple=multiple)
            most[layer.weight] = int(share * read.columns)
    return most
