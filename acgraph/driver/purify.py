"""Purification: remove what retraining left useless."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from acgraph.analysis.dependency import analyse
from acgraph.analysis.families import Family
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.driver.inputs import RunData
from acgraph.driver.proxy import Proxy
from acgraph.driver.space import Space
from acgraph.ir import Array, Model
from acgraph.pruning.plan import Bools, Plan
from acgraph.pruning.shrink import Shrunk, shrink
from acgraph.search import Point, purify_search

log = logging.getLogger(__name__)

EVALUATIONS = 16
#: The most of one family, or of the columns of one layer, that purification may take.
MOST_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Purified:
    """What purification did."""

    shrunk: Shrunk
    removed_sets: int
    removed_columns: int
    evaluations: int


def dead_sets(families: list[Family], weights: Mapping[str, Array]) -> dict[str, Bools]:
    """Mark coupled sets that are never made, or never read: ``bool [size]`` by family name.

    A set whose filters, shifts included, are all zero gives only zeros; one whose columns are all
    zero is read by nobody. Either way it can go exactly.
    """
    found = {}
    for family in families:
        dead = np.zeros(family.size, bool)
        for role in ("filter", "column"):
            members = [m for m in family.members if m.role == role and m.tensor in weights]
            if not members:
                continue
            useless = np.ones(family.size, bool)
            for member in members:
                value = np.moveaxis(weights[member.tensor], member.axis, 0)
                live = np.abs(value.reshape(len(value), -1)).max(axis=1, initial=0) > 0
                useless[member.sets[live & (member.sets >= 0)]] = False
            dead |= useless
        if dead.all():
            dead[0] = False  # an axis keeps a position
        if dead.any():
            found[family.name] = dead
    return found


def purify(model: Model, data: RunData, trainer: TorchTrainer, align: int) -> Purified:
    """Remove dead sets, then what the selection split does not miss."""
    dependency = analyse(model)
    constants = model.constants()
    space = Space(dependency=dependency, weights=constants, align=align)
    dead = dead_sets([f for f in space.families if f.is_exact], constants)
    trainer.choose_mode()
    proxy = Proxy(trainer, space, data.select, limit=len(data.select), batches=4)
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
