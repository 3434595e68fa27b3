"""Purification: remove what retraining left useless."""

import logging
from dataclasses import dataclass, replace

from acgraph.backends.interface import Trainer
from acgraph.config import CompressConfig
from acgraph.diagnostics import counted
from acgraph.driver.inputs.data import RunData
from acgraph.driver.judging.proxy import Proxy
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

#: Images that one evaluation uses.
IMAGES = 1000
#: The most of one family, or of the columns of one layer, that purification may take.
MAX_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Purified:
    """What purification did."""

    shrunk: Shrunk
    removed_sets: int
    removed_columns: int
    evaluations: int


def purify(context: Context, state: State) -> State:
    """Remove dead sets, and what the selection split does not miss of a trained network."""
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
    context.reporter.say(
        f"purification: {counted(found.removed_sets, 'coupled set')} and "
        f"{counted(found.removed_columns, 'column')}, "
        f"{counted(found.evaluations, 'evaluation')}"
    )
    if state.rounds and not found.removed_sets and not found.removed_columns:
        return state  # the graph of the last round, its analysis and its trainer
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
    """Remove dead sets, then what the selection split does not miss, as far as time allows.

    Args:
        network: The graph as the rounds left it.
        data: Whose selection split decides.
        trainer: Holds the same graph; None where it was not trained since its last cut. Then only
            dead sets go: what a network misses that has yet to recover tells nothing.
        config: What may be cut.
        time_budget_s: Seconds for the search; None for no limit.
        importance: A user's function that ranks filters.
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
