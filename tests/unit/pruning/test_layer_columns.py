"""One view of a layer's weight: filters first, then channels, wherever its constant has them."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from acgraph.analysis.layers import Layer, layers
from acgraph.ir import model_from_proto
from acgraph.pruning.layer_columns import (
    cut_columns,
    filter_rows,
    layer_matrix,
    used_columns,
    weight_of_rows,
)


def _behind_transpose(perm: list[int], shape: tuple[int, ...]) -> tuple[Layer, np.ndarray]:
    """Make a Conv whose weight ``[8, 3, 5, 5]`` is a constant of another layout, transposed."""
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["w"], ["turned"], name="turn", perm=perm),
            helper.make_node("Conv", ["x", "turned"], ["y"], name="conv"),
        ],
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 3, 9, 9])],
        [helper.make_tensor_value_info("y", 1, [1, 8, 5, 5])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = model_from_proto(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    )
    (layer,) = layers(model)
    return layer, weight


@pytest.mark.parametrize(
    ("perm", "shape"), [([3, 2, 0, 1], (5, 5, 3, 8)), ([1, 0, 2, 3], (3, 8, 5, 5))]
)
def test_filters_come_first_behind_a_transpose_and_columns_are_cut_where_they_lie(perm, shape):
    layer, weight = _behind_transpose(perm, shape)
    seen = weight.transpose(perm)
    assert np.array_equal(layer_matrix(layer, weight), seen)
    rows = filter_rows(layer, weight)
    assert np.array_equal(rows, seen.reshape(8, -1))
    assert np.array_equal(weight_of_rows(layer, rows, weight), weight)
    kept = np.random.default_rng(1).random((3, 5, 5)) < 0.5
    cut = cut_columns(layer, weight, kept)
    assert np.array_equal(cut.transpose(perm), np.where(kept[None], seen, 0))
    assert np.array_equal(used_columns(layer, cut), kept)
