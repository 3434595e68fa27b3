"""Nodes that are evaluated while a model is read."""

import warnings

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from acgraph.ir.fold import evaluate_node

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
