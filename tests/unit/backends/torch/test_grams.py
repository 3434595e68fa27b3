"""The moments of what layers read, against the energy of what ONNX Runtime puts out."""

import numpy as np
import pytest
from onnx import helper

from acgraph.analysis.layers import layers
from acgraph.backends.torch.grams import input_grams
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.data import Batch
from acgraph.errors import DataError

CONV = {
    "plain": ((3, 4, 9, 8), (6, 4, 3, 3), {}),
    "asymmetric": ((3, 4, 9, 8), (6, 4, 3, 3), {"pads": [0, 1, 2, 0], "strides": [2, 1]}),
    "dilated": ((3, 4, 9, 8), (6, 4, 3, 2), {"dilations": [2, 3], "pads": [1, 1, 1, 1]}),
    "same upper": ((3, 3, 9, 8), (4, 3, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    "same lower": ((3, 3, 9, 8), (4, 3, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "valid": ((3, 3, 9, 8), (4, 3, 4, 3), {"auto_pad": "VALID"}),
    "point": ((3, 4, 9, 8), (6, 4, 1, 1), {"strides": [2, 2]}),
    "1d": ((3, 3, 11), (4, 3, 3), {"pads": [2, 1], "strides": [2]}),
    "3d": ((2, 2, 5, 6, 7), (4, 2, 3, 3, 3), {"pads": [1, 1, 1, 1, 1, 1], "strides": [1, 2, 2]}),
}
MATRICES = {
    "gemm": ("Gemm", (5, 4), (4, 3), {}),
    "gemm transposed": ("Gemm", (5, 4), (3, 4), {"transB": 1}),
    "matmul": ("MatMul", (2, 3, 4), (4, 3), {}),
}


def _in(*arrays):
    return [Batch({"x": x}) for x in arrays]


def _check(ort, model, x, matrix):
    """``E[y y^T] = W H W^T`` and ``E[y] = W m`` over every output position."""
    gram = input_grams(GraphModule(model), model, layers(model), _in(x), positions=10**6)["w"]
    (y,) = ort(model, {"x": x})
    rows = np.moveaxis(y, 1, -1).reshape(-1, len(matrix)).astype(np.float64)
    second = matrix @ gram.second @ matrix.T
    np.testing.assert_allclose(second, rows.T @ rows / len(rows), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(matrix @ gram.mean, rows.mean(axis=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CONV)
def test_moments_of_a_convolution(case, normal, build, ort):
    size, kernel, attributes = CONV[case]
    w, x = normal(*kernel), normal(*size)
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", **attributes)
    model = build([node], {"x": x}, {"w": w}, ["y"])
    _check(ort, model, x, w.reshape(len(w), -1))


@pytest.mark.parametrize("case", MATRICES)
def test_moments_of_a_matrix(case, normal, build, ort):
    op, size, shape, attributes = MATRICES[case]
    w, x = normal(*shape), normal(*size)
    model = build(
        [helper.make_node(op, ["x", "w"], ["y"], name="layer", **attributes)],
        {"x": x}, {"w": w}, ["y"],
    )  # fmt: skip
    matrix = w if attributes.get("transB") else w.T
    (y,) = ort(model, {"x": x})
    gram = input_grams(GraphModule(model), model, layers(model), _in(x), positions=10**6)["w"]
    rows = y.reshape(-1, 3).astype(np.float64)
    second = matrix @ gram.second @ matrix.T
    np.testing.assert_allclose(second, rows.T @ rows / len(rows), rtol=1e-4, atol=1e-4)


def test_batches_are_averaged_and_positions_drawn_by_the_seed(normal, build):
    w, x = normal(4, 3, 3, 3), normal(4, 3, 12, 12)
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    model = build([node], {"x": x[:2]}, {"w": w}, ["y"], shapes={"x": ["n", 3, 12, 12]})
    module, found = GraphModule(model), layers(model)
    whole = input_grams(module, model, found, _in(x), positions=10**6)["w"]
    parts = input_grams(module, model, found, _in(x[:1], x[1:]), positions=10**6)["w"]
    np.testing.assert_allclose(whole.second, parts.second, rtol=1e-5, atol=1e-5)
    some = [input_grams(module, model, found, _in(x), positions=7, seed=s)["w"] for s in (0, 0, 1)]
    assert np.array_equal(some[0].second, some[1].second)
    assert not np.array_equal(some[0].second, some[2].second)


def test_no_data_is_an_error(normal, build):
    w, x = normal(4, 3, 3, 3), normal(1, 3, 6, 6)
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    model = build([node], {"x": x}, {"w": w}, ["y"])
    with pytest.raises(DataError, match="no data"):
        input_grams(GraphModule(model), model, layers(model), [])


@pytest.mark.parametrize(
    ("mean", "deviation"), [(1000.0, 1e-2), (1e12, 1e12), (0.0, 1e25), (0.0, 1e-25)]
)
def test_a_large_mean_or_an_odd_scale_costs_no_digits(mean, deviation, normal, build):
    w = normal(3, 5)
    x = (mean + deviation * normal(300, 5)).astype(np.float32)
    model = build(
        [helper.make_node("Gemm", ["x", "w"], ["y"], name="layer", transB=1)],
        {"x": x}, {"w": w}, ["y"],
        shapes={"x": ["n", 5]},
    )  # fmt: skip
    module = GraphModule(model)
    gram = input_grams(
        module,
        model,
        layers(model),
        _in(x[:100], x[100:]),
        positions=10**6,
    )["w"]
    expected = np.cov(x.T.astype(np.float64), bias=True)
    np.testing.assert_allclose(
        gram.covariance / np.trace(expected), expected / np.trace(expected), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(gram.mean, x.mean(axis=0, dtype=np.float64), rtol=1e-5)
