"""Dead coupled sets, which have no effect: purification removes them even without training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from acgraph.config import CompressConfig
from acgraph.driver.network import Network
from acgraph.driver.space.space import Space, open_space
from acgraph.pruning.dead import dead_sets
from acgraph.pruning.importance import FloatArray
from acgraph.pruning.plan import Bools, Plan
from acgraph.pruning.shrink import shrink
from acgraph.search import Knob


def without_dead(network: Network, config: CompressConfig) -> Network:
    """Return a graph without its dead sets, as purification would return it without training."""
    # Columns are not needed, and setting up their knobs takes measurements.
    space = replace(open_space(network, config), columns=False)
    dead = dead_sets(space.dependency, space.families, network.model.constants())
    if not dead:
        return network
    plan = with_dead(Plan(), space, dead, space.importances())
    return Network(shrink(space.dependency, plan).model)


def with_dead(
    plan: Plan, space: Space, dead: Mapping[str, Bools], importances: Sequence[FloatArray]
) -> Plan:
    """Add dead sets to a plan, as far as the knobs allow."""
    sets = dict(plan.sets)
    for family, knob, scores in zip(space.families, space.knobs, importances, strict=False):
        if family.name in dead:
            gone = sets.get(family.name, False) | dead[family.name]
            sets[family.name] = aligned(gone, scores, knob)
    return Plan(
        sets={name: gone for name, gone in sets.items() if gone.any()}, columns=plan.columns
    )


def aligned(gone: Bools, scores: FloatArray, knob: Knob) -> Bools:
    """Restore the most important of the removed units until an allowed number is kept.

    Args:
        gone: The removed units, ``bool [units]``.
        scores: Importance of each unit, ``[units]``.
        knob: Defines which numbers may be kept.
    """
    kept = len(gone) - int(gone.sum())
    order = np.argsort(np.where(gone, -scores, np.inf), kind="stable")
    result = gone.copy()
    result[order[: knob.snap_up(max(kept, 1)) - kept]] = False
    return result
