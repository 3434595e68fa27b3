"""Rewrite column-pruned layers so that only the kept columns are stored and computed.

Before::

    y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)   # w: most columns are zero

After (form gather)::

    a = Gather <axis = 1> (x, i0)
    b = Pad (a, pads)
    ...
    c = Concat <axis = 1> (b, ...)
    y = Conv <kernel_shape = [1, 1]> (c, w/columns)

The nodes are named ``LAYER/FORM.PART``: ``conv1/gather.k02.pad``, ``conv1/gather.conv``.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, get_args

import onnx_graphsurgeon as gs

from acgraph.analysis.bounds import weight_bounds
from acgraph.analysis.layers import Layer
from acgraph.analysis.layers import layers as find_layers
from acgraph.diagnostics import Diagnostic, Location
from acgraph.errors import PreconditionError
from acgraph.ir import Facts, Model, infer_facts
from acgraph.lowering.base import DENSE, Candidate, Chooser, TimedChooser
from acgraph.lowering.candidates import candidates
from acgraph.lowering.cost_model import CostModelChooser, Metric
from acgraph.lowering.find import read_layer
from acgraph.lowering.layer import Lowerable
from acgraph.lowering.rewrite import ConstantPool, replace_node
from acgraph.lowering.sharing import choose_together, sharing_layers, with_label
from acgraph.passmanager.base import Pass, PassContext, PassResult

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormCost:
    """The cost of a form that was considered for a layer.

    Attributes:
        label: The form and its variant, as in ``Candidate``.
        columns: Columns that it stores.
        params: Elements of the constants that it adds to the model.
        ms: Measured time of the layer alone in milliseconds; None where it was not timed.
    """

    label: str
    columns: int
    params: int
    ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoweredLayer:
    """The result for one layer.

    Attributes:
        name: Name of the original layer.
        form: ``dense``, ``crop``, ``channels``, ``gather`` or ``split``.
        variant: Variant of the form; empty where it has only one.
        columns_before: Columns of the dense layer.
        columns_after: Columns that the chosen form stores.
        params_before: Elements of its constants before; a weight with another consumer counts 0.
        params_after: Elements of its constants after, index tensors included; constants shared
            with an earlier layer count there only.
        remark: Why some or all unused columns stay; empty where none do.
        options: The forms that were considered, the dense one first; empty without a choice.
    """

    name: str
    form: str
    variant: str
    columns_before: int
    columns_after: int
    params_before: int
    params_after: int
    remark: str = ""
    options: tuple[FormCost, ...] = ()


def lower_columns(
    model: Model,
    *,
    choose: Chooser,
    layers: Collection[str] | None = None,
    facts: Facts | None = None,
    timed_by: Chooser | None = None,
) -> list[LoweredLayer]:
    """Lower the layers whose weights have zero columns, in place.

    Args:
        model: The model; a column counts as pruned where it is exactly zero in all filters.
        choose: Chooses among the candidates of each layer.
        layers: Names of the layers to lower; all by default.
        facts: Facts of the model, where the caller has them; else they are inferred.
        timed_by: The chooser whose measured times are reported; ``choose`` by default.

    Returns:
        The result for each of these layers, in graph order.

    Raises:
        PreconditionError: A name in ``layers`` is not that of a layer.
    """
    facts = facts or infer_facts(model, assume=True)
    found = find_layers(model)
    _check_names(model, layers, found)
    nodes = {node.name: node for node in model.graph.nodes}
    pool = ConstantPool.of(model.graph)
    wanted = [layer for layer in found if layers is None or layer.name in layers]
    bounds = weight_bounds(model, found)
    reads = {
        x.name: bounds[x.weight].reason
        if x.weight in bounds and bounds[x.weight].is_whole
        else read_layer(model, facts, nodes[x.name], x)
        for x in wanted
    }
    labels = _shared_labels(sharing_layers(model, wanted), reads, choose, pool)
    lowered = []
    for layer in wanted:
        read, label = reads[layer.name], labels.get(layer.name)
        if isinstance(read, str):
            lowered.append(_dense(layer, read))
        else:
            done, options = _lower(model, nodes[layer.name], read, layer, choose, pool, label)
            lowered.append(replace(done, options=_costs(options, timed_by or choose)))
    changed = [layer for layer in lowered if layer.form != DENSE]
    log.info("lower-columns: %d of %d layers lowered", len(changed), len(lowered))
    return lowered


def _check_names(model: Model, wanted: Collection[str] | None, found: list[Layer]) -> None:
    unknown = sorted(set(wanted or ()) - {layer.name for layer in found})
    if unknown:
        raise PreconditionError(
            f"there is no such layer: {', '.join(unknown)}",
            location=model.location(),
            hint="acgraph inspect lists the layers",
        )


def _shared_labels(
    groups: Sequence[Sequence[Layer]],
    reads: Mapping[str, Lowerable | str],
    choose: Chooser,
    pool: ConstantPool,
) -> dict[str, str]:
    """Choose the forms of layers that share a weight; return the label of each by its name."""
    labels = {}
    for group in groups:
        found = [read for layer in group if not isinstance(read := reads[layer.name], str)]
        is_whole = len(found) == len(group)
        label = choose_together(found, choose, pool.stored) if is_whole else DENSE
        labels.update({layer.name: label for layer in group})
    return labels


def _dense(layer: Layer, reason: str) -> LoweredLayer:
    """Return the result for a layer that cannot be lowered."""
    log.debug("%s stays dense: %s", layer.name, reason)
    params = layer.size + layer.bias_size
    return LoweredLayer(
        name=layer.name,
        form=DENSE,
        variant="",
        columns_before=layer.columns,
        columns_after=layer.columns,
        params_before=params,
        params_after=params,
        remark=reason,
    )


def _lower(
    model: Model,
    node: gs.Node,
    read: Lowerable,
    layer: Layer,
    choose: Chooser,
    pool: ConstantPool,
    label: str | None,
) -> tuple[LoweredLayer, Sequence[Candidate]]:
    """Lower one layer, to the form with the label or, without one, to the chosen form.

    Returns:
        The result, and the candidates.
    """
    before = candidates(read)[0].params
    options = candidates(read if label is None else replace(read, is_tied=False), pool.stored)
    chosen = options[0]
    if label is not None:
        chosen = with_label(options, label) or chosen
    elif len(options) > 1 and not read.is_tied:  # a tied dense weight would stay in the file, too
        chosen = choose.choose(options)
    after = chosen.params
    if chosen.form == DENSE:
        after = before
    else:
        replace_node(model, node, chosen.fragment, layer.weight_input, pool)
        log.debug("%s: %s, %d of %d columns", read.name, chosen.label, chosen.columns, read.columns)
    done = LoweredLayer(
        name=read.name,
        form=chosen.form,
        variant=chosen.variant,
        columns_before=read.columns,
        columns_after=chosen.columns,
        params_before=before,
        params_after=after,
        remark=_remark(read, chosen, is_shared=label is not None),
    )
    return done, options


def _costs(options: Sequence[Candidate], chooser: Chooser) -> tuple[FormCost, ...]:
    """Return the costs of the candidates of a layer; empty where there is only one."""
    if len(options) < 2:
        return ()
    known: list[float | None] = [None] * len(options)
    if isinstance(chooser, TimedChooser):
        known = chooser.known_ms(options)
    return tuple(
        FormCost(label=option.label, columns=option.columns, params=option.params, ms=ms)
        for option, ms in zip(options, known, strict=True)
    )


def _remark(read: Lowerable, chosen: Candidate, *, is_shared: bool) -> str:
    """Return why unused columns stay; empty where none do, or where dense is faster."""
    if chosen.columns <= read.used:
        return ""
    if read.is_tied and not is_shared:
        return "other nodes read its weight, so the file would also contain the dense weight"
    return read.limit


@dataclass(frozen=True)
class LowerColumns(Pass):
    """Rewrite column-pruned layers so that only the kept columns are stored and computed.

    The pass repeats until nothing changes: a part of a lowered layer may be lowered further.

    Attributes:
        metric: The quantity to minimise, by the cost model: latency, params or size.
    """

    name: ClassVar[str] = "lower-columns"

    metric: Metric = "latency"

    def requires(self, model: Model, context: PassContext) -> None:
        """Check that the metric exists."""
        if self.metric not in get_args(Metric):
            raise PreconditionError(
                f"no metric '{self.metric}'", hint=f"one of {', '.join(get_args(Metric))}"
            )

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Lower every layer with a better form than the dense one."""
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
