"""Extract the layers of a graph for lowering, or the reason why a layer cannot be lowered."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.layers import Layer
from acgraph.ir import Facts, Model
from acgraph.ir.constants import resolved_constant
from acgraph.ir.uses import captured_names
from acgraph.lowering.layer import ConvLayer, LinearLayer, Lowerable, TransposedLayer


def read_layer(model: Model, facts: Facts, node: gs.Node, layer: Layer) -> Lowerable | str:
    """Return the layer, or the reason why it stays dense."""
    weight = resolved_constant(node.inputs[layer.weight_input], transposed=True)
    if weight is None:
        return "its weight is computed"
    if not np.issubdtype(weight.dtype, np.floating):
        return f"its weight is {weight.dtype.name}"
    data = node.inputs[1 - layer.weight_input]
    input_shape = facts.shapes.get(data.name)
    output_shape = facts.shapes.get(node.outputs[0].name)
    if input_shape is None or output_shape is None:
        return "the size of its input is unknown"
    wrong = next((each for each in facts.failures if each.location.node == node.name), None)
    if wrong is not None:
        return f"{wrong.message} at the assumed sizes; state the sizes by --input-shape"
    bias_tensor = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2].name else None
    bias = None if bias_tensor is None else resolved_constant(bias_tensor, transposed=True)
    if bias_tensor is not None and bias is None:
        return "its bias is computed"
    common: dict[str, Any] = {
        "name": node.name,
        "weight": weight,
        "weight_name": layer.weight,
        "bias": bias,
        "bias_name": "" if bias_tensor is None else bias_tensor.name,
        "input_shape": input_shape,
        "is_tied": _is_read_elsewhere(model, node.inputs[layer.weight_input]),
        "opset": int(model.graph.opset),
    }
    if node.op == "Conv":
        is_known = data.name not in facts.assumed and node.outputs[0].name not in facts.assumed
        return _conv(node, common, is_static=is_known and has_static_sizes(model))
    if node.op in ("Gemm", "MatMul"):
        return _linear(node, layer, output_shape, common)
    return _transposed(node, output_shape, common)


def _conv(node: gs.Node, common: dict[str, Any], *, is_static: bool) -> ConvLayer | str:
    rank = common["weight"].ndim - 2
    strides = tuple(node.attrs.get("strides") or [1] * rank)
    dilations = tuple(node.attrs.get("dilations") or [1] * rank)
    auto = _auto_pad(node)
    kernel = common["weight"].shape[2:]
    if auto == "NOTSET":
        pads = tuple(node.attrs.get("pads") or [0] * 2 * rank)
    elif auto == "VALID":
        pads = (0,) * 2 * rank
    elif is_static or all(stride == 1 for stride in strides):
        pads = _same_pads(auto, common["input_shape"][2:], kernel, strides, dilations)
    else:
        return f"its pads (auto_pad {auto} with a stride) depend on the input size"
    group = int(node.attrs.get("group", 1))
    return ConvLayer(
        strides=strides, dilations=dilations, pads=pads, group=group, is_static=is_static, **common
    )


def _transposed(
    node: gs.Node, output_shape: tuple[int, ...], common: dict[str, Any]
) -> TransposedLayer:
    rank = common["weight"].ndim - 2
    pads: tuple[int, ...] | None = tuple(node.attrs.get("pads") or [0] * 2 * rank)
    if node.attrs.get("output_shape") or _auto_pad(node) not in ("NOTSET", "VALID"):
        pads = None
    return TransposedLayer(
        attrs=dict(node.attrs),
        strides=tuple(node.attrs.get("strides") or [1] * rank),
        dilations=tuple(node.attrs.get("dilations") or [1] * rank),
        pads=pads,
        output_padding=tuple(node.attrs.get("output_padding") or [0] * rank),
        group=int(node.attrs.get("group", 1)),
        output_shape=output_shape,
        **common,
    )


def _auto_pad(node: gs.Node) -> str:
    auto = node.attrs.get("auto_pad", "NOTSET")
    return auto.decode() if isinstance(auto, bytes) else str(auto)


def _same_pads(
    auto: str,
    spatial: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[int, ...]:
    """Return the pads for an output of ``ceil(n / stride)``; an odd one goes last for UPPER."""
    before, after = [], []
    for n, k, s, d in zip(spatial, kernel, strides, dilations, strict=True):
        total = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
        small, large = total // 2, total - total // 2
        before.append(small if auto == "SAME_UPPER" else large)
        after.append(large if auto == "SAME_UPPER" else small)
    return (*before, *after)


def _linear(
    node: gs.Node, layer: Layer, output_shape: tuple[int, ...], common: dict[str, Any]
) -> LinearLayer | str:
    side, weight = layer.weight_input, common["weight"]
    data_rank = len(common["input_shape"])
    if node.op == "Gemm":
        is_turned = bool(node.attrs.get("transB" if side == 1 else "transA", 0))
        is_data_turned = bool(node.attrs.get("transA" if side == 1 else "transB", 0))
        feature_axis = int((side == 0) != is_turned)
        input_axis = int((side == 1) != is_data_turned)
    else:
        if weight.ndim < 2 or data_rank < 2:
            return "one operand of the MatMul is a vector"
        feature_axis = weight.ndim - 2 if side == 1 else weight.ndim - 1
        input_axis = data_rank - 1 if side == 1 else data_rank - 2
    return LinearLayer(
        op=node.op,
        weight_input=side,
        feature_axis=feature_axis,
        input_axis=input_axis,
        attrs=dict(node.attrs),
        output_shape=output_shape,
        **common,
    )


def has_static_sizes(model: Model) -> bool:
    """Return whether all axes of all graph inputs have fixed sizes, except the first axes."""
    return all(
        tensor.shape is not None and all(isinstance(size, int) for size in tensor.shape[1:])
        for tensor in model.graph.inputs
    )


def _is_read_elsewhere(model: Model, tensor: gs.Tensor) -> bool:
    """Return whether a constant, or the constant it is derived from, has other consumers."""
    while True:
        is_output = any(tensor is output for output in model.graph.outputs)
        if len(tensor.outputs) > 1 or is_output or tensor.name in captured_names(model.graph):
            return True
        if not tensor.inputs or tensor.inputs[0].op not in ("Identity", "Transpose"):
            return False
        tensor = tensor.inputs[0].inputs[0]
