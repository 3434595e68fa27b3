"""Masks of training: weights that a plan or an earlier round removed stay zero."""

from collections.abc import Mapping

from acgraph.backends.training import Masks
from acgraph.driver.space.space import Space
from acgraph.ir import Array
from acgraph.pruning.plan import Bools, Plan


def dead_columns(space: Space) -> dict[str, Bools]:
    """Return masks that keep columns at zero that earlier rounds removed."""
    return {name: alive[None] for name, alive in space.alive.items() if not alive.all()}


def training_masks(space: Space, plan: Plan, weights: Mapping[str, Array]) -> Masks:
    """Return the masks (True = kept) of all weights that a plan or an earlier round cuts."""
    masks = {name: ~mask for name, mask in space.zeroed(plan).items() if name in weights}
    for name, alive in dead_columns(space).items():
        masks[name] = masks[name] & alive if name in masks else alive
    return masks
