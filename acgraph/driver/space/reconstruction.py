"""Error of layers after a cut, measured on data, and reconstruction of their weights."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from acgraph.analysis.attention import Scores, free_bases
from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.families import Family
from acgraph.analysis.layers import Layer, layers
from acgraph.analysis.tail import Tail, tails
from acgraph.backends.interface import Trainer
from acgraph.data import Dataset, cut_indices
from acgraph.driver.inputs.time_limit import within_time
from acgraph.driver.space.score_losses import score_losses
from acgraph.ir import Array, Model
from acgraph.pruning.downdate import Reader
from acgraph.pruning.importance import FloatArray
from acgraph.pruning.layer_columns import filter_rows, weight_of_rows
from acgraph.pruning.plan import Bools, zero
from acgraph.pruning.reconstruct import Elimination, Gram, eliminate, order_alone, refit

#: Images that the moments are measured on.
IMAGES = 2048
BATCH = 128
#: Wider layers are cut by magnitude and not reconstructed: a matrix of this size squared is needed.
MAX_COLUMNS = 6144
#: Moments of wider layers are kept in float32: its rounding error is small against the damping.
FLOAT32_COLUMNS = 1024
#: Limit in bytes for all moments. If they are larger, the widest layers are not measured.
MAX_BYTES = 2 << 30
#: Limit in bytes for the float64 moments that are accumulated at the same time. The data is run
#: through the network once for each such group of layers.
MAX_SUMMED_BYTES = 3 << 29
#: Smallest divisor.
TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """Statistics of the input of a layer.

    Attributes:
        moments: ``H``, ``[columns, columns]``, see
            :meth:`acgraph.pruning.reconstruct.Gram.moments`; float32 if it is large.
        mean: Mean of the input, ``float64 [columns]``.
        is_centred: Whether the mean of the layer's output can be corrected, by its bias or by a
            BatchNormalization after it.
    """

    moments: FloatArray
    mean: FloatArray
    is_centred: bool = False

    @property
    def gram(self) -> Gram:
        """The mean, and the covariance with the damping of the moments."""
        around = np.zeros_like(self.mean) if self.is_centred else self.mean
        return Gram(np.asarray(self.moments - np.outer(around, around)), self.mean)


@dataclass(frozen=True, eq=False)
class WeightReconstruction:
    """Ranks units by the error in the layers that read them, and reconstructs layers after a cut.

    Attributes:
        layers: The layers that can be reconstructed, by the name of their weight.
        inputs: Statistics of their inputs, by the name of their weight.
        wide: Names of layers that are too wide to be measured; the units that they read are ranked
            by magnitude.
        unmeasured: Names of layers whose input has values that are not finite; likewise.
        until: Deadline in seconds of ``time.perf_counter``, after which the remaining units are not
            ranked but kept in their order; None for no limit.
        tails: The nodes after each layer, by the name of its weight.
        scores: The products of queries and keys.
    """

    layers: Mapping[str, Layer]
    inputs: Mapping[str, Input]
    wide: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()
    until: float | None = None
    tails: Mapping[str, Tail] = field(default_factory=dict)
    scores: tuple[Scores, ...] = ()
    _sets: dict[str, Elimination | None] = field(default_factory=dict)
    _columns: dict[str, Elimination | None] = field(default_factory=dict)

    def sets(self, family: Family, weights: Mapping[str, Array]) -> Elimination | None:
        """Rank the coupled sets of a family; None if no layer of it was measured.

        Features of queries and keys are ranked by the error of the scores, too. If neither layers
        nor known scores read them, they are ranked by the outputs of the layers that produce them.
        """
        if family.name not in self._sets:
            readers = list(self._readers(family, weights))
            grams = {name: read.gram for name, read in self.inputs.items()} if self.scores else {}
            products = score_losses(self.scores, family, weights, grams)
            found: Elimination | None
            if readers:
                found = eliminate(readers, family.size, beside=products, until=self.until)
            elif products is not None:
                found = order_alone(products, is_whole=True)
            else:
                found = self._by_makers(family, weights)
            self._sets[family.name] = found
        return self._sets[family.name]

    def columns(self, weight: str, weights: Mapping[str, Array]) -> Elimination | None:
        """Rank the columns of a layer, ``[in_ch * prod(kernel)]``; None if it was not measured."""
        if weight not in self._columns:
            found = None
            if weight in self.layers:
                moments = self.inputs[weight].moments
                matrix = filter_rows(self.layers[weight], weights[weight])
                reader = Reader(matrix, moments, np.arange(len(moments)))
                found = eliminate([reader], len(moments), until=self.until)
            self._columns[weight] = found
        return self._columns[weight]

    @property
    def truncated_rankings(self) -> int:
        """Number of rankings that were stopped at the deadline."""
        found = [*self._sets.values(), *self._columns.values()]
        return sum(order is not None and not order.is_whole for order in found)

    def input_scales(self, weight: str) -> FloatArray | None:
        """Root mean square of the input of each column, ``[columns]``; None if not measured.

        Multiplied by the norm of the column, it is the error of removing this column alone.
        """
        if weight not in self.layers:
            return None
        return np.asarray(np.sqrt(np.diag(self.inputs[weight].moments)))

    def reconstruct(
        self, weights: Mapping[str, Array], zeroed: Mapping[str, Bools]
    ) -> dict[str, Array]:
        """Set removed weights to zero, and refit the remaining weights of each cut layer.

        Args:
            weights: The current constants.
            zeroed: By constant: True for elements to set to zero, see ``zeroed_elements``.

        Returns:
            The constants that changed.
        """
        found = zero(weights, zeroed)
        for name, mask in zeroed.items():
            if name in self.layers:
                whole = np.broadcast_to(mask, weights[name].shape)
                found.update(self._reconstructed(self.layers[name], weights, found, whole))
        return found

    def _reconstructed(
        self,
        layer: Layer,
        weights: Mapping[str, Array],
        found: Mapping[str, Array],
        mask: Bools,
    ) -> dict[str, Array]:
        name, read = layer.weight, self.inputs[layer.weight]
        gone = filter_rows(layer, mask)
        rows = ~gone.all(axis=1)
        kept = ~gone[rows].all(axis=0) if rows.any() else np.zeros(gone.shape[1], np.bool_)
        before = filter_rows(layer, weights[name])
        kept &= np.abs(before).max(axis=0) > 0  # not removed in an earlier round
        if kept.all() or not rows.any():
            return {}
        after = np.zeros_like(before)
        after[rows] = refit(before[rows], read.moments, kept)
        changed = {name: weight_of_rows(layer, after, weights[name])}
        if read.is_centred and layer.bias in weights:
            shift = np.subtract(before, after, dtype=np.float64) @ read.mean
            bias = found.get(layer.bias, weights[layer.bias])
            moved = np.add(bias, shift * rows, dtype=np.float64)
            changed[layer.bias] = moved.astype(bias.dtype)
        return changed

    def _by_makers(self, family: Family, weights: Mapping[str, Array]) -> Elimination | None:
        """Rank coupled sets by the energy of the product of their layers' outputs.

        For queries and keys, ``sum_ij (q_i k_j)^2`` over all pairs of tokens is, for each feature,
        proportional to the product of the two mean squares: the error in the scores if it is
        removed.
        """
        energy, is_known = np.ones(family.size), False
        for member in family.members:
            layer = self.layers.get(member.tensor)
            if member.role != "filter" or layer is None or member.axis != layer.filter_axis:
                continue
            if layer.weight not in self.tails:
                return None  # the layer's output was not measured
            own = member.sets >= 0
            given = self._output_energy(layer, weights)[own]
            summed = np.bincount(member.sets[own], weights=given, minlength=family.size)
            energy, is_known = energy * summed / max(float(summed.sum()), TINY), True
        if not is_known:
            return None
        return order_alone(energy / max(float(energy.sum()), TINY), is_whole=True)

    def _output_energy(self, layer: Layer, weights: Mapping[str, Array]) -> FloatArray:
        """Return the mean square of each filter's output, including the bias, ``[filters]``."""
        read, matrix = self.inputs[layer.weight], filter_rows(layer, weights[layer.weight])
        wide = matrix.astype(np.float64)
        squares = np.einsum("fc,fc->f", wide @ read.moments, wide)
        mean = wide @ read.mean
        spread = squares if read.is_centred else np.maximum(squares - mean**2, 0.0)
        affine = self.tails[layer.weight].affine(weights)
        mean = affine.gain * (mean + affine.bias) + affine.offset
        return np.asarray(affine.gain**2 * spread + mean**2)

    def _readers(self, family: Family, weights: Mapping[str, Array]) -> Iterator[Reader]:
        for member in family.members:
            layer = self.layers.get(member.tensor)
            if member.role != "column" or layer is None or member.axis != layer.channel_axis:
                continue
            units = np.repeat(member.sets, prod(layer.kernel))
            matrix = filter_rows(layer, weights[layer.weight])
            yield Reader(matrix, self.inputs[layer.weight].moments, units)


