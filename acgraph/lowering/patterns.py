"""Which pattern of columns suits a layer: by what its lowered form is estimated to save."""

from collections.abc import Sequence
from dataclasses import replace

from acgraph.errors import UsageError
from acgraph.lowering.candidates import candidates
from acgraph.lowering.cost_model import CostModel
from acgraph.lowering.layer import ConvLayer
from acgraph.pruning.importance import column_norms
from acgraph.pruning.patterns import PATTERNS
from acgraph.pruning.projection import column_mask, zero_columns

#: Chosen by ``best_pattern``, layer by layer.
AUTO = "auto"
#: What the options that name a pattern take.
PATTERN_CHOICES: tuple[str, ...] = (*PATTERNS, AUTO)
#: A smaller share of the squared norm counts as nothing.
EPSILON = 1e-9


def check_pattern(pattern: str) -> str:
    """Return the pattern.

    Raises:
        UsageError: There is none of the name.
    """
    if pattern not in PATTERN_CHOICES:
        raise UsageError(
            f"no pattern of columns is named '{pattern}'",
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
    """The pattern that saves most time for each unit of magnitude that it loses.

    For every pattern: the columns of largest norm that it allows; the time that the fastest
    form of what is left is estimated to save over the dense layer; and the squared norm that is
    lost. The largest quotient wins, of equals the earlier pattern. No pattern loses less than
    ``free`` for as many columns, so that another one is taken only where it saves more than in
    proportion: in small layers, and where the weights are regular by themselves.

    Args:
        layer: The layer, with the weights that are to be cut.
        keep: At most so many columns stay.
        multiple: The patterns' granularity.
        patterns: Those to choose from.
        model: The estimate of time.
    """
    estimate = model or CostModel()
    powers = column_norms(layer.weight) ** 2
    total = max(float(powers.sum()), EPSILON)
    best, found = -1.0, patterns[0]
    for pattern in patterns:
        mask = column_mask(layer.weight, keep, pattern=pattern, multiple=multiple)
        cut = replace(layer, weight=zero_columns(layer.weight, mask))
        times = [estimate.latency_us(way.fragment) for way in candidates(cut)]
        lost = float(powers[~mask].sum()) / total
        worth = (times[0] - min(times)) / max(lost, EPSILON)
        if worth > best:
            best, found = worth, pattern
    return found
