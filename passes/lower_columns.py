"""lower-columns: rewrite column-pruned layers so that only the kept columns are stored and read.

Before::

    y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)   # w: most columns are zero

After (form gather)::

    a = Gather <axis = 1> (x, i0)
    b = Pad (a, pads)
    ...
    c = Concat <axis = 1> (b, ...)
    y = Conv <kernel_shape = [1, 1]> (c, w/columns)

The nodes are called ``LAYER/FORM.PART``: ``conv1/gather.k02.pad``, ``conv1/gather.conv``.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, get_args

import onnx_graphsurgeon as gs

from acgraph.analysis.layers import Layer
from acgraph.analysis.layers import layers as find_layers
from acgraph.diagnostics import Diagnostic, Location
from acgraph.errors import PreconditionError
from acgraph.ir import Facts, Model, infer_facts
from acgraph.lowering.base import DENSE, Chooser
from acgraph.lowering.candidates import candidates
from acgraph.lowering.cost_model import CostModelChooser, Metric
from acgraph.lowering.find import read_layer
from acgraph.lowering.rewrite import ConstantPool, replace_node
from acgraph.passmanager.base import Pass, PassContext, PassResult

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoweredLayer:
    """What became of one layer.

    Attributes:
        name: The layer's name before.
        form: ``dense``, ``crop``, ``channels``, ``gather`` or ``split``.
        variant: Which of the form's ways; empty where there is one.
        columns_before: Columns of the dense layer.
        columns_after: Columns that are stored now.
        params_before: Elements of its constants before; 0 for a weight that others read too.
        params_after: Elements that it adds to the model now, index tensors included; those that
            an earlier layer brought count there.
        remark: Why the layer could not be lowered, or not all of it; empty where it could.
    """

    name: str
    form: str
    variant: str
    columns_before: int
    columns_after: int
    params_before: int
    params_after: int
    remark: str = ""


def lower_columns(
    model: Model,
    *,
    choose: Chooser,
    layers: Collection[str] | None = None,
    facts: Facts | None = None,
) -> list[LoweredLayer]:
    """Lower the layers whose weights have zero columns, in place.

    Args:
        model: The model; columns are pruned where they are exactly zero over all filters.
        choose: Picks among the candidates of each layer.
        layers: Names of the layers to look at; all of them by default.
        facts: What is known of the model's tensors, where the caller has it.

    Returns:
        What became of every layer looked at, in graph order.

    Raises:
        PreconditionError: ``layers`` names something that is not a layer.
    """
    facts = facts or infer_facts(model)
    found = find_layers(model)
    _check_names(model, layers, found)
    nodes = {node.name: node for node in model.graph.nodes}
    pool = ConstantPool.of(model.graph)
    lowered = [
        _lower(model, facts, nodes[layer.name], layer, choose, pool)
        for layer in found
        if layers is None or layer.name in layers
    ]
    changed = [layer for layer in lowered if layer.form != DENSE]
    log.info("lower-columns: %d of %d layers lowered", len(changed), len(lowered))
    return lowered


def _check_names(model: Model, wanted: Collection[str] | None, found: list[Layer]) -> None:
    unknown = sorted(set(wanted or ()) - {layer.name for layer in found})
    if unknown:
        raise PreconditionError(
            f"no such layer: {', '.join(unknown)}",
            location=model.location(),
            hint="acgraph inspect lists the layers",
        )


def _lower(
    model: Model, facts: Facts, node: gs.Node, layer: Layer, choose: Chooser, pool: ConstantPool
) -> LoweredLayer:
    read = read_layer(model, facts, node, layer)
    if isinstance(read, str):
        log.debug("%s stays dense: %s", layer.name, read)
        params = layer.size + layer.bias_size
        return LoweredLayer(
            name=layer.name,
            form=DENSE,
            variant="",
            columns_before=layer.columns,
            columns_after=layer.columns,
            params_before=params,
            params_after=params,
            remark=read,
        )
    ways = candidates(read, pool.held)
    chosen = choose.choose(ways) if len(ways) > 1 else ways[0]
    if chosen.form != DENSE:
        replace_node(model, node, chosen.fragment, layer.weight_input, pool)
        log.debug("%s: %s, %d of %d columns", read.name, chosen.label, chosen.columns, read.columns)
    return LoweredLayer(
        name=read.name,
        form=chosen.form,
        variant=chosen.variant,
        columns_before=read.columns,
        columns_after=chosen.columns,
        params_before=ways[0].params,
        params_after=chosen.params,
        remark=read.limit if chosen.columns > read.used else "",
    )


@dataclass(frozen=True)
class LowerColumns(Pass):
    """Rewrite column-pruned layers so that only the kept columns are stored and computed.

    Repeated until nothing changes: a part of a lowered layer may be lowered further.

    Attributes:
        metric: What to make small: latency, params or size; by estimate, without a clock.
    """

    name: ClassVar[str] = "lower-columns"

    metric: Metric = "latency"

    def requires(self, model: Model, context: PassContext) -> None:
        """Refuse a metric that does not exist."""
        if self.metric not in get_args(Metric):
            raise PreconditionError(
                f"no metric '{self.metric}'", hint=f"one of {', '.join(get_args(Metric))}"
            )

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Lower all that pays."""
        chooser = CostModelChooser(metric=self.metric)
        first = result = lower_columns(model, choose=chooser)
        total = 0
        while changed := sum(layer.form != DENSE for layer in result):
            total += changed
            result = lower_columns(model, choose=chooser)
        remarks = tuple(
            Diagnostic(message=layer.remark, location=Location(model=model.source, node=layer.name))
            for layer in first
            if layer.remark
        )
        return PassResult(modified=total > 0, statistics={"lowered": total}, remarks=remarks)