def measure_layers(
    dependency: DependencyGraph,
    trainer: Trainer,
    data: Dataset,
    *,
    seed: int = 0,
    seconds: float | None = None,
    images: int = IMAGES,
    batch: int = BATCH,
) -> WeightReconstruction:
    """Run data through a graph and measure the moments of the inputs of its layers.

    Args:
        dependency: The dependency graph.
        trainer: Holds the graph with its current weights.
        data: Images, of which a random part is used.
        seed: Seed of this choice.
        seconds: Seconds after which no further batch is started; None for no limit.
        images: Largest number of images to use.
        batch: Batch size.
    """
    begin = time.perf_counter()
    model = dependency.model
    eligible = {layer.weight: layer for layer in reconstructible_layers(model)}
    order = np.random.default_rng(seed).permutation(len(data))[:images].astype(np.int64)
    groups = _groups(list(eligible.values()))
    centred, inputs = _centred(model, eligible), {}
    unmeasured: list[str] = []
    for number, group in enumerate(groups):
        batches = map(data.batch, cut_indices(data, order, batch))
        left_s = None if seconds is None else seconds - (time.perf_counter() - begin)
        share_s = None if left_s is None else left_s / (len(groups) - number)
        grams = trainer.input_grams(group, within_time(batches, share_s), seed=seed)
        unmeasured += [eligible[name].name for name, gram in grams.items() if not gram.is_finite]
        for name in list(grams):
            gram = grams.pop(name)  # free it before the next one: it is as large as its moments
            if gram.is_finite:
                dtype = _dtype(eligible[name])
                moments = gram.moments(centred=name in centred, dtype=dtype)
                inputs[name] = Input(moments, gram.mean, is_centred=name in centred)
    return WeightReconstruction(
        layers={name: eligible[name] for name in inputs},
        inputs=inputs,
        wide=tuple(
            layer.name
            for layer in layers(model)
            if has_matrix_form(layer) and layer.weight not in eligible
        ),
        unmeasured=tuple(unmeasured),
        tails={tail.layer.weight: tail for tail in tails(model, list(eligible.values())).values()},
        scores=free_bases(model, dependency.facts).scores,
    )


