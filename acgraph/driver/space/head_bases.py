"""Change the basis of the features of attention heads, so that the last features matter least.

The network's function stays the same. Where queries, keys and values are one layer, the same
feature of all three and of all heads is removed together; in the new basis, it is the least
important one of each.
"""

from collections.abc import Iterable, Mapping
from math import prod

import numpy as np

from acgraph.analysis.attention import FreeBases, Scores, Values
from acgraph.analysis.labels import Ints
from acgraph.analysis.layers import Layer
from acgraph.analysis.tail import Tail
from acgraph.ir import Array
from acgraph.pruning.head_basis import head_basis, inverse_of_basis
from acgraph.pruning.importance import FloatArray
from acgraph.pruning.layer_columns import filter_rows, weight_of_rows
from acgraph.pruning.reconstruct import Gram

#: Weights of fewer bytes per element would round the new values too coarsely.
MIN_BYTES = 4


def layers_to_measure(bases: FreeBases) -> list[Layer]:
    """Return the layers whose inputs determine the bases, each weight once."""
    found = [tail.layer for each in bases.scores for tail in (each.left, each.right)]
    found += [layer for each in bases.values for layer, _ in each.readers]
    return list({layer.weight: layer for layer in found}.values())


def change_bases(
    bases: FreeBases, weights: Mapping[str, Array], grams: Mapping[str, Gram]
) -> dict[str, Array]:
    """Return the weights that change if the features of all heads are put in order.

    Args:
        bases: The features.
        weights: The weights by name.
        grams: Moments of the inputs of layers, by the name of the weight. Inputs of other layers
            are taken as uncorrelated and of equal size.
    """
    change = _Change(weights)
    for scores in bases.scores:
        if _are_wide(weights, scores.left, scores.right):
            _change_scores(change, scores, grams)
    for values in bases.values:
        if _are_wide(weights, values.source):
            _change_values(change, values, grams)
    return change.weights()


def output_moments(
    tail: Tail, rows: Ints, weights: Mapping[str, Array], gram: Gram | None, *, centred: bool
) -> FloatArray:
    """Return the moments of some outputs of a layer behind its tail, ``float64 [rows, rows]``.

    Args:
        tail: The layer and its tail.
        rows: The filters.
        weights: The weights by name.
        gram: Moments of the layer's input; None takes them as the identity.
        centred: Whether the moments are about the mean instead of zero.
    """
    affine = tail.affine(weights)
    gain = (affine.gain * tail.alpha)[rows, None]
    matrix = filter_rows(tail.layer, weights[tail.layer.weight])[rows].astype(np.float64) * gain
    inner = np.eye(matrix.shape[1]) if gram is None else gram.covariance
    found = matrix @ inner @ matrix.T
    if centred:
        return np.asarray(found)
    mean = affine.gain[rows] * affine.bias[rows] + affine.offset[rows]
    if gram is not None:
        mean = mean + matrix @ gram.mean
    return np.asarray(found + np.outer(mean, mean))


def _are_wide(weights: Mapping[str, Array], *sides: Tail) -> bool:
    return all(weights[side.layer.weight].dtype.itemsize >= MIN_BYTES for side in sides)


def _change_scores(change: "_Change", scores: Scores, grams: Mapping[str, Gram]) -> None:
    sides = ((scores.left, scores.left_rows, "left"), (scores.right, scores.right_rows, "right"))
    one, other = (
        np.sum([
            output_moments(
                tail, rows, change.before, grams.get(tail.layer.weight),
                centred=scores.shifted == side,
            )
            for rows in heads
        ], axis=0)
        for tail, heads, side in sides
    )  # fmt: skip
    basis = head_basis(one, other)
    if basis is None:
        return
    for rows in scores.left_rows:
        change.outputs(scores.left, rows, basis.T)
    for rows in scores.right_rows:
        change.outputs(scores.right, rows, inverse_of_basis(basis))


def _change_values(change: "_Change", values: Values, grams: Mapping[str, Gram]) -> None:
    size = len(values.rows)
    reading, moments = np.zeros((size, size)), np.zeros((size, size))
    for layer, channels in values.readers:
        gram = grams.get(layer.weight)
        for columns in _columns(layer, channels):
            own = filter_rows(layer, change.before[layer.weight])[:, columns].astype(np.float64)
            reading += own.T @ own
            if gram is not None:
                moments += gram.covariance[np.ix_(columns, columns)]
    if not moments.any():
        moments = output_moments(values.source, values.rows, change.before, None, centred=True)
    basis = head_basis(moments, reading)
    if basis is None:
        return
    change.outputs(values.source, values.rows, basis.T)
    for layer, channels in values.readers:
        for columns in _columns(layer, channels):
            change.columns(layer, columns, inverse_of_basis(basis))


def _columns(layer: Layer, channels: Ints) -> Iterable[Ints]:
    """Yield the columns of some channels, separately for each position of the kernel."""
    positions = prod(layer.kernel)
    return (channels * positions + position for position in range(positions))


class _Change:
    """The weights of layers, as matrices that are changed in place."""

    def __init__(self, before: Mapping[str, Array]) -> None:
        self.before = before
        self._matrices: dict[str, FloatArray] = {}
        self._layers: dict[str, Layer] = {}
        self._vectors: dict[str, FloatArray] = {}

    def outputs(self, tail: Tail, rows: Ints, basis: FloatArray) -> None:
        """Multiply the outputs of some filters by a matrix, biases included."""
        matrix = self._matrix(tail.layer)
        matrix[rows] = basis @ matrix[rows]
        biases = [step.constants[0] for step in tail.steps if step.kind == "add"]
        for name in [*biases, *([tail.layer.bias] if tail.layer.bias else [])]:
            if name not in self._vectors:
                self._vectors[name] = self.before[name].astype(np.float64).reshape(-1)
            vector = self._vectors[name]
            vector[rows] = basis @ vector[rows]

    def columns(self, layer: Layer, columns: Ints, inverse: FloatArray) -> None:
        """Multiply some columns by the transpose of a matrix, from the right."""
        matrix = self._matrix(layer)
        matrix[:, columns] = matrix[:, columns] @ inverse.T

    def weights(self) -> dict[str, Array]:
        """Return the changed constants."""
        found = {
            name: weight_of_rows(self._layers[name], matrix, self.before[name])
            for name, matrix in self._matrices.items()
        }
        found |= {
            name: vector.reshape(self.before[name].shape) for name, vector in self._vectors.items()
        }
        return {name: value.astype(self.before[name].dtype) for name, value in found.items()}

    def _matrix(self, layer: Layer) -> FloatArray:
        if layer.weight not in self._matrices:
            self._layers[layer.weight] = layer
            rows = filter_rows(layer, self.before[layer.weight])
            self._matrices[layer.weight] = np.array(rows, np.float64)
        return self._matrices[layer.weight]
