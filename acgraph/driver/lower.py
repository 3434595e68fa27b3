"""Lower column-pruned layers, and write what is measured: the last steps before export."""

import logging
from collections.abc import Sequence

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
    lowered_model, lowered = _lower(ready, chooser)
    if most_params is None or _params(lowered_model) <= most_params:
        return lowered_model, lowered
    return _force(lowered_model, lowered, most_params)


def _force(
    model: Model, lowered: list[LoweredLayer], most_params: int
) -> tuple[Model, list[LoweredLayer]]:
    """Make layers small that stayed dense for speed, until the params fit; most saving first."""
    dense = [x.name for x in lowered if x.form == "dense" and not x.remark]
    trial = lower_columns(clone_model(model), choose=SmallestChooser(), layers=dense)
    saving = {x.name: x.params_before - x.params_after for x in trial if x.form != "dense"}
    forced: dict[str, LoweredLayer] = {}
    current = model
    for name in sorted(saving, key=lambda name: -saving[name]):
        step = clone_model(current)
        found = lower_columns(step, choose=SmallestChooser(), layers=[name])
        current = _clean(step)
        forced |= {x.name: x for x in found}
        if _params(current) <= most_params:
            break
    if forced:
        log.warning(
            "the params target needs columns removed from %d layers that are faster dense: %s",
            len(forced),
            ", ".join(forced),
        )
    return current, [forced.get(x.name, x) for x in lowered]


def _lower(ready: Model, chooser: Chooser) -> tuple[Model, list[LoweredLayer]]:
    model = clone_model(ready)
    lowered = lower_columns(model, choose=chooser)
    return _clean(model), lowered


def _clean(model: Model) -> Model:
    EliminateDeadNodes().run(model, PassContext())
    return model


def _params(model: Model) -> int:
    return count_params(proto_from_model(model))
