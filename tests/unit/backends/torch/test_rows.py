"""Rows that a layer multiplies with its matrix: their products are what the layer gives."""

import numpy as np
import pytest
import torch

from acgraph.analysis.layers import layers
from acgraph.backends.torch.rows import columns_at, outputs_at, sample_rows
from acgraph.ir import model_from_proto
from acgraph.pruning.layer_columns import filter_rows
from tests.conftest import run_ort


def _rows(proto, x, positions):
    model = model_from_proto(proto)
    (layer,) = layers(model)
    (node,) = (n for n in model.graph.nodes if n.name == layer.name)
    inputs, outputs = torch.from_numpy(x), torch.from_numpy(run_ort(proto, {"x": x})[0])
    sampled = sample_rows(inputs, node, layer, torch.Generator().manual_seed(0), positions)
    weight = filter_rows(layer, model.constants()[layer.weight])
    return (
        columns_at(inputs, node, layer, sampled).numpy(),
        outputs_at(outputs, layer, sampled).numpy(),
        weight.reshape(layer.group, -1, layer.columns),
    )


@pytest.mark.parametrize("positions", [7, 10_000])
@pytest.mark.parametrize(
    ("op", "kernel", "attrs"),
    [
        ("Conv", (3, 3), {"pads": [1, 0, 1, 2], "strides": [2, 1]}),
        ("Conv", (3, 2), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ("Conv", (3, 3), {"dilations": [2, 1], "group": 2}),
        ("ConvTranspose", (2, 2), {"strides": [2, 2]}),
        ("ConvTranspose", (3, 4), {"strides": [2, 2], "pads": [1, 0, 1, 2]}),
        ("ConvTranspose", (3, 3), {"strides": [2, 3], "output_padding": [1, 2], "pads": [1] * 4}),
        ("ConvTranspose", (3, 3), {"dilations": [2, 1], "strides": [1, 2]}),
        ("ConvTranspose", (3, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
        ("ConvTranspose", (3, 3), {"output_shape": [11, 12], "strides": [2, 2]}),
        ("ConvTranspose", (1, 3), {"strides": [3, 1], "pads": [1, 1, 0, 1]}),
    ],
)
def test_products_of_rows_are_the_outputs(make_net, op, kernel, attrs, positions):
    net = make_net()
    group = attrs.get("group", 1)
    shape = (6, 4 // group, *kernel) if op == "Conv" else (4, 6, *kernel)
    proto = net.proto(net.op(op, net.input(2, 4, 5, 6), net.w(*shape), **attrs))
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 6)).astype("f4")
    columns, outputs, matrices = _rows(proto, x, positions)
    parts = columns.reshape(len(columns), group, -1)
    found = np.einsum("ngc,gfc->ngf", parts, matrices).reshape(len(columns), -1)
    np.testing.assert_allclose(found, outputs, atol=1e-5)
    assert len(columns) % 2 == 0
