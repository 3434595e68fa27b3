"""Nodes that are evaluated while a model is read."""

import warnings

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from acgraph.ir.fold import evaluate_node
from acgraph.ir.growth import most_elements

INT64, FLOAT16 = 7, 10


def cast(values: list[float], to: int) -> list[np.ndarray] | None:
    node = gs.Node("Cast", attrs={"to": to}, inputs=[gs.Variable("x")], outputs=[gs.Variable("y")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return evaluate_node(node, [np.array(values, np.float32)], 17, 100)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e30])
def test_an_integer_that_only_the_runtime_knows_is_unknown(value: float) -> None:
    assert cast([1.0, value], INT64) is None


def test_casts_that_every_runtime_does_alike_are_evaluated() -> None:
    (whole,) = cast([1.9, -1.9], INT64) or [None]
    np.testing.assert_array_equal(whole, [1, -1])
    (half,) = cast([1e30, np.nan], FLOAT16) or [None]
    np.testing.assert_array_equal(half, np.array([np.inf, np.nan], np.float16))


def values(*shapes):
    return [np.zeros(shape, np.float32) for shape in shapes]


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("Add", values((50_000, 1), (1, 50_000)), {}),
        ("MatMul", values((50_000, 1), (1, 50_000)), {}),
        ("Gather", [*values((2, 50_000)), np.zeros(50_000, np.int64)], {}),
        ("OneHot", [np.arange(9), np.array(10**10), np.zeros(2, np.float32)], {}),
        ("Range", [np.array(0), np.array(10**12), np.array(1)], {}),
        ("Pad", [*values((2, 2)), np.array([0, 0, 10**6, 10**6])], {}),
        ("Tile", [*values((9, 9)), np.array([10**6, 10**6])], {}),
        ("Expand", [*values((1,)), np.array([10**6, 10**6])], {}),
        ("ConstantOfShape", [np.array([10**6, 10**6])], {}),
        ("Resize", [*values((1, 1, 2, 2)), None, np.array([1, 1, 1e5, 1e5], np.float32)], {}),
        ("Resize", [*values((1, 1, 2, 2)), None, None, np.array([1, 1, 10**6, 10**6])], {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_results_far_larger_than_the_inputs_are_not_computed(op, inputs, attributes):
    names = [gs.Variable(f"i{k}" if x is not None else "") for k, x in enumerate(inputs)]
    node = gs.Node(op, attrs=attributes, inputs=names, outputs=[gs.Variable("y")])
    assert most_elements(node, inputs) > 2**30
    assert evaluate_node(node, inputs, 17, 1 << 16) is None
