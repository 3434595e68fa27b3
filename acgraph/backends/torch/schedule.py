"""Learning rate schedules, as pure functions of the position in a fit."""

import math

from acgraph.backends.training import Schedule

#: Share of the steps of the one-cycle schedule that are warm-up.
WARMUP = 0.1
#: Least number of warm-up steps of the one-cycle schedule, but at most half of all steps.
WARMUP_STEPS = 5
#: The one-cycle schedule starts at the peak divided by this (the default of PyTorch).
START_DIVISOR = 25.0
#: The one-cycle schedule ends at its start divided by this (the default of PyTorch).
END_DIVISOR = 1e4


def learning_rate_at(schedule: Schedule, peak: float, position: float, total_steps: int) -> float:
    """Return the learning rate of a step.

    Args:
        schedule: ``onecycle`` (Smith and Topin, arXiv 1708.07120, cosine form), ``cosine``
            (Loshchilov and Hutter, arXiv 1608.03983, one period) or ``constant``.
        peak: The highest learning rate.
        position: Steps done before this one, in [0, total_steps]; fractional if a time budget
            shortens the fit.
        total_steps: Steps of the fit.

    >>> learning_rate_at("cosine", 0.1, 5, 10)
    0.05
    """
    if schedule == "constant":
        return peak
    if schedule == "cosine":
        return _cosine(peak, 0.0, position / total_steps)
    warm_end = max(WARMUP * total_steps - 1, min(WARMUP_STEPS, total_steps // 2))
    last = total_steps - 1
    start = peak / START_DIVISOR
    if warm_end > 0 and position <= warm_end:
        return _cosine(start, peak, position / warm_end)
    warm_end = max(warm_end, 0.0)
    if last <= warm_end:
        return peak
    share = (position - warm_end) / (last - warm_end)
    return _cosine(peak, start / END_DIVISOR, min(1.0, share))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
