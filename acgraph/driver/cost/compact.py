"""Make the compact form of a shrunk model: fold BatchNormalization, and lower pruned columns."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from acgraph.analysis.cost import model_cost
from acgraph.analysis.layers import layers
from acgraph.diagnostics import counted, listed
from acgraph.driver.passes import PassSettings
from acgraph.errors import PassError
from acgraph.ir import (
    Facts,
    Model,
    clone_model,
    count_params,
    infer_facts,
    proto_from_model,
    proto_size,
)
from acgraph.lowering.base import DENSE, Candidate, Chooser
from acgraph.lowering.cost_model import RANK, CostModelChooser
from acgraph.passes.eliminate_dead_nodes import EliminateDeadNodes
from acgraph.passes.fuse_batchnorm import FuseBatchnorm
from acgraph.passes.lower_columns import LoweredLayer, lower_columns
from acgraph.passmanager.base import HIDDEN, Pass, PassContext, PassResult

log = logging.getLogger(__name__)

#: Largest number of layers that a warning names.
_SHOWN_LAYERS = 2

SizeMetric = Literal["params", "size"]
#: Metrics that are counted rather than timed.
CountedMetric = Literal["params", "size", "macs"]


@dataclass(frozen=True, slots=True)
class SmallestChooser:
    """Chooses the form with the fewest params or bytes, however slow it is.

    Attributes:
        metric: The size to minimise.
    """

    metric: SizeMetric = "params"

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """Choose a form."""
        return min(candidates, key=RANK[self.metric])


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on the params, bytes or MACs of a written model.

    Attributes:
        metric: The quantity that is limited.
        most: Its largest value.
    """

    metric: CountedMetric
    most: int

    @property
    def chooser(self) -> Chooser:
        """Chooses forms that meet the limit; for MACs, forms must also save time."""
        return CostModelChooser() if self.metric == "macs" else SmallestChooser(self.metric)

    def size_of(self, model: Model) -> int:
        """Return the params, bytes or MACs of a model.

        Raises:
            PassError: MACs are limited, and those of a node are unknown.
        """
        if self.metric == "macs":
            cost = model_cost(model)
            if cost.unknown:
                raise PassError(
                    f"the MACs of '{cost.unknown[0]}' became unknown when the network was cut",
                    location=model.location(),
                    hint="use another --metric, and report this model's operators as a bug",
                )
            return cost.macs
        proto = proto_from_model(model)
        return count_params(proto) if self.metric == "params" else proto_size(proto)

    def fits(self, model: Model) -> bool:
        """Return whether a model is within the limit."""
        return self.size_of(model) <= self.most


def compact(
    model: Model,
    chooser: Chooser,
    *,
    limit: Limit | None = None,
    warn: Callable[[str], None] = log.warning,
    passes: PassSettings | None = None,
) -> tuple[Model, list[LoweredLayer]]:
    """Fold BatchNormalization and lower columns in a copy of a shrunk model.

    The passes are ``fuse-batchnorm``, ``lower-columns`` and ``eliminate-dead-nodes``.

    Args:
        model: The shrunk model, with removed columns set to zero.
        chooser: Chooses a form for each layer, never one that is slower than dense.
        limit: The limit that the target rate sets. If the model exceeds it, as many layers as
            necessary get their smallest form, although it is not the fastest one.
        warn: Callback for a warning that names these layers.
        passes: How the passes are instrumented.

    Returns:
        The compact model, and the form of each layer.
    """
    lowering = LowerLayers(chooser=chooser)
    small = _compacted(model, lowering, passes)
    if limit is None or limit.fits(small):
        return small, lowering.lowered
    ready = clone_model(model)
    PassSettings().run([FuseBatchnorm()], ready)
    facts = infer_facts(ready, assume=True)  # once for all lowerings that are tried
    forced = tuple(_forced_layers(ready, facts, chooser, lowering.lowered, limit, warn))
    lowering = LowerLayers(chooser=chooser, smallest=limit.chooser, forced=forced, facts=facts)
    return _compacted(model, lowering, passes), lowering.lowered


