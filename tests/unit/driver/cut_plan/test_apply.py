"""A plan says what was cut in terms of the file, and repeats it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from acgraph.driver.cut_plan.apply import apply_plan
from acgraph.driver.prune.magnitude import prune
from acgraph.errors import UsageError
from acgraph.ir import Model, model_from_proto, proto_from_model
from acgraph.pruning.cut_plan import AxisCut, CutPlan


def _bytes(model: Model) -> bytes:
    proto = proto_from_model(model)
    del proto.metadata_props[:]
    return bytes(proto.SerializeToString(deterministic=True))


@pytest.fixture
def source(make_net: Any) -> onnx.ModelProto:
    """Convolutions with BatchNormalization, a sum, and two biases in one initializer."""
    net = make_net()
    zeros = net.const(np.zeros(32, np.float32), "zeros")
    x = net.input(1, 3, 8, 8)
    x = net.op(
        "Relu", net.bn(net.op("Conv", x, net.w(32, 3, 3, 3), zeros, name="a", pads=[1] * 4), 32)
    )
    y = net.op("Relu", net.op("Conv", x, net.w(32, 32, 3, 3), zeros, name="b", pads=[1] * 4))
    y = net.conv(net.op("Relu", net.conv(y, 32, 48)), 48, 32)
    y = net.op("Flatten", net.op("GlobalAveragePool", net.op("Add", x, y)))
    return net.proto(net.gemm(y, 32, 5))


@pytest.mark.parametrize("columns", [0.0, 0.8])
def test_a_plan_read_back_makes_the_same_file(
    source: onnx.ModelProto, tmp_path: Path, columns: float
) -> None:
    result = prune(model_from_proto(source), sparsity=0.5, columns=columns, allow_slower=True)
    path = tmp_path / "plan.json"
    result.cut_plan.save(path)
    plan = CutPlan.load(path)
    assert plan == result.cut_plan
    again = apply_plan(model_from_proto(source), plan)
    assert _bytes(again.model) == _bytes(result.model)
    assert _bytes(again.masked) == _bytes(result.masked)
    assert bool(plan.columns) == bool(columns)
    assert result.verify.passed


def test_a_plan_names_what_the_file_names(source: onnx.ModelProto) -> None:
    model = model_from_proto(source)
    plan = prune(model, sparsity=0.5).cut_plan
    names = {tensor.name for tensor in source.graph.initializer}
    assert {cut.tensor for cut in plan.axes} <= names
    readers = {(cut.tensor, cut.reader) for cut in plan.axes if cut.tensor == "zeros"}
    assert readers == {("zeros", ""), ("zeros", "b")}
    before = {t.name: list(t.dims) for t in source.graph.initializer}
    small = prune(model, sparsity=0.5).model.constants()
    for cut in plan.axes:
        assert before[cut.tensor][cut.axis] == cut.size
        if not cut.reader:
            assert small[cut.tensor].shape[cut.axis] == cut.size - len(cut.removed)


def test_one_axis_of_one_tensor_is_enough(source: onnx.ModelProto) -> None:
    weights = {t.name: t.dims for t in source.graph.initializer}
    name = next(n for n, dims in weights.items() if list(dims) == [48, 32, 3, 3])
    plan = CutPlan(axes=(AxisCut(tensor=name, axis=0, size=48, removed=(1, 7)),))
    after = apply_plan(model_from_proto(source), plan).model.constants()
    original = model_from_proto(source).constants()
    assert np.array_equal(after[name], np.delete(original[name], [1, 7], axis=0))
    shapes = sorted(value.shape for value in after.values() if value.ndim == 4)
    assert (32, 46, 3, 3) in shapes, "the columns that read the filters went along"


def test_an_empty_plan_changes_nothing(source: onnx.ModelProto) -> None:
    model = model_from_proto(source)
    assert _bytes(apply_plan(model, CutPlan()).model) == _bytes(model)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ({"tensor": "nope", "axis": 0, "size": 4}, "cuts a tensor that the model does not have"),
        (
            {"tensor": "zeros", "axis": 0, "size": 4},
            "expects 4 positions, but the tensor has shape [32]",
        ),
        (
            {"tensor": "zeros", "axis": 1, "size": 4},
            "expects 4 positions, but the tensor has shape [32]",
        ),
        ({"tensor": "HEAD", "axis": 0, "size": 5}, "a graph output keeps its shape"),
    ],
)
def test_a_plan_that_does_not_fit_says_why(
    source: onnx.ModelProto, cut: dict[str, Any], message: str
) -> None:
    if cut["tensor"] == "HEAD":
        cut["tensor"] = next(t.name for t in source.graph.initializer if list(t.dims) == [5, 32])
    with pytest.raises(UsageError) as caught:
        apply_plan(model_from_proto(source), CutPlan(axes=(AxisCut(removed=(1,), **cut),)))
    assert message in str(caught.value)


def test_what_is_no_plan_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with pytest.raises(UsageError, match="cannot be read"):
        CutPlan.load(path)
    path.write_text(json.dumps({"axes": [{"tensor": "a"}]}))
    with pytest.raises(UsageError, match=r"is not a plan: axes\.0\.axis: Field required") as caught:
        CutPlan.load(path)
    assert "\n" not in str(caught.value)
