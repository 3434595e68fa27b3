"""Offer only cuts that save time, as long as these are enough."""

from dataclasses import replace

from acgraph.driver.cost.point import CostMetric
from acgraph.driver.space.space import Space


def time_saving_space(space: Space, metric: CostMetric, budget: float) -> Space:
    """Return a space that offers only cuts that save time, where these can meet the budget."""
    saves_time = replace(space, saves_time=True)
    least = tuple(knob.floor for knob in saves_time.knobs)
    return saves_time if least and saves_time.cost(least, metric) <= budget else space
