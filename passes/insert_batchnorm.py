"""Insert BatchNormalization after the layers of a network that was exported with it folded.

A deep network without BatchNormalization does not retrain well. The new node has the mean and
variance of its channels on data, and the scale and shift that undo the normalisation. So it leaves
the function unchanged, up to rounding::

    Conv(x, W, b)  ->  BatchNormalization(Conv(x, W), sqrt(var + epsilon), mean, mean - b, var)

The bias of the layer moves into the shift and the mean: before BatchNormalization it has no effect.
The scale of a filter has no effect either, so filters can be scaled to the norm that suits training
best::

    BatchNormalization(Conv(x, f * W), sqrt(f^2 var + epsilon) / f, mean, f (mean - b), f^2 var)
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx_graphsurgeon as gs

from acgraph.analysis.layers import constant_source
from acgraph.errors import PreconditionError
from acgraph.ir import Model, in_c_order
from acgraph.ir.constants import resolved_constant
from acgraph.operators import is_standard
from acgraph.passes.eliminate_dead_nodes import remove_unread
from acgraph.passes.fuse_batchnorm import FOLDED_INTO
from acgraph.passmanager.base import Pass, PassContext, PassResult, Statistics

Floats = npt.NDArray[np.float64]

#: Norm of a filter of any size when initialised after He et al. (ICCV 2015).
FILTER_NORM = math.sqrt(2)

#: Operators that normalise the output of a layer.
_NORMALISATIONS = frozenset(["BatchNormalization", "InstanceNormalization", "GroupNormalization"])


def layers_without_batchnorm(model: Model, op_types: Collection[str] = ("Conv",)) -> dict[str, str]:
    """Find the layers after which a BatchNormalization can be inserted.

    Returns:
        The name of the output of each layer, by the name of the layer; `insert_batchnorm` needs the
        statistics of these outputs. Layers whose output is a graph output are left out: a head is
        not to be normalised. So are layers that share a weight, as in a siamese network: each has
        statistics of its own, and folding them back would make different weights.
    """
    outputs = {tensor.name for tensor in model.graph.outputs}
    layers = [n for n in model.graph.nodes if n.op in op_types and is_standard(n.domain)]
    sources = [constant_source(node.inputs[1]) for node in layers]
    readers = Counter(source.name for source in sources if source is not None)
    found = {}
    for node, source in zip(layers, sources, strict=True):
        if source is not None and readers[source.name] > 1:
            continue
        tensor = node.outputs[0]
        normalised = any(reader.op in _NORMALISATIONS for reader in tensor.outputs)
        constant = resolved_constant(node.inputs[1]) is not None
        if constant and not normalised and tensor.outputs and tensor.name not in outputs:
            found[node.name] = tensor.name
    return found


def insert_batchnorm(
    model: Model,
    statistics: Statistics,
    layers: Collection[str] | None = None,
    epsilon: float = 1e-5,
    factors: Mapping[str, npt.NDArray[np.floating]] | None = None,
) -> list[str]:
    """Insert BatchNormalization after layers, in place, leaving the function as it was.

    Args:
        model: The model to change.
        statistics: ``(mean, var)`` per channel of the output of every layer, by the name of that
            output, measured with the layer's bias; the variance is the biased one.
        layers: Names of the layers, Conv, ConvTranspose or Gemm; None for every Conv that has no
            normalisation right after it and that has an entry in ``statistics``.
        epsilon: The epsilon of the new nodes.
        factors: Positive factors ``float [filters]`` of the filters of a Conv, by its name. The
            Conv must be the only consumer of its weight. Other layers keep their weights.

    Returns:
        Names of the new nodes, ``<layer>/bn``, in graph order.

    Raises:
        PreconditionError: A named layer is missing, has a BatchNormalization already, or has no
            statistics.
    """
    candidates = layers_without_batchnorm(model, FOLDED_INTO)
    if layers is None:
        convs = layers_without_batchnorm(model)
        chosen = [name for name, output in convs.items() if output in statistics]
    else:
        wanted = set(layers)
        chosen = [name for name in candidates if name in wanted]
        for name in wanted.difference(chosen):
            raise PreconditionError(
                "no BatchNormalization can be inserted: there is no such layer, or it has one, or "
                "it is a graph output",
                location=model.location(value=name),
            )
    nodes = {node.name: node for node in model.graph.nodes}
    stored = float(np.float32(epsilon))  # a file stores attributes in float32
    factors = factors or {}
    inserted = [_insert(model, nodes[n], statistics, stored, factors.get(n)) for n in chosen]
    if inserted:
        remove_unread(model)  # the producers of biases that moved into the new nodes
    return inserted


def _insert(
    model: Model,
    layer: gs.Node,
    statistics: Statistics,
    epsilon: float,
    factors: npt.NDArray[np.floating] | None,
) -> str:
    output = layer.outputs[0]
    if output.name not in statistics:
        raise PreconditionError(
            "its output has no statistics", location=model.location(layer, value=output.name)
        )
    mean, var = (np.asarray(part, dtype=np.float64) for part in statistics[output.name])
    name = f"{layer.name}/bn"
    bias = _remove_bias(layer, len(mean))
    raw = gs.Variable(f"{name}/input", dtype=output.dtype, shape=output.shape)
    layer.outputs = [raw]
    dtype = layer.inputs[1].dtype or np.float32
    factor = np.ones(len(mean)) if factors is None else np.asarray(factors, dtype=np.float64)
    if factors is not None:
        _scale_filters(layer.inputs[1], factor)
    values = {
        "scale": np.sqrt(factor**2 * var + epsilon) / factor,
        "bias": mean,
        "mean": factor * (mean - bias),
        "var": factor**2 * var,
    }
    constants = [
        gs.Constant(f"{name}.{key}", in_c_order(value.astype(dtype)))
        for key, value in values.items()
    ]
    norm = gs.Node(
        "BatchNormalization",
        name=name,
        attrs={"epsilon": epsilon, "momentum": float(np.float32(0.9))},
        inputs=[raw, *constants],
        outputs=[output],
    )
    place = next(i for i, node in enumerate(model.graph.nodes) if node is layer)
    model.graph.nodes.insert(place + 1, norm)
    return name


def _scale_filters(weight: gs.Constant, factor: npt.NDArray[np.float64]) -> None:
    values = np.asarray(weight.values)
    shaped = factor.reshape(-1, *[1] * (values.ndim - 1))
    weight.values = in_c_order((values * shaped).astype(values.dtype))


def _remove_bias(layer: gs.Node, channels: int) -> npt.NDArray[np.float64]:
    """Remove the constant bias of a layer and return it, ``float [channels]``; else zeros."""
    value = resolved_constant(layer.inputs[2]) if len(layer.inputs) > 2 else None
    if value is None:
        return np.zeros(channels)
    bias = np.asarray(value, dtype=np.float64)
    if layer.op == "Gemm":
        if bias.ndim == 2 and bias.shape[0] != 1:
            return np.zeros(channels)
        bias = bias * float(layer.attrs.get("beta", 1.0))
    del layer.inputs[2]
    return np.broadcast_to(bias.reshape(-1), (channels,))


def filter_factors(model: Model, names: Collection[str]) -> dict[str, Floats]:
    """Return the factors that scale filters to ``FILTER_NORM``: ``float [filters]`` by layer.

    All filters of a layer have the same factor, by the root mean square of their norms, so their
    ranking stays. Layers whose weight is zero or has another consumer are left out.
    """
    factors = {}
    for node in model.graph.nodes:
        weight = node.inputs[1] if node.name in names else None
        if not isinstance(weight, gs.Constant) or len(weight.outputs) != 1:
            continue
        filters = np.asarray(weight.values, dtype=np.float64).reshape(weight.shape[0], -1)
        size = np.linalg.norm(filters) / math.sqrt(len(filters))
        if size > 0:
            factors[node.name] = np.full(len(filters), FILTER_NORM / size)
    return factors


def bare_convolutions(model: Model) -> dict[str, str]:
    """Return the outputs of the convolutions with a bias and no BatchNormalization, by name.

    The result is empty where the network has any BatchNormalization: then the other layers were
    designed without.
    """
    if any(node.op == "BatchNormalization" for node in model.graph.nodes):
        return {}
    biased = {node.name for node in model.graph.nodes if len(node.inputs) > 2}
    return {k: v for k, v in layers_without_batchnorm(model).items() if k in biased}


@dataclass(frozen=True)
class InsertBatchnorm(Pass):
    """Insert BatchNormalization after the convolutions of a network exported with it folded.

    Attributes:
        epsilon: The epsilon of the new nodes.
    """

    name: ClassVar[str] = "insert-batchnorm"

    epsilon: float = 1e-5

    def requires(self, model: Model, context: PassContext) -> None:
        """Check that there is data, on which channels are measured.

        Raises:
            PreconditionError: There is no data, and there are convolutions to normalise.
        """
        if context.statistics is None and bare_convolutions(model):
            raise PreconditionError(
                "needs data to measure the channel statistics",
                location=model.location(),
                hint="acgraph compress runs this pass with data, before training",
            )

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Insert one after each convolution with a bias, if the network has none at all."""
        outputs = bare_convolutions(model)
        if not outputs or context.statistics is None:
            return PassResult(modified=False)
        statistics = context.statistics(model, list(outputs.values()))
        factors = filter_factors(model, outputs)
        inserted = insert_batchnorm(
            model, statistics, layers=list(outputs), epsilon=self.epsilon, factors=factors
        )
        return PassResult(modified=True, statistics={"inserted": len(inserted)})
