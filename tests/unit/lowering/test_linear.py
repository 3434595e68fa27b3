"""Gemm and MatMul on fewer input features."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acgraph.ir import clone_model
from acgraph.lowering import Candidate, CostModelChooser
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


class Last:
    """Takes the last candidate: the lowered one, where there is one."""

    def choose(self, candidates: list[Candidate]) -> Candidate:
        return candidates[-1]


@st.composite
def random_layers(draw: st.DrawFn) -> dict[str, Any]:
    """A Gemm or MatMul of any sizes and orientation, some of its features unused."""
    features, filters, rows = (draw(st.integers(1, 9)) for _ in range(3))
    flags = draw(st.lists(st.booleans(), min_size=features, max_size=features))
    kept = np.flatnonzero(flags).tolist()
    is_left = draw(st.booleans())
    options: dict[str, Any] = {"left": is_left}
    lead = draw(st.lists(st.integers(1, 3), max_size=2))
    batch = lead if draw(st.booleans()) else []
    data_lead, weight_lead = lead, batch
    op = draw(st.sampled_from(["Gemm", "MatMul"]))
    turned = {"weight": False, "data": False}
    if op == "Gemm":
        data_lead = weight_lead = []
        turned = {"weight": draw(st.booleans()), "data": draw(st.booleans())}
        first, second = ("weight", "data") if is_left else ("data", "weight")
        options |= {"transA": int(turned[first]), "transB": int(turned[second])}
        options |= {"alpha": draw(st.sampled_from([1.0, 0.5])), "beta": 2.0}
        if draw(st.booleans()):
            columns = rows if is_left else filters
            options["bias"] = np.linspace(-1, 1, columns).astype(np.float32)
    weight = [filters, features] if is_left else [features, filters]
    data = [features, rows] if is_left else [rows, features]
    axis = 1 if is_left else 0
    if turned["weight"]:
        weight, axis = weight[::-1], 1 - axis
    if turned["data"]:
        data = data[::-1]
    shape = (*weight_lead, *weight)
    return {
        "op": op,
        "weight": masked(shape, len(weight_lead) + axis, kept),
        "sizes": [*data_lead, *data],
        "kept": kept,
        "options": options,
    }


@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(made=random_layers())
def test_any_linear_layer_equals_the_masked_one(lab: Any, made: dict[str, Any]) -> None:
    dense = lab.node_model(made["op"], made["weight"], made["sizes"], **made["options"])
    x = np.random.default_rng(1).standard_normal(made["sizes"]).astype(np.float32)
    lowered = clone_model(dense)
    (result,) = lower_columns(lowered, choose=Last())
    assert result.columns_after == max(1, len(made["kept"]))
    assert result.form == ("dense" if result.columns_after == result.columns_before else "gather")
    for optimise in (False, True):
        got, wanted = lab.run(lowered, x, optimise), lab.run(dense, x)
        assert lab.relative_error(got, wanted) < 1e-4


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
    assert result.remark == "one operand of the MatMul is a vector"
