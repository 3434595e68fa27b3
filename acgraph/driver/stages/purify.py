"""Purification: remove what retraining left useless."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from acgraph.backends.interface import Trainer
from acgraph.config import CompressConfig
from acgraph.driver.inputs.data import RunData
from acgraph.driver.judging.proxy import Proxy
from acgraph.driver.space.space import Space, open_space
from acgraph.ir import Model
from acgraph.pruning.dead import dead_sets
from acgraph.pruning.importance import FloatArray
from acgraph.pruning.plan import Bools, Plan
from acgraph.pruning.shrink import Shrunk, shrink
from acgraph.search import Knob, Point, purify_search

log = logging.getLogger(__name__)

EVALUATIONS = 16
#: Images that one evaluation uses.
IMAGES = 1000
#: The most of one family, or of the columns of one layer, that purification may take.
MOST_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Purified:
    """What purification did."""

    shrunk: Shrunk
    removed_sets: int
    removed_columns: int
    evaluations: int


def purify(
    model: Model,
    data: RunData,
    trainer: Trainer | None,
    config: CompressConfig,
    time_budget_s: float | None = None,
) -> Purified:
    """Remove dead sets, then what the selection split does not miss, as far as time allows.

    Args:
        model: The graph as the rounds left it.
        data: Whose selection split decides.
        trainer: Holds the same graph; None where it was not trained since its last cut. Then only
            dead sets go: what a network misses that has yet to recover tells nothing.
        config: What may be cut.
        time_budget_s: Seconds for the search; None for no limit.
    """
    space = replace(open_space(model, config), thrifty=True)
    dependency, constants = space.dependency, model.constants()
    dead = dead_sets(dependency, space.families, constants)
    removed, evaluations = (0,) * len(space.knobs), 0
    importances = space.importances()

    def point(counts: tuple[int, ...]) -> Point:
        return tuple(k.snap_up(k.size - gone) for k, gone in zip(space.knobs, counts, strict=True))

    if trainer is not None:
        trainer.choose_mode()
        proxy = Proxy(trainer, space, data.select, limit=IMAGES, batches=4)
        result = purify_search(
            importances,
            lambda counts: proxy(point(counts)),
            floor=proxy(point(removed)),
            limits=[int(MOST_SHARE * knob.size) for knob in space.knobs],
            gains=[knob.weight / knob.size for knob in space.knobs],
            evaluations=EVALUATIONS,
            time_budget_s=time_budget_s,
        )
        removed, evaluations = result.removed, result.evaluations
    plan = space.plan(point(removed), constants)
    cut = _with_dead(plan, space, dead, importances)
    removed_sets = sum(int(gone.sum()) for gone in cut.sets.values())
    removed_columns = sum(int(gone.sum()) for gone in plan.columns.values())
    log.info("purification: %d coupled sets and %d columns", removed_sets, removed_columns)
    return Purified(
        shrunk=shrink(dependency, cut),
        removed_sets=removed_sets,
        removed_columns=removed_columns,
        evaluations=evaluations,
    )


def without_dead(model: Model, config: CompressConfig) -> Model:
    """Return a graph without its dead sets, as purification would leave it untrained."""
    # Columns have no part in it, and laying out their knobs takes measurements.
    space = replace(open_space(model, config), columns=False)
    dead = dead_sets(space.dependency, space.families, model.constants())
    if not dead:
        return model
    return shrink(space.dependency, _with_dead(Plan(), space, dead, space.importances())).model


def _with_dead(
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
