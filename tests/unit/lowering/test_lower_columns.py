"""The rewrite in the graph: names, shared constants, tied weights, the pass."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from acgraph.errors import PreconditionError
from acgraph.ir import Model, clone_model, count_params, model_from_proto, proto_from_model
from acgraph.ir.model import InputSizes
from acgraph.lowering import Candidate, CostModelChooser
from acgraph.passes.lower_columns import LowerColumns, lower_columns
from acgraph.passmanager.base import PassContext


class Prefer:
    """Chooses by label where the layer has it, else the dense layer."""

    def __init__(self, *labels: str) -> None:
        self.labels = labels

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        return next((c for c in candidates if c.label in self.labels), candidates[0])


def pruned(lab: Any, filters: int, channels: int, seed: int, share: float) -> np.ndarray:
    kept = np.random.default_rng(seed).random((channels, 3, 3)) < share
    weight: np.ndarray = lab.pruned_weight((filters, channels, 3, 3), kept, seed)
    return weight


def network(lab: Any, *, tied: bool = False, through: str = "", share: float = 0.2) -> Model:
    """Two pruned 3x3 layers with a Relu between, and a dense one."""
    weights = {
        name: pruned(lab, 24, 24, n, share) for n, name in enumerate(["a.weight", "b.weight"])
    }
    if tied:
        weights["b.weight"] = weights["a.weight"]
    weights["c.weight"] = np.ones((3, 24, 1, 1), np.float32)
    names = {"b": "a.weight" if tied else "b.weight"}
    nodes = []
    if through == "Identity":
        nodes.append(helper.make_node("Identity", ["b.weight"], ["alias"], name="alias"))
        names["b"] = "alias"
    if through == "Constant":
        value = numpy_helper.from_array(weights.pop("b.weight"))
        nodes.append(helper.make_node("Constant", [], ["alias"], name="alias", value=value))
        names["b"] = "alias"
    nodes += [
        helper.make_node("Conv", ["x", "a.weight"], ["p"], name="a", pads=[1] * 4),
        helper.make_node("Relu", ["p"], ["q"], name="relu"),
        helper.make_node("Conv", ["q", names["b"]], ["r"], name="b", pads=[1] * 4),
        helper.make_node("Conv", ["r", "c.weight"], ["y"], name="c"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["n", 24, 20, 20])],
        [
            helper.make_tensor_value_info("y", 1, ["n", 3, 20, 20]),
            helper.make_tensor_value_info("r", 1, ["n", 24, 20, 20]),
        ],
        [
            numpy_helper.from_array(w, name)
            for name, w in weights.items()
            if not (tied and name[0] == "b")
        ],
    )
    return model_from_proto(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    )


def check_equal(lab: Any, dense: Model, lowered: Model) -> None:
    onnx.checker.check_model(proto_from_model(lowered), full_check=True)
    x = np.random.default_rng(0).standard_normal((2, 24, 20, 20)).astype(np.float32)
    assert lab.relative_error(lab.run(lowered, x), lab.run(dense, x)) < 1e-4


def test_names_say_layer_form_and_kernel_position(lab: Any) -> None:
    dense = network(lab, share=0.5)
    lowered = clone_model(dense)
    results = lower_columns(lowered, choose=Prefer("gather:each-pad"), layers=["b"])
    assert [(result.name, result.form) for result in results] == [("b", "gather")]
    names = [node.name for node in lowered.graph.nodes]
    assert names[:3] == ["a", "relu", "b/gather.k00"]
    assert names[-3:] == ["b/gather.concat", "b/gather.conv", "c"]
    assert {"b/gather.k02", "b/gather.k02.pad", "b/gather.k11"} <= set(names)
    assert "b/gather.k11.pad" not in names  # the centre is read where it lies
    assert len(set(names)) == len(names)
    constants = lowered.constants()
    assert "b.weight/columns" in constants
    assert "b.weight" not in constants
    assert [tensor.name for tensor in lowered.graph.outputs] == ["y", "r"]
    check_equal(lab, dense, lowered)


def test_positions_above_nine_are_set_apart(lab: Any) -> None:
    kept = np.zeros((6, 1, 13), np.bool_)
    kept[[0, 2], 0, 0] = kept[[1, 3, 5], 0, 11] = True
    spec = lab.Spec(weight=lab.pruned_weight((4, 6, 1, 13), kept), spatial=(3, 20))
    model = lab.conv_model(spec)
    lower_columns(model, choose=Prefer("gather:each-slice"))
    assert "conv/gather.k0_11" in [node.name for node in model.graph.nodes]


def test_pads_are_shared_between_positions_and_layers(lab: Any) -> None:
    model = network(lab, share=0.5)  # so many that no position keeps a range of channels
    first, second, _ = lower_columns(model, choose=Prefer("gather:each-pad"))
    pads = [name for name in model.constants() if name.startswith("lowering/int64")]
    movers = [node for node in model.graph.nodes if node.op == "Pad"]
    assert len(movers) == 16
    assert len(pads) == 8
    saved = 8 * len(pads)
    weights = {name: w.size for name, w in model.constants().items() if name.endswith("/columns")}
    indices = {"a": first.columns_after, "b": second.columns_after}
    assert first.params_after == weights["a.weight/columns"] + indices["a"] + saved
    assert second.params_after == weights["b.weight/columns"] + indices["b"]


def test_constants_are_shared_with_an_earlier_run(lab: Any) -> None:
    at_once, in_turn = network(lab, share=0.5), network(lab, share=0.5)
    lower_columns(at_once, choose=Prefer("gather:each-pad"))
    for name in ("a", "b"):
        lower_columns(in_turn, choose=Prefer("gather:each-pad"), layers=[name])
    assert in_turn.constants().keys() == at_once.constants().keys()


@pytest.mark.parametrize("label", ["gather:each-pad", "gather:joint-slice", "split:axis0"])
def test_params_are_those_of_the_file(lab: Any, label: str) -> None:
    model = network(lab)
    before = count_params(proto_from_model(model))
    results = lower_columns(model, choose=Prefer(label))
    gained = sum(result.params_after - result.params_before for result in results)
    assert gained != 0
    assert count_params(proto_from_model(model)) == before + gained


def test_a_weight_that_another_layer_keeps_is_not_stored_twice(lab: Any) -> None:
    dense = network(lab, tied=True)
    lowered = clone_model(dense)
    (result,) = lower_columns(lowered, choose=Prefer("gather:each-pad"), layers=["b"])
    assert (result.form, result.params_before, result.params_after) == ("dense", 0, 0)
    assert "other nodes read its weight" in result.remark
    assert lowered.constants().keys() == dense.constants().keys()


def test_layers_that_share_a_weight_share_what_is_left_of_it(lab: Any) -> None:
    dense = network(lab, tied=True)
    lowered = clone_model(dense)
    results = lower_columns(lowered, choose=Prefer("gather:each-pad"))
    assert [result.form for result in results] == ["gather", "gather", "dense"]
    weights = {name for name in lowered.constants() if name.startswith("a.weight")}
    assert weights == {"a.weight/columns"}
    assert count_params(proto_from_model(lowered)) < count_params(proto_from_model(dense)) / 2
    check_equal(lab, dense, lowered)


def test_layers_that_share_a_weight_stay_dense_together(lab: Any) -> None:
    """One of them has no form for it: half of the readers lowered would be two copies."""
    dense = network(lab, tied=True)
    second = next(node for node in dense.graph.nodes if node.name == "b")
    second.attrs |= {"auto_pad": "SAME_UPPER", "strides": [2, 2]}
    del second.attrs["pads"]
    dense.graph.inputs[0].shape = ["n", 24, "h", "w"]
    dense.graph.outputs[0].shape = dense.graph.outputs[1].shape = None
    results = lower_columns(dense, choose=Prefer("gather:each-pad"))
    assert [result.form for result in results] == ["dense"] * 3
    assert "a.weight" in dense.constants()


@pytest.mark.parametrize("through", ["Identity", "Constant"])
def test_what_only_made_the_weight_goes_too(lab: Any, through: str) -> None:
    dense = network(lab, through=through)
    lowered = clone_model(dense)
    lower_columns(lowered, choose=Prefer("gather:each-pad"))
    assert through not in [node.op for node in lowered.graph.nodes]
    check_equal(lab, dense, lowered)


def test_only_layers_can_be_named(lab: Any) -> None:
    with pytest.raises(PreconditionError, match="no such layer: relu"):
        lower_columns(network(lab), choose=CostModelChooser(), layers=["a", "relu"])


def test_what_cannot_go_of_a_grouped_layer_is_said(lab: Any) -> None:
    weight = np.random.default_rng(0).standard_normal((6, 2, 3, 3)).astype(np.float32)
    weight[:, :, 0, 1] = 0
    model = lab.node_model("Conv", weight, [1, 6, 8, 8], group=3)
    (result,) = lower_columns(model, choose=CostModelChooser())
    assert result.form == "dense"
    assert result.remark == "only kernel borders can be removed from a grouped convolution"


def test_layers_that_cannot_be_lowered_say_why(lab: Any) -> None:
    weight = np.zeros((8, 4), np.int32)
    model = lab.node_model("MatMul", weight, [2, 8])
    (result,) = lower_columns(model, choose=CostModelChooser())
    assert result.remark == "its weight is int32"
    assert result.params_before == result.params_after == weight.size


def test_a_kernel_that_does_not_fit_into_the_assumed_sizes_stays_whole(lab: Any) -> None:
    weight = np.zeros((4, 1, 1, 9), np.float32)
    weight[:, :, :, :2] = 1
    model = lab.node_model("Conv", weight, [1, 1, "h", "w"])
    model.sizes = InputSizes({"x": (1, 1, 4, 4)}, ("x",))
    (result,) = lower_columns(model, choose=CostModelChooser(metric="params"))
    assert result.form == "dense"
    assert result.remark.startswith("its kernel does not fit into 1x1x4x4")
    model.sizes = InputSizes({"x": (1, 1, 4, 16)}, ("x",))
    (result,) = lower_columns(model, choose=CostModelChooser(metric="params"))
    assert result.remark == ""


@pytest.mark.parametrize("metric", ["latency", "params", "size"])
def test_the_pass_lowers_and_then_has_nothing_to_do(lab: Any, metric: Any) -> None:
    dense = network(lab)
    lowered = clone_model(dense)
    before = count_params(proto_from_model(dense))
    result = LowerColumns(metric=metric).run(lowered, PassContext())
    assert result.modified
    assert result.statistics["lowered"] >= 2
    assert count_params(proto_from_model(lowered)) < before
    check_equal(lab, dense, lowered)
    assert not LowerColumns(metric=metric).run(lowered, PassContext()).modified


def test_the_pass_refuses_other_metrics(lab: Any) -> None:
    wrong: Any = "speed"
    with pytest.raises(PreconditionError, match="no metric 'speed'"):
        LowerColumns(metric=wrong).requires(network(lab), PassContext())
