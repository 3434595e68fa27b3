"""How far the columns of a layer must be cut before the cut saves time."""

from collections.abc import Iterable
from dataclasses import replace

from acgraph.analysis.layers import Layer
from acgraph.driver.space.columns import LayerReader
from acgraph.lowering.candidates import candidates
from acgraph.lowering.cost_model import CostModel
from acgraph.lowering.layer import ConvLayer
from acgraph.pruning.projection import column_mask, zero_columns

#: Shares are found to one in so many of the columns.
STEPS = 16


def break_even_share(
    layer: ConvLayer,
    *,
    pattern: str = "free",
    multiple: int = 1,
    model: CostModel | None = None,
) -> float:
    """Return the largest share of columns at which some compact form is faster than the dense one.

    By bisection: what is faster with more columns is taken to be faster with fewer.

    Args:
        layer: With the weights that are to be cut, by norm.
        pattern: Which columns may stay together.
        multiple: The pattern's granularity.
        model: The estimate of time.

    Returns:
        A share in (0, 1); 0 where no form is faster at any.
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
    """Map the weights of whole layers to the most columns that a cut may keep to save time."""
    most = {}
    for layer in found:
        read = reader.read(layer)
        if isinstance(read, ConvLayer) and read.used == read.columns:
            share = break_even_share(read, pattern=pattern, multiple=multiple)
            most[layer.weight] = int(share * read.columns)
    return most
