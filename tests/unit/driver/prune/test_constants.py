"""``prune`` leaves constants that hold sizes and scalars as they are in the masked model."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from acgraph.driver.cost.compact import SmallestChooser
from acgraph.driver.prune.magnitude import PruneReport, prune
from acgraph.ir import Model, is_same, model_from_proto, proto_from_model


def flattened(make_net: Any, *, scalar: np.ndarray) -> onnx.ModelProto:
    """``x.view(x.size(0), -1)`` as PyTorch's legacy exporter writes it, the index a Constant."""
    net = make_net()
    x = net.op("Relu", net.conv(net.input("n", 3, 8, 8), 3, 16))
    x = net.conv(net.op("Relu", net.conv(x, 16, 16)), 16, 16)
    index = net.op("Constant", value=numpy_helper.from_array(scalar))
    size = net.op("Gather", net.op("Shape", x), index, axis=0)
    shape = net.op("Concat", net.op("Unsqueeze", size, net.ints(0)), net.ints(-1), axis=0)
    return net.proto(net.op("Reshape", x, shape))


def columns(model: Model) -> PruneReport:
    return prune(model, sparsity=0.0, columns=0.5, chooser=SmallestChooser())


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_columns_leave_scalar_constants_scalars(make_net: Any, dtype: type) -> None:
    result = columns(model_from_proto(flattened(make_net, scalar=np.array(0, dtype))))
    assert result.verify.passed
    assert result.after.params < 0.6 * result.before.params
    for model in (result.model, result.masked):
        index = next(n for n in model.graph.nodes if n.op == "Gather" and n.attrs["axis"] == 0)
        assert index.inputs[1].inputs[0].attrs["value"].values.shape == ()


def test_a_pruned_model_can_be_pruned_again(make_net: Any) -> None:
    """Sizes that the first cut wrote have names that the second cut wants for its own."""
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 16))
    x = net.op("Reshape", x, net.ints(1, 2, 8, 64))
    x = net.op("Reshape", net.op("Transpose", x, perm=[0, 2, 1, 3]), net.ints(1, 16, 8, 8))
    y = net.op("Reshape", net.conv(net.op("Relu", net.conv(x, 16, 16)), 16, 4), net.ints(1, 256))
    model = model_from_proto(net.proto(y))
    for _ in range(3):
        result = prune(model, sparsity=0.3, columns=0.3, chooser=SmallestChooser())
        assert result.verify.passed
        assert result.after.params < result.before.params
        onnx.checker.check_model(proto_from_model(result.model), full_check=True)
        model = result.model


def test_a_masked_model_differs_in_weights_only(make_net: Any) -> None:
    source = flattened(make_net, scalar=np.array(0))
    masked = proto_from_model(columns(model_from_proto(source)).masked)
    assert [n.op_type for n in masked.graph.node] == [n.op_type for n in source.graph.node]
    for before, after in zip(source.graph.node, masked.graph.node, strict=True):
        assert before.input == after.input
        assert [a.name for a in before.attribute] == [a.name for a in after.attribute]
    original, changed = model_from_proto(source).constants(), model_from_proto(masked).constants()
    for name, value in original.items():
        assert changed[name].shape == value.shape
        assert is_same(changed[name], value) == (value.ndim != 4 or value.shape[1] == 1)
