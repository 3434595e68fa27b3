"""Offer only cuts that save time, as long as these are enough."""

from dataclasses import replace

from acgraph.driver.cost.terms import CostMetric
from acgraph.driver.space.space import Space


def thrifty_space(space: Space, metric: CostMetric, budget: float) -> Space:
    """Return a space that offers only cuts that save time, where these can meet the budget."""
    thrifty = replace(space, thrifty=True)
    least = tuple(knob.floor for knob in thrifty.knobs)
    return thrifty if least and thrifty.cost(least, metric) <= budget else space
