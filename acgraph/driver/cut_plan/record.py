"""Record a cut as a plan, in terms of the original file."""

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
        dependency: The dependency graph of the original model with shared constants untied.
        copies: The constants that untying created, each with the name of its origin.
        kept: The kept indices, by constant and axis.
        weights: The constants of the shrunk model by their names in the dense one, with removed
            columns set to zero; None if no columns were removed.
        lowered: The compact form of each layer; None if the model was only shrunk.
        source: SHA-256 of the file; by default that of the dependency graph's model.
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
