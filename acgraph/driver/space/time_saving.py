"""Restrict a search space to cuts that save time, as long as they can meet the budget."""

from dataclasses import replace

from acgraph.driver.cost.point import CostMetric
from acgraph.driver.space.space import Space


def time_saving_space(space: Space, metric: CostMetric, budget: float) -> Space:
    """Return a space with only those cuts that save time, if these can meet the budget."""
    saves_time = replace(space, saves_time=True)
    least = tuple(knob.floor for knob in saves_time.knobs)
    return saves_time if least and saves_time.cost(least, metric) <= budget else space
