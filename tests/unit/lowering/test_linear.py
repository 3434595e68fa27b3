"""Gemm and MatMul on fewer input features."""

from typing import Any

import numpy as np
import pytest

from acgraph.ir import clone_model
from acgraph.lowering import CostModelChooser
from acgraph.passes.lower_columns import lower_columns


def masked(shape: tuple[int, ...], axis: int, kept: list[int]) -> np.ndarray:
    weight = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    where = np.zeros(shape[axis], np.bool_)
    where[kept] = True
    turned = [1] * len(shape)
    turned[axis] = -1
    return np.where(where.reshape(turned), weight, np.float32(0))


SCATTERED = [0, 3, 4, 9, 200]
RANGE = list(range(20, 60))
BIAS = np.linspace(-2, 2, 300).astype(np.float32)

CASES: dict[str, tuple[str, tuple[int, ...], int, list[Any], dict[str, Any]]] = {
    "gemm": ("Gemm", (256, 300), 0, [5, 256], {"bias": BIAS, "alpha": 0.5, "beta": 2.0}),
    "gemm-transB": ("Gemm", (300, 256), 1, [5, 256], {"transB": 1, "bias": BIAS}),
    "gemm-transA": ("Gemm", (256, 300), 0, [256, 5], {"transA": 1}),
    "gemm-left": ("Gemm", (300, 256), 1, [256, 5], {"left": True}),
    "gemm-left-transA": ("Gemm", (256, 300), 0, [5, 256], {"left": True, "transA": 1, "transB": 1}),
    "matmul": ("MatMul", (256, 300), 0, [2, 5, 256], {}),
    "matmul-dynamic": ("MatMul", (256, 300), 0, ["n", "t", 256], {}),
    "matmul-batched": ("MatMul", (2, 256, 300), 1, [2, 5, 256], {}),
    "matmul-left": ("MatMul", (300, 256), 1, [2, 256, 5], {"left": True}),
}


@pytest.mark.parametrize("kept", [SCATTERED, RANGE, []], ids=["scattered", "range", "nothing"])
@pytest.mark.parametrize("case", CASES)
def test_linear_equals_the_masked_layer(lab: Any, case: str, kept: list[int]) -> None:
    op, shape, axis, sizes, options = CASES[case]
    dense = lab.node_model(op, masked(shape, axis, kept), sizes, **options)
    numbers = [size if isinstance(size, int) else 3 for size in sizes]
    x = np.random.default_rng(1).standard_normal(numbers).astype(np.float32)
    lowered = clone_model(dense)
    (result,) = lower_columns(lowered, choose=CostModelChooser(metric="params"))
    assert result.form == "gather"
    assert result.variant == ("features" if kept == SCATTERED else "range")
    assert result.columns_before == 256
    assert result.columns_after == max(1, len(kept))
    assert result.params_after < result.params_before
    assert [n.name for n in lowered.graph.nodes][-1] == f"layer/gather.{op.lower()}"
    assert lab.relative_error(lab.run(lowered, x), lab.run(dense, x)) < 1e-4


def test_a_layer_with_all_features_in_use_is_left_alone(lab: Any) -> None:
    model = lab.node_model("MatMul", np.ones((8, 4), np.float32), [2, 8])
    (result,) = lower_columns(model, choose=CostModelChooser(metric="params"))
    assert result.form == "dense"
    assert result.columns_after == 8
    assert [node.name for node in model.graph.nodes] == ["layer"]


def test_a_vector_is_left_alone(lab: Any) -> None:
    model = lab.node_model("MatMul", masked((8, 4), 0, [1]), [8])
    (result,) = lower_columns(model, choose=CostModelChooser())
    assert result.form == "dense"
    assert result.remark == "a vector is multiplied"
