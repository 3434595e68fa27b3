"""Offer only cuts that save time, as long as these are enough."""

from dataclasses import replace

from acgraph.driver.space import Space
from acgraph.driver.space_cost import CostMetric


def thrifty_space(space: Space, metric: CostMetric, budget: float) -> Space:
    """Return a space that offers only cuts that save time, where these can meet the budget."""
    thrifty = replace(space, thrifty=True)
    least = tuple(knob.floor for knob in thrifty.knobs)
    return thrifty if least and thrifty.cost(least, metric) <= budget else space