def _groups(found: Sequence[Layer]) -> list[list[Layer]]:
    """Split layers into groups whose moments can be accumulated at the same time."""
    groups: list[list[Layer]] = [[]]
    total = 0
    for layer in found:
        size = np.dtype(np.float64).itemsize * layer.columns**2
        if groups[-1] and total + size > MAX_SUMMED_BYTES:
            groups.append([])
            total = 0
        groups[-1].append(layer)
        total += size
    return groups


def reconstructible_layers(model: Model) -> list[Layer]:
    """Return the layers whose weights can be refitted after a cut.

    These are products with one constant matrix that are not too wide, individually and in total.
    """
    found = [x for x in layers(model) if has_matrix_form(x) and x.columns <= MAX_COLUMNS]
    total = sum({layer.weight: moment_bytes(layer) for layer in found}.values())
    dropped: set[str] = set()
    for layer in sorted(found, key=lambda layer: -layer.columns):
        if total <= MAX_BYTES:
            break
        if layer.weight not in dropped:
            dropped.add(layer.weight)
            total -= moment_bytes(layer)
    return [layer for layer in found if layer.weight not in dropped]


def moment_bytes(layer: Layer) -> int:
    """Return the number of bytes of the moments of a layer."""
    return int(_dtype(layer).itemsize * layer.columns**2)


def _dtype(layer: Layer) -> np.dtype[Any]:
    return np.dtype(np.float32 if layer.columns > FLOAT32_COLUMNS else np.float64)


def has_matrix_form(layer: Layer) -> bool:
    """Return whether a layer is a product with one constant matrix, however wide."""
    if layer.group != 1 or layer.weight_input != 1 or layer.through:
        return False
    return layer.op_type in ("Conv", "Gemm", "MatMul")


def _centred(model: Model, eligible: Mapping[str, Layer]) -> frozenset[str]:
    nodes = {node.name: node for node in model.graph.nodes}
    found = []
    for weight, layer in eligible.items():
        readers = nodes[layer.name].outputs[0].outputs
        is_normalised = len(readers) == 1 and readers[0].op == "BatchNormalization"
        if is_normalised or layer.bias:
            found.append(weight)
    return frozenset(found)
