"""Which rate to try next, where the highest that holds a floor is wanted."""

import math
from collections.abc import Iterable

#: A climb goes on from a rate that held to so many times as much.
STEP = 2.0
#: Rates nearer to one another than this are not told apart: no attempt is spent between them.
NARROW = 1.1


def next_rate(tried: Iterable[tuple[float, bool]]) -> float | None:
    """Return the rate to try next; None where the highest that holds is known well enough.

    From 1x upwards by ``STEP`` until a rate fails; then the middle, on a logarithmic scale, of the
    highest that held and the lowest above it that failed.

    Args:
        tried: Rates, each with whether it held.

    >>> next_rate([]), next_rate([(2.0, True)]), next_rate([(2.0, True), (4.5, False)])
    (2.0, 4.0, 3.0)
    """
    points = list(tried)
    low = max((rate for rate, held in points if held), default=1.0)
    failed = [rate for rate, held in points if not held and rate > low]
    if not failed:
        return STEP * low
    high = min(failed)
    return math.sqrt(low * high) if high > NARROW * low else None


__all__ = ["NARROW", "STEP", "next_rate"]