def _compacted(model: Model, lowering: "LowerLayers", passes: PassSettings | None) -> Model:
    """Fold and lower a copy, and remove dead nodes from it."""
    result = clone_model(model)
    settings = passes or PassSettings()
    settings.run([FuseBatchnorm(), lowering, EliminateDeadNodes()], result)
    return result


def _forced_layers(
    ready: Model,
    facts: Facts,
    chooser: Chooser,
    lowered: list[LoweredLayer],
    limit: Limit,
    warn: Callable[[str], None],
) -> list[str]:
    """Return the layers that need their smallest form to meet the limit, as few as possible.

    Layers that save most are chosen first; their number is found by bisection.
    """
    smallest = limit.chooser
    small = {x.name: x for x in lower_columns(clone_model(ready), choose=smallest, facts=facts)}
    others = [
        x for x in lowered if (x.form, x.variant) != (small[x.name].form, small[x.name].variant)
    ]
    others.sort(key=lambda x: small[x.name].params_after - x.params_after)
    order = [x.name for x in others]
    low, high = min(1, len(order)), len(order)
    while low < high:
        middle = (low + high) // 2
        if limit.fits(_lower(ready, facts, chooser, order[:middle], smallest)[0]):
            high = middle
        else:
            low = middle + 1
    forced = order[:low]
    if forced:
        warn(
            f"the {limit.metric} target needs the smallest form of "
            f"{counted(len(forced), 'layer')}, which is not the fastest form: "
            f"{listed(forced, _SHOWN_LAYERS)}"
        )
    return forced


def _lower(
    ready: Model,
    facts: Facts,
    chooser: Chooser,
    forced: Sequence[str] = (),
    smallest: Chooser | None = None,
) -> tuple[Model, list[LoweredLayer]]:
    """Lower a copy: forced layers to their smallest form, the others to that of the chooser."""
    model = clone_model(ready)
    lowering = LowerLayers(
        chooser=chooser, smallest=smallest or chooser, forced=tuple(forced), facts=facts
    )
    PassSettings().run([lowering, EliminateDeadNodes()], model)
    return model, lowering.lowered


@dataclass(frozen=True)
class LowerLayers(Pass):
    """Rewrite layers with removed columns in compact forms.

    Attributes:
        chooser: Chooses the form of each layer.
        smallest: Chooses the form of the forced layers instead.
        forced: Names of the layers that must be as small as possible.
        facts: Shapes and values of the tensors, which lowering does not change; computed if None.
        lowered: The form of each layer, after the pass ran.
    """

    name: ClassVar[str] = "lower-columns"

    chooser: Chooser = field(default_factory=CostModelChooser, metadata=HIDDEN)
    smallest: Chooser = field(default_factory=SmallestChooser, metadata=HIDDEN)
    forced: tuple[str, ...] = ()
    facts: Facts | None = field(default=None, metadata=HIDDEN, compare=False)
    lowered: list[LoweredLayer] = field(default_factory=list, metadata=HIDDEN, compare=False)

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Lower the forced layers first, then the others."""
        names = [layer.name for layer in layers(model)]
        first = [name for name in names if name in self.forced]
        others = [name for name in names if name not in self.forced]
        facts = self.facts or infer_facts(model, assume=True)
        found = []
        if first:
            found += lower_columns(
                model,
                choose=self.smallest,
                layers=first,
                facts=facts,
                timed_by=self.chooser,
            )
        found += lower_columns(model, choose=self.chooser, layers=others, facts=facts)
        by_name = {layer.name: layer for layer in found}
        self.lowered[:] = [by_name[name] for name in names]
        changed = sum(layer.form != DENSE for layer in found)
        return PassResult(modified=changed > 0, statistics={"lowered": changed})
