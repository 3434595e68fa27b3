"""Forms of Gemm and MatMul with a constant weight: dense, and on the input features in use."""

import numpy as np

from acgraph.lowering.base import DENSE, Draft
from acgraph.lowering.fragment import INPUT, Builder, Operand, Weights
from acgraph.lowering.layer import LinearLayer
from acgraph.lowering.regions import contiguous, cut_shape


def linear(layer: LinearLayer) -> list[Draft]:
    """Return the dense layer, and the layer on the features in use where some are not."""
    drafts = [_draft(layer, DENSE, np.arange(layer.columns))]
    kept = layer.features_kept
    if kept.size < layer.columns:
        drafts.append(_draft(layer, "gather", kept))
    return drafts


def _draft(layer: LinearLayer, form: str, kept: np.typing.NDArray[np.int64]) -> Draft:
    builder = Builder(layer.input_shape, layer.weight.dtype, layer.opset)
    x, values, suffix, variant = INPUT, layer.weight, "", ""
    if kept.size < layer.columns:
        values = np.ascontiguousarray(np.take(values, kept, axis=layer.feature_axis))
        suffix = "columns"
        span = contiguous(kept)
        if span is None:
            variant = "features"
            x = builder.gather(x, kept, layer.input_axis, "gather.features")
        else:
            variant = "range"
            cuts = {layer.input_axis: (*span, 1)}
            x = builder.slice(x, cuts, "gather.range", cut_shape(layer.input_shape, cuts))
    weight = Weights(values, layer.weight_name, suffix)
    operands: list[Operand] = [x, weight] if layer.weight_input == 1 else [weight, x]
    if layer.bias is not None:
        operands.append(Weights(layer.bias, layer.bias_name))
    builder.add(layer.op, f"{form}.{layer.op.lower()}", operands, layer.attrs, layer.output_shape)
    return Draft(form, variant, builder.finish(), int(kept.size))
