"""Purification: remove units that are no longer needed after retraining."""

import logging
from dataclasses import dataclass, replace

from acgraph.backends.interface import Trainer
from acgraph.config import CompressConfig
from acgraph.diagnostics import counted
from acgraph.driver.evaluation.proxy import Proxy
from acgraph.driver.inputs.data import RunData
from acgraph.driver.network import Network
from acgraph.driver.schedule.plan import PURIFY_EVALUATIONS
from acgraph.driver.space.space import open_space
from acgraph.driver.stages.dead import with_dead
from acgraph.driver.stages.target import can_cut
from acgraph.driver.state.context import Context
from acgraph.driver.state.positions import compose
from acgraph.driver.state.state import State
from acgraph.pruning.dead import dead_sets
from acgraph.pruning.importance import Importance
from acgraph.pruning.shrink import Shrunk, shrink
from acgraph.search import Point, purify_search

log = logging.getLogger(__name__)

#: Number of images of one evaluation.
IMAGES = 1000
#: Largest share of a family, or of the columns of a layer, that purification may remove.
MAX_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Purified:
    """The result of purification."""

    shrunk: Shrunk
    removed_sets: int
    removed_columns: int
    evaluations: int


def purify(context: Context, state: State) -> State:
    """Remove dead sets, and units without which a trained network loses no selection accuracy."""
    config = context.config
    if not config.purify or not can_cut(state.network, config):
        return state
    trainer = None
    if not state.rounds or state.rounds[-1].epochs > 0:
        trainer = context.trainer(state.network, state.mode)
    found = purified(
        state.network, context.data, trainer, config, state.schedule.purify_s,
        importance=context.functions.importance,
    )  # fmt: skip
    context.reporter.status(
        f"purification: {counted(found.removed_sets, 'coupled set')} and "
        f"{counted(found.removed_columns, 'column')} removed after "
        f"{counted(found.evaluations, 'evaluation')}"
    )
    if state.rounds and not found.removed_sets and not found.removed_columns:
        return state  # keeps the graph of the last round with its analysis and its trainer
    return replace(
        state,
        network=Network(found.shrunk.model),
        positions=compose(state.positions, found.shrunk),
    )


def purified(
    network: Network,
    data: RunData,
    trainer: Trainer | None,
    config: CompressConfig,
    time_budget_s: float | None = None,
    *,
    importance: Importance | None = None,
) -> Purified:
    """Remove dead sets, then units without which the selection accuracy does not fall.

    Args:
        network: The graph after the rounds.
        data: The data, whose selection split is used.
        trainer: Holds the same graph; None if it was not trained since its last cut. Then only
            dead sets are removed, because the accuracy before retraining says nothing.
        config: The options, which bound the cut.
        time_budget_s: Time limit of the search in seconds; None for no limit.
        importance: A function of the user that ranks filters.
    """
    space = replace(open_space(network, config, importance), saves_time=True)
    dependency, constants = space.dependency, network.model.constants()
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
            limits=[int(MAX_SHARE * knob.size) for knob in space.knobs],
            gains=[knob.weight / knob.size for knob in space.knobs],
            evaluations=PURIFY_EVALUATIONS,
            time_budget_s=time_budget_s,
        )
        removed, evaluations = result.removed, result.evaluations
    plan = space.plan(point(removed), constants)
    cut = with_dead(plan, space, dead, importances)
    removed_sets = sum(int(gone.sum()) for gone in cut.sets.values())
    removed_columns = sum(int(gone.sum()) for gone in plan.columns.values())
    log.info("purification: %d coupled sets and %d columns", removed_sets, removed_columns)
    return Purified(
        shrunk=shrink(dependency, cut),
        removed_sets=removed_sets,
        removed_columns=removed_columns,
        evaluations=evaluations,
    )
