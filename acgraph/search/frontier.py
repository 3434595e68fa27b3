"""Choose the next rate to try, in the search for the highest rate within an accuracy floor."""

import math
from collections.abc import Iterable

#: Factor from a rate that met the floor to the next one.
STEP = 2.0
#: No rate is tried between two rates whose ratio is below this.
NARROW = 1.1


def next_rate(tried: Iterable[tuple[float, bool]]) -> float | None:
    """Return the rate to try next; None if the highest one is known precisely enough.

    Rates rise from 1x by ``STEP`` until one fails; then the bracket between the highest rate that
    met the floor and the lowest failed one above it is bisected on a logarithmic scale.

    Args:
        tried: The rates that were tried, each with whether it met the floor.

    >>> next_rate([]), next_rate([(2.0, True)]), next_rate([(2.0, True), (4.5, False)])
    (2.0, 4.0, 3.0)
    """
    points = list(tried)
    low = max((rate for rate, is_met in points if is_met), default=1.0)
    failed = [rate for rate, is_met in points if not is_met and rate > low]
    if not failed:
        return STEP * low
    high = min(failed)
    return math.sqrt(low * high) if high > NARROW * low else None


__all__ = ["NARROW", "STEP", "next_rate"]
