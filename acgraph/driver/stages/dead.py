"""Coupled sets that do nothing: what purification takes of a network that was not trained."""

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
    """Return a graph without its dead sets, as purification would leave it untrained."""
    # Columns have no part in it, and laying out their knobs takes measurements.
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
    """Bring the most important of the removed units back until an allowed number is kept.

    Args:
        gone: Which units go.
        scores: How much each unit matters.
        knob: Says how many may be kept.
    """
    kept = len(gone) - int(gone.sum())
    order = np.argsort(np.where(gone, -scores, np.inf), kind="stable")
    result = gone.copy()
    result[order[: knob.snap_up(max(kept, 1)) - kept]] = False
    return result
