"""Layers: every constant weight, however it is reached, with the right matrix."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.analysis.cost import layer_costs
from acgraph.analysis.layers import Layer, layers
from acgraph.ir import infer_facts, model_from_proto


def _model(
    nodes: list[onnx.NodeProto],
    constants: dict[str, tuple[int, ...]],
    x: tuple[int, ...],
    opset: int = 17,
) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
            for name, shape in constants.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def _one(
    nodes: list[onnx.NodeProto], constants: dict[str, tuple[int, ...]], x: tuple[int, ...]
) -> Layer:
    found = layers(model_from_proto(_model(nodes, constants, x)))
    assert len(found) == 1
    return found[0]


def test_conv_with_groups() -> None:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], name="c", group=2)
    layer = _one([node], {"w": (6, 2, 3, 5), "b": (6,)}, (1, 4, 9, 9))
    assert (layer.filters, layer.columns, layer.group, layer.kernel) == (6, 2 * 15, 2, (3, 5))
    assert (layer.filter_axis, layer.channel_axis, layer.bias, layer.bias_size) == (0, 1, "b", 6)
    assert layer.size == 6 * 2 * 15


def test_conv_transpose_with_groups() -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="c", group=2)
    layer = _one([node], {"w": (4, 3, 2, 2)}, (1, 4, 5, 5))
    assert (layer.filters, layer.columns) == (6, 2 * 4)
    assert (layer.filter_axis, layer.channel_axis) == (1, 0)


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_either_way_round(transposed: int) -> None:
    node = helper.make_node("Gemm", ["x", "w"], ["y"], name="f", transB=transposed)
    layer = _one([node], {"w": (5, 7) if transposed else (7, 5)}, (2, 7))
    assert (layer.filters, layer.columns) == (5, 7)
    assert layer.weight_shape[layer.filter_axis] == 5
    assert layer.weight_shape[layer.channel_axis] == 7


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_with_the_constant_on_the_left(transposed: int) -> None:
    node = helper.make_node("Gemm", ["w", "x"], ["y"], name="f", transA=transposed)
    layer = _one([node], {"w": (7, 5) if transposed else (5, 7)}, (7, 2))
    assert (layer.filters, layer.columns, layer.weight_input) == (5, 7, 0)
    assert layer.weight_shape[layer.filter_axis] == 5


def test_matmul_on_both_sides_and_batched() -> None:
    right = _one([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": (7, 5)}, (2, 7))
    left = _one([helper.make_node("MatMul", ["w", "x"], ["y"])], {"w": (5, 7)}, (7, 2))
    many = _one([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": (3, 7, 5)}, (3, 2, 7))
    assert (right.filters, right.columns, right.filter_axis, right.channel_axis) == (5, 7, 1, 0)
    assert (left.filters, left.columns, left.filter_axis, left.channel_axis) == (5, 7, 0, 1)
    assert (many.filters, many.columns, many.group) == (15, 7, 3)


def test_weight_through_identity_cast_and_transpose() -> None:
    nodes = [
        helper.make_node("Identity", ["w"], ["i"], name="alias"),
        helper.make_node("Cast", ["i"], ["c"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["c"], ["t"], name="turn", perm=[2, 0, 1]),
        helper.make_node("MatMul", ["x", "t"], ["y"], name="m"),
    ]
    # [5, 3, 7] seen as [7, 5, 3]: 7 matrices, 5 channels, 3 filters
    layer = _one(nodes, {"w": (5, 3, 7)}, (7, 2, 5))
    assert layer.weight == "w"
    assert layer.through == ("alias", "cast", "turn")
    assert (layer.filters, layer.columns, layer.group) == (21, 5, 7)
    assert (layer.filter_axis, layer.channel_axis) == (1, 0)


def test_weight_in_a_constant_node() -> None:
    value = numpy_helper.from_array(np.ones((7, 5), np.float32))
    nodes = [
        helper.make_node("Constant", [], ["w"], name="k", value=value),
        helper.make_node("MatMul", ["x", "w"], ["y"], name="m"),
    ]
    layer = _one(nodes, {}, (2, 7))
    assert (layer.weight, layer.weight_shape) == ("w", (7, 5))


def test_products_of_two_activations_and_of_two_constants_are_no_layers() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["xx"]),
        helper.make_node("MatMul", ["a", "b"], ["ab"]),
        helper.make_node("Add", ["xx", "ab"], ["y"]),
    ]
    model = model_from_proto(_model(nodes, {"a": (2, 3), "b": (3, 2)}, (2, 7)))
    assert layers(model) == []


def test_facts_give_the_output_shape() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="c", strides=[2, 2])
    model = model_from_proto(_model([node], {"w": (6, 4, 3, 3)}, (1, 4, 9, 9)))
    assert layers(model)[0].output_shape is None
    assert layers(model, infer_facts(model))[0].output_shape == (1, 6, 4, 4)


def test_layer_costs_count_weight_and_bias() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h"], name="c"),
        helper.make_node("Flatten", ["h"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["y"], name="m"),
    ]
    model = model_from_proto(
        _model(nodes, {"w": (2, 4, 3, 3), "b": (2,), "v": (8, 5)}, (1, 4, 4, 4))
    )
    first, second = layer_costs(model, infer_facts(model))
    assert (first.name, first.params, first.macs) == ("c", 2 * 36 + 2, 2 * 36 * 4)
    assert (second.name, second.params, second.macs) == ("m", 40, 40)
