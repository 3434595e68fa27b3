"""Fold BatchNormalization into the layer before it.

With ``g = scale / sqrt(var + epsilon)`` per output channel of the layer::

    BatchNormalization(Conv(x, W, b), scale, bias, mean, var)
        ->  Conv(x, W * g, (b - mean) * g + bias)
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx_graphsurgeon as gs

from acgraph.diagnostics import Diagnostic
from acgraph.ir import Array, Model, in_c_order
from acgraph.ir.constants import resolved_constant
from acgraph.ir.names import fresh
from acgraph.ir.uses import captured_names
from acgraph.operators import is_standard
from acgraph.passmanager.base import Pass, PassContext, PassResult

_Floats = npt.NDArray[np.float64]


def fuse_batchnorm(model: Model, nodes: Collection[str] | None = None) -> int:
    """Fold BatchNormalization nodes into Conv, ConvTranspose and Gemm, in place.

    A node is folded where it is in inference mode, is the only consumer of the layer, and all
    weights of both are constants. The layer keeps its name and gets the output of the
    BatchNormalization. Constants with other consumers are not changed: the layer gets a new one.
    The arithmetic is in float64.

    Args:
        model: The model to change.
        nodes: Names of the BatchNormalization nodes to fold; None for all.

    Returns:
        The number of folded nodes.
    """
    folded, _ = _fold_all(model, nodes)
    return folded


def _fold_all(
    model: Model, nodes: Collection[str] | None = None
) -> tuple[int, tuple[Diagnostic, ...]]:
    """Fold; return the number of folded nodes, and the reasons why others were not."""
    kept = {tensor.name for tensor in model.graph.outputs} | captured_names(model.graph)
    folded, remarks = 0, []
    for norm in list(model.graph.nodes):
        if norm.op != "BatchNormalization" or not is_standard(norm.domain):
            continue
        if nodes is not None and norm.name not in nodes:
            continue
        reason = _obstacle(norm, kept) or _fold(model, norm.inputs[0].inputs[0], norm, kept)
        if reason:
            message = f"not folded: {reason}"
            remarks.append(Diagnostic(message=message, location=model.location(norm)))
        else:
            folded += 1
    return folded, tuple(remarks)


def _obstacle(norm: gs.Node, kept: Collection[str]) -> str:
    """Return why the structure of the graph forbids folding; empty where it does not."""
    source = norm.inputs[0]
    if norm.attrs.get("training_mode") or any(t.outputs for t in norm.outputs[1:]):
        return "it is in training mode"
    if len(source.inputs) != 1:
        return "no node produces its input"
    layer = source.inputs[0]
    if layer.op not in _SCALES or not is_standard(layer.domain):
        return f"its input comes from '{layer.name}' ({layer.op})"
    if len(source.outputs) != 1 or source.name in kept:
        return f"the output of '{layer.name}' has other consumers"
    return ""


def _fold(model: Model, layer: gs.Node, norm: gs.Node, kept: Collection[str]) -> str:
    """Fold one node; or change nothing and return the reason."""
    statistics = [resolved_constant(tensor) for tensor in norm.inputs[1:5]]
    weight = resolved_constant(layer.inputs[1])
    has_bias = len(layer.inputs) > 2 and not layer.inputs[2].is_empty()
    bias = resolved_constant(layer.inputs[2]) if has_bias else None
    if any(s is None for s in statistics):
        return "its weights are computed"
    if weight is None or (has_bias and bias is None):
        return f"the weights of '{layer.name}' are computed"
    scale, shift, mean, var = (np.asarray(s, dtype=np.float64) for s in statistics)
    gain = scale / np.sqrt(var + float(norm.attrs.get("epsilon", 1e-5)))
    offset = shift - mean * gain
    if layer.op == "Gemm":
        # alpha * A B + beta * C: beta also multiplies the offset.
        beta = float(layer.attrs.get("beta", 1.0))
        if bias is not None and beta == 0.0:
            return f"'{layer.name}' has beta 0"
        new_bias = offset / beta if bias is None else bias.astype(np.float64) * gain + offset / beta
    else:
        new_bias = offset if bias is None else bias.astype(np.float64) * gain + offset
    new_weight = _SCALES[layer.op](layer, weight.astype(np.float64), gain)
    _replace_input(model, layer, 1, new_weight.astype(weight.dtype), kept)
    _replace_input(model, layer, 2, new_bias.astype(weight.dtype), kept, stem=f"{layer.name}.bias")
    out = norm.outputs[0]
    norm.outputs.clear()
    norm.inputs.clear()
    layer.outputs = [out]
    model.graph.nodes.remove(norm)
    model.originals.pop(norm.name, None)
    return ""


def _scale_conv(layer: gs.Node, weight: _Floats, gain: _Floats) -> _Floats:
    return weight * gain.reshape(-1, *(1,) * (weight.ndim - 1))


def _scale_transposed(layer: gs.Node, weight: _Floats, gain: _Floats) -> _Floats:
    """Scale ``[in, out / groups, ...]``: each group of inputs feeds its own group of outputs."""
    groups = int(layer.attrs.get("group", 1))
    parts = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    per_group = gain.reshape(groups, 1, -1, *(1,) * (weight.ndim - 2))
    return (parts * per_group).reshape(weight.shape)


def _scale_gemm(layer: gs.Node, weight: _Floats, gain: _Floats) -> _Floats:
    return weight * (gain[:, None] if layer.attrs.get("transB") else gain[None, :])


_SCALES: dict[str, Callable[[gs.Node, _Floats, _Floats], _Floats]] = {
    "Conv": _scale_conv,
    "ConvTranspose": _scale_transposed,
    "Gemm": _scale_gemm,
}
#: Layers that BatchNormalization can be folded into: axis 1 of their output is the channel axis.
FOLDED_INTO = frozenset(_SCALES)


def _replace_input(
    model: Model,
    layer: gs.Node,
    index: int,
    value: Array,
    kept: Collection[str],
    stem: str | None = None,
) -> None:
    """Set an input to a new constant, under the old name where the old one is not shared."""
    while len(layer.inputs) <= index:
        layer.inputs.append(gs.Variable.empty())
    old = layer.inputs[index]
    value = in_c_order(value)
    if isinstance(old, gs.Constant) and len(old.outputs) == 1 and old.name not in kept:
        layer.inputs[index] = gs.Constant(old.name, value)
        return
    name = fresh(stem or f"{layer.name}.weight", set(model.graph.tensors()))
    layer.inputs[index] = gs.Constant(name, value)


@dataclass(frozen=True)
class FuseBatchnorm(Pass):
    """Fold BatchNormalization into the Conv, ConvTranspose or Gemm before it."""

    name: ClassVar[str] = "fuse-batchnorm"

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Fold every BatchNormalization that can be folded."""
        folded, remarks = _fold_all(model)
        return PassResult(modified=folded > 0, statistics={"folded": folded}, remarks=remarks)
