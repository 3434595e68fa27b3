"""Choose the column pattern of a layer by the time that its lowered form is estimated to save."""

from collections.abc import Sequence
from dataclasses import replace

from acgraph.errors import UsageError
from acgraph.lowering.candidates import candidates
from acgraph.lowering.cost_model import CostModel
from acgraph.lowering.layer import ConvLayer
from acgraph.pruning.importance import column_norms
from acgraph.pruning.patterns import PATTERNS
from acgraph.pruning.projection import column_mask, zero_columns

#: ``best_pattern`` chooses the pattern of each layer.
AUTO = "auto"
#: Values of the options that name a pattern.
PATTERN_CHOICES: tuple[str, ...] = (*PATTERNS, AUTO)
#: Lower limit of the lost share of the squared norm, against division by zero.
EPSILON = 1e-9


def check_pattern(pattern: str) -> str:
    """Return the name of a pattern if it exists.

    Raises:
        UsageError: No pattern has this name.
    """
    if pattern not in PATTERN_CHOICES:
        raise UsageError(
            f"no column pattern is named '{pattern}'",
            hint=f"one of {', '.join(PATTERN_CHOICES)}",
        )
    return pattern


def best_pattern(
    layer: ConvLayer,
    keep: int,
    *,
    multiple: int = 1,
    patterns: Sequence[str] = PATTERNS,
    model: CostModel | None = None,
) -> str:
    """Return the pattern with the best ratio of time saved to squared norm lost.

    For every pattern, the layer keeps the columns of largest norm that the pattern allows. The time
    saved is that of the fastest lowered form over the dense layer, by estimate. The largest ratio
    wins; among equals, the earlier pattern. For a given number of columns, ``free`` loses the least
    norm. Another pattern wins only where it saves more than in proportion: in small layers, and
    where the weights are regular already.

    Args:
        layer: The layer, with its weights before the cut.
        keep: Largest number of kept columns.
        multiple: Granularity of the patterns.
        patterns: The patterns to choose from.
        model: The cost model.
    """
    estimate = model or CostModel()
    powers = column_norms(layer.weight) ** 2
    total = max(float(powers.sum()), EPSILON)
    highest, best = -1.0, patterns[0]
    for pattern in patterns:
        mask = column_mask(layer.weight, keep, pattern=pattern, multiple=multiple)
        cut = replace(layer, weight=zero_columns(layer.weight, mask))
        times = [estimate.latency_us(way.fragment) for way in candidates(cut)]
        lost = float(powers[~mask].sum()) / total
        ratio = (times[0] - min(times)) / max(lost, EPSILON)
        if ratio > highest:
            highest, best = ratio, pattern
    return best
