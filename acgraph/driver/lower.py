"""Lower column-pruned layers, and write what is measured: the last steps before export."""

import logging
from collections.abc import Collection, Sequence

from acgraph.analysis.layers import layers
from acgraph.ir import Model, clone_model, count_params, proto_from_model
from acgraph.lowering.base import Candidate, Chooser
from acgraph.passes.eliminate_dead_nodes import EliminateDeadNodes
from acgraph.passes.fuse_batchnorm import fuse_batchnorm
from acgraph.passes.lower_columns import LoweredLayer, lower_columns
from acgraph.passmanager import PassContext

log = logging.getLogger(__name__)


class SmallestChooser:
    """Takes the form with the fewest params, whatever it costs in time."""

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """Pick one."""
        return min(candidates, key=lambda c: c.params)


def compact(
    model: Model, chooser: Chooser, *, most_params: int | None = None
) -> tuple[Model, list[LoweredLayer]]:
    """Fold BatchNormalization and lower columns in a copy of a shrunk model.

    Args:
        model: The shrunk model, its removed columns zero.
        chooser: Picks a form for each layer; never one slower than dense.
        most_params: Where the choice leaves more than this, the layers that stayed dense for
            speed are made small all the same: the rate was asked for.
    """
    ready = clone_model(model)
    fuse_batchnorm(ready)
    small, lowered = _lower(ready, chooser)
    if most_params is None or _params(small) <= most_params:
        return small, lowered
    return _force(ready, chooser, lowered, most_params)


def _force(
    ready: Model, chooser: Chooser, lowered: list[LoweredLayer], most_params: int
) -> tuple[Model, list[LoweredLayer]]:
    """Give as few layers as it takes their smallest form, those that save most first."""
    least = {x.name: x for x in lower_columns(clone_model(ready), choose=SmallestChooser())}
    saving = {x.name: x.params_after - least[x.name].params_after for x in lowered}
    order = sorted((name for name, saved in saving.items() if saved > 0), key=lambda n: -saving[n])
    low, high = min(1, len(order)), len(order)
    while low < high:
        middle = (low + high) // 2
        if _params(_lower(ready, chooser, order[:middle])[0]) <= most_params:
            high = middle
        else:
            low = middle + 1
    forced = order[:low]
    if forced:
        log.warning(
            "the params target needs the smallest form of %d layers, which is not their fastest: "
            "%s",
            len(forced),
            ", ".join(forced),
        )
    return _lower(ready, chooser, forced)


def _lower(
    ready: Model, chooser: Chooser, forced: Collection[str] = ()
) -> tuple[Model, list[LoweredLayer]]:
    """Lower a copy: the forced layers to their smallest form, the others as the chooser says."""
    model = clone_model(ready)
    names = [layer.name for layer in layers(model)]
    found = lower_columns(model, choose=SmallestChooser(), layers=[n for n in names if n in forced])
    found += lower_columns(model, choose=chooser, layers=[n for n in names if n not in forced])
    by_name = {layer.name: layer for layer in found}
    return _clean(model), [by_name[name] for name in names]


def _clean(model: Model) -> Model:
    EliminateDeadNodes().run(model, PassContext())
    return model


def _params(model: Model) -> int:
    return count_params(proto_from_model(model))
