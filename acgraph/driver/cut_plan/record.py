"""Say what was cut of a model as a plan, in terms of the file that was given."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.layers import layers
from acgraph.driver.state.positions import Positions
from acgraph.ir import Array
from acgraph.ir.check import source_digest
from acgraph.lowering.base import DENSE
from acgraph.passes.lower_columns import LoweredLayer
from acgraph.pruning.cut_plan import ColumnsCut, CutPlan, LayerForm, axis_cuts
from acgraph.pruning.layer_columns import used_columns
from acgraph.version import __version__


def record_cut(
    dependency: DependencyGraph,
    copies: Mapping[str, str],
    kept: Positions,
    weights: Mapping[str, Array] | None = None,
    lowered: Sequence[LoweredLayer] | None = None,
    source: str = "",
) -> CutPlan:
    """Return the plan that repeats a cut.

    Args:
        dependency: Of the model as it was given, its merged constants apart.
        copies: The constants that came of setting them apart, with their origins.
        kept: By constant and axis: the positions that stayed.
        weights: The constants of the shrunk model by their names in the dense one, columns that
            were removed zero; None where no columns were.
        lowered: What became of each layer; None where the model was only shrunk.
        source: SHA-256 of the file; by default that of the dependency's model.
    """
    shapes = {name: shape for name, (_, shape) in dependency.model.constant_forms().items()}
    return CutPlan(
        version=__version__,
        source_sha256=source or source_digest(dependency.model),
        axes=axis_cuts(kept, shapes, copies),
        columns=() if weights is None else tuple(_columns(dependency, kept, weights)),
        forms=None
        if lowered is None
        else tuple(
            LayerForm(layer=x.name, form=x.form, variant=x.variant)
            for x in lowered
            if x.form != DENSE
        ),
    )


def _columns(
    dependency: DependencyGraph, kept: Positions, weights: Mapping[str, Array]
) -> Iterator[ColumnsCut]:
    constants = dependency.model.constants()
    for layer in layers(dependency.model):
        if layer.weight not in weights:
            continue
        before = used_columns(layer, constants[layer.weight])
        left = kept.get(layer.weight, {}).get(layer.channel_axis, np.arange(len(before)))
        gone = np.zeros_like(before)
        gone[left] = before[left] & ~used_columns(layer, weights[layer.weight])
        if gone.any():
            yield ColumnsCut(
                layer=layer.name,
                shape=before.shape,
                removed=tuple(np.flatnonzero(gone).tolist()),
            )
