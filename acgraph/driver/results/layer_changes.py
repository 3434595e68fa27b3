"""Compare every layer of the original with its compact form, for the report."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from acgraph.analysis.cost import macs_by_node
from acgraph.analysis.layers import Layer, layers
from acgraph.backends.ort.session import SessionSettings
from acgraph.driver.latency.layer_times import layer_times, lowered_parts
from acgraph.driver.state.records import RoundRecord
from acgraph.ir import Model, infer_facts
from acgraph.passes.lower_columns import LoweredLayer
from acgraph.pruning.cut_plan import CutPlan
from acgraph.report import LayerChange, LayerForm, RemovedUnits

#: Names of forms in the report where they differ: one that gathers whole channels is a gather.
_REPORTED_FORMS = {"channels": "gather"}


def layer_changes(
    before: Model,
    shrunk: Model,
    lowered: Sequence[LoweredLayer],
    compact: Model | None = None,
    settings: SessionSettings | None = None,
    *,
    is_timed: bool = True,
    plan: CutPlan | None = None,
    rounds: Sequence[RoundRecord] = (),
) -> tuple[LayerChange, ...]:
    """Compare every layer of the original with its compact form.

    Args:
        before: The original.
        shrunk: The shrunk model, before lowering.
        lowered: The compact form of each layer.
        compact: The lowered model, if the costs of its layers are to be compared.
        settings: Settings of the session for timing; by default those of a phone.
        is_timed: Whether layers are timed: by ONNX Runtime's profiler, summed over the nodes of a
            lowered layer. A layer that the profiler does not list separately has no time.
        plan: The cut, if the removed filters and columns are to be listed.
        rounds: The rounds, of which the last that refitted a layer gives its errors.
    """
    forms = {layer.name: layer for layer in lowered}
    left = {layer.name: layer for layer in layers(shrunk, infer_facts(shrunk))}
    found = layers(before)
    names = [layer.name for layer in found]
    times: list[dict[str, float]] = []
    macs: list[dict[str, int | None]] = []
    if compact is not None:
        macs = [_layer_macs(model, names, shrunk) for model in (before, compact)]
    if compact is not None and is_timed:
        times = [layer_times(model, names, shrunk, settings) for model in (before, compact)]
    errors = {fit.name: (fit.before, fit.after) for each in rounds for fit in each.fits}
    removed = {} if plan is None else removed_units(found, plan)
    return tuple(
        _change(layer, left.get(layer.name), forms.get(layer.name)).model_copy(
            update={
                "latency_ms": _pair(layer.name, times),
                "macs": _pair(layer.name, macs),
                "fit_error": errors.get(layer.name),
                "removed": removed.get(layer.name),
            }
        )
        for layer in found
    )


def _change(layer: Layer, left: Layer | None, form: LoweredLayer | None) -> LayerChange:
    columns = form.columns_after if form is not None else (left.columns if left else 0)
    return LayerChange(
        name=layer.name,
        op_type=layer.op_type,
        filters=(layer.filters, left.filters if left is not None else 0),
        columns=(layer.columns, columns),
        lowering=_REPORTED_FORMS.get(form.form, form.form) if form is not None else "dense",
        forms=() if form is None else tuple(_forms(form)),
    )


def _forms(layer: LoweredLayer) -> Iterable[LayerForm]:
    chosen = f"{layer.form}:{layer.variant}" if layer.variant else layer.form
    for option in layer.options:
        yield LayerForm(
            form=option.label,
            columns=option.columns,
            params=option.params,
            latency_ms=option.ms,
            chosen=option.label == chosen,
        )


def _pair(name: str, sides: Sequence[Mapping[str, Any]]) -> tuple[Any, Any] | None:
    """Return a value of both models, or None where one is unknown."""
    known = [value for side in sides if (value := side.get(name)) is not None]
    return (known[0], known[1]) if len(known) == 2 else None


def _layer_macs(model: Model, names: Sequence[str], known: Model) -> dict[str, int | None]:
    """Sum the multiply-accumulates of a model by layer; 0 for a layer that it does not have."""
    counted = macs_by_node(model, infer_facts(model, assume=True))
    owners = lowered_parts(counted.keys() - {node.name for node in known.graph.nodes}, names)
    owners.update({name: name for name in names if name in counted})
    found: dict[str, int | None] = dict.fromkeys(names, 0)
    for node, owner in owners.items():
        sum_, more = found[owner], counted[node]
        found[owner] = None if sum_ is None or more is None else sum_ + more
    return found


def removed_units(found: Sequence[Layer], plan: CutPlan) -> dict[str, RemovedUnits]:
    """List the removed filters and columns of layers, by layer.

    A grouped ConvTranspose is left out: each of its groups has other columns.

    Args:
        found: The layers of the original.
        plan: The cut.
    """
    axes = {(cut.tensor, cut.reader, cut.axis): cut.removed for cut in plan.axes}
    columns = {cut.layer: cut.removed for cut in plan.columns}
    removed = {}
    for layer in found:
        if layer.op_type == "ConvTranspose" and layer.group > 1:
            continue
        readers = (layer.name, *layer.through, "")
        own = [
            next((axes[key] for r in readers if (key := (layer.weight, r, axis)) in axes), ())
            for axis in (layer.filter_axis, layer.channel_axis)
        ]
        size = layer.weight_shape[layer.filter_axis]
        filters = [start + place for start in range(0, layer.filters, size) for place in own[0]]
        places = math.prod(layer.kernel)
        gone = {channel * places + k for channel in own[1] for k in range(places)}
        gone.update(columns.get(layer.name, ()))
        removed[layer.name] = RemovedUnits(
            filters=as_ranges(filters),
            columns=as_ranges(sorted(gone)),
            kernel=layer.kernel,
        )
    return removed


def as_ranges(numbers: Sequence[int]) -> str:
    """Write ascending numbers as text, consecutive ones as a range.

    >>> as_ranges([0, 1, 2, 7, 9, 10])
    '0-2 7 9-10'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(f"{a}-{b}" if a < b else str(a) for a, b in runs)
