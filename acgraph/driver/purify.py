"""Purification: remove what retraining left useless."""

import logging
from dataclasses import dataclass

import numpy as np

from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.config import CompressConfig
from acgraph.driver.inputs import RunData
from acgraph.driver.proxy import Proxy
from acgraph.driver.space import open_space
from acgraph.ir import Model
from acgraph.pruning.dead import dead_sets
from acgraph.pruning.plan import Plan
from acgraph.pruning.shrink import Shrunk, shrink
from acgraph.search import Point, purify_search

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
    trainer: TorchTrainer,
    config: CompressConfig,
    time_budget_s: float | None = None,
) -> Purified:
    """Remove dead sets, then what the selection split does not miss, as far as time allows."""
    space = open_space(model, config)
    dependency, constants = space.dependency, model.constants()
    dead = dead_sets(dependency, space.families, constants)
    trainer.choose_mode()
    proxy = Proxy(trainer, space, data.select, limit=IMAGES, batches=4)
    sizes = [knob.size for knob in space.knobs]

    def point(counts: tuple[int, ...]) -> Point:
        return tuple(size - count for size, count in zip(sizes, counts, strict=True))

    whole = proxy(point((0,) * len(sizes)))
    result = purify_search(
        space.importances(),
        lambda counts: proxy(point(counts)),
        floor=whole,
        limits=[int(MOST_SHARE * size) for size in sizes],
        gains=[knob.weight / knob.size for knob in space.knobs],
        evaluations=EVALUATIONS,
        time_budget_s=time_budget_s,
    )
    plan = space.plan(point(result.removed), constants)
    sets = dict(plan.sets)
    for name, gone in dead.items():
        both = sets.get(name, np.zeros_like(gone)) | gone
        sets[name] = both if not both.all() else gone
    cut = Plan(sets=sets, columns=plan.columns)
    removed_sets = sum(int(gone.sum()) for gone in sets.values())
    removed_columns = sum(int(gone.sum()) for gone in plan.columns.values())
    log.info("purification: %d coupled sets and %d columns", removed_sets, removed_columns)
    return Purified(
        shrunk=shrink(dependency, cut),
        removed_sets=removed_sets,
        removed_columns=removed_columns,
        evaluations=result.evaluations,
    )
