"""Networks that another tool wrote again: every name is another, and the nodes are reordered."""

import json
import random

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as nh
import pytest

from acgraph.analysis.dependency import analyse
from acgraph.difference import GraphDiff, diff_models, json_from_diff, text_from_diff
from acgraph.ir import Model, model_from_proto, proto_from_model
from acgraph.pruning.select import magnitude_plan
from acgraph.pruning.shrink import shrink


def branches(*, extra: bool = False) -> onnx.ModelProto:
    """Build parallel branches of equal shape, which only their weights and readers tell apart."""
    rng = np.random.default_rng(0)
    weights = {
        "stem.w": rng.standard_normal((8, 3, 3, 3)),
        "left.w": rng.standard_normal((8, 8, 3, 3)),
        "right.w": rng.standard_normal((8, 8, 3, 3)),
        "point.w": rng.standard_normal((8, 8, 1, 1)),
        "head.w": rng.standard_normal((24, 5)),
        **({"front.w": rng.standard_normal((3, 3, 3, 3))} if extra else {}),
    }
    front = [oh.make_node("Conv", ["x", "front.w"], ["f"], pads=[1] * 4)] if extra else []
    nodes = [
        *front,
        oh.make_node("Conv", ["f" if extra else "x", "stem.w"], ["a"], pads=[1] * 4),
        oh.make_node("Relu", ["a"], ["r"]),
        oh.make_node("Conv", ["r", "left.w"], ["l0"], pads=[1] * 4),
        oh.make_node("Conv", ["r", "right.w"], ["r0"], pads=[1] * 4),
        oh.make_node("Conv", ["r", "point.w"], ["p0"]),
        oh.make_node("Relu", ["l0"], ["l"]),
        oh.make_node("Relu", ["r0"], ["q"]),
        oh.make_node("Sigmoid", ["p0"], ["p"]),
        oh.make_node("Concat", ["l", "q", "p"], ["c"], axis=1),
        oh.make_node("GlobalAveragePool", ["c"], ["g"]),
        oh.make_node("Flatten", ["g"], ["h"]),
        oh.make_node("MatMul", ["h", "head.w"], ["y"]),
    ]
    for number, node in enumerate(nodes):
        node.name = f"{node.op_type}_{number}"
    graph = oh.make_graph(
        nodes,
        "g",
        [oh.make_tensor_value_info("x", 1, [1, 3, 8, 8])],
        [oh.make_tensor_value_info("y", 1, [1, 5])],
        [nh.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)


def write_again(proto: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """Give everything inside another name, and put independent nodes into another order."""
    other = onnx.ModelProto.FromString(proto.SerializeToString())
    graph, rng = other.graph, random.Random(seed)
    outside = {v.name for v in [*graph.input, *graph.output]}
    names: dict[str, str] = {}

    def new(name: str) -> str:
        if not name or name in outside:
            return name
        return names.setdefault(name, f"t{len(names)}_{rng.randrange(10**6)}")

    for node in graph.node:
        node.input[:] = map(new, node.input)
        node.output[:] = map(new, node.output)
    for tensor in graph.initializer:
        tensor.name = new(tensor.name)
    del graph.value_info[:]
    known = {v.name for v in graph.input} | {t.name for t in graph.initializer} | {""}
    waiting, order = list(graph.node), []
    while waiting:
        node = rng.choice([n for n in waiting if set(n.input) <= known])
        waiting.remove(node)
        known.update(node.output)
        order.append(node)
    # Numbered anew, as exporters do: the names of the original, each on another node.
    for number, node in enumerate(order):
        node.name = f"{node.op_type}_{number}"
    del graph.node[:]
    graph.node.extend(order)
    return other


def told(diff: GraphDiff) -> set[str]:
    """Return the kinds of change that are told, beside names and costs."""
    kinds = {k for k, v in json.loads(json_from_diff(diff)).items() if isinstance(v, list) and v}
    return kinds - {"renamed", "node_costs"}


def read(proto: onnx.ModelProto) -> Model:
    return model_from_proto(proto, "test")


@pytest.mark.parametrize("seed", range(6))
def test_a_network_that_was_written_again_is_the_same(seed):
    proto = branches()
    diff = diff_models(read(proto), read(write_again(proto, seed)))
    assert diff.is_empty
    assert told(diff) == set()


def test_only_renamed_nodes_are_told_and_are_no_difference():
    proto = branches()
    other = write_again(proto, 0)
    for number, node in enumerate(other.graph.node):
        node.name = f"n{number}"
    diff = diff_models(read(proto), read(other))
    assert diff.is_empty
    assert len(diff.renamed) == len(proto.graph.node)
    text = text_from_diff(diff, "a", "b").splitlines()
    assert text[2] == "the models are the same; 12 nodes renamed"
    assert not any(line.startswith(("bytes", "params")) for line in text)


@pytest.mark.parametrize("seed", range(4))
def test_one_changed_weight_is_all_that_is_told(seed):
    proto = branches()
    other = write_again(proto, seed)
    (tensor,) = (t for t in other.graph.initializer if list(t.dims) == [8, 8, 1, 1])
    tensor.CopyFrom(nh.from_array(nh.to_array(tensor) + np.float32(0.25), tensor.name))
    diff = diff_models(read(proto), read(other))
    (change,) = diff.constants
    assert change.name == "point.w"
    assert change.max_abs_diff == pytest.approx(0.25)
    assert told(diff) == {"constants"}


@pytest.mark.parametrize("seed", range(4))
def test_layers_of_equal_shape_are_found_by_their_weights(seed):
    """Two branches change places in the order of the file and in every name."""
    proto = branches()
    other = write_again(proto, seed)
    weights = {t.name: nh.to_array(t).tobytes() for t in other.graph.initializer}
    theirs = {n.name: weights.get(n.input[1]) for n in other.graph.node if len(n.input) == 2}
    ours = {t.name: nh.to_array(t).tobytes() for t in proto.graph.initializer}
    diff = diff_models(read(proto), read(other))
    names = {r.before: r.after for r in diff.renamed}
    for node in proto.graph.node:
        if node.op_type == "Conv":
            assert theirs[names.get(node.name, node.name)] == ours[node.input[1]]


@pytest.mark.parametrize("seed", range(4))
def test_a_layer_in_front_takes_no_other_layer_for_its_own(seed):
    """Its number shifts every name: ``Conv_0`` is another layer now."""
    other = write_again(branches(extra=True), seed)
    diff = diff_models(read(branches()), read(other))
    assert [node.op_type for node in diff.added] == ["Conv"]
    assert told(diff) == {"added", "rewired"}
    assert [(c.before, c.after.partition("_")[0]) for c in diff.rewired] == [("x", "Conv")]


@pytest.mark.parametrize("seed", range(4))
def test_a_pruned_network_that_was_written_again_is_told_layer_by_layer(seed):
    model = read(branches())
    dependency = analyse(model)
    small = shrink(dependency, magnitude_plan(dependency, model.constants(), 0.5)).model
    diff = diff_models(model, read(write_again(proto_from_model(small), seed)))
    assert told(diff) == {"resized", "constants"}
    cut = [(change.filters, change.columns) for change in diff.resized]
    assert cut == [
        ((8, 4), (27, 27)),
        ((8, 4), (72, 36)),
        ((8, 4), (72, 36)),
        ((8, 4), (8, 4)),
        ((5, 5), (24, 12)),
    ]


def test_names_inside_a_branch_are_no_difference():
    def choice(inner: str) -> onnx.ModelProto:
        then = oh.make_graph(
            [oh.make_node("Neg", ["x"], [inner]), oh.make_node("Abs", [inner], ["t"])],
            "then",
            [],
            [oh.make_tensor_value_info("t", 1, [2])],
        )
        other = oh.make_graph(
            [oh.make_node("Abs", ["x"], ["e"])],
            "else",
            [],
            [oh.make_tensor_value_info("e", 1, [2])],
        )
        node = oh.make_node("If", ["c"], ["y"], name="if", then_branch=then, else_branch=other)
        graph = oh.make_graph(
            [node],
            "g",
            [oh.make_tensor_value_info("c", 9, []), oh.make_tensor_value_info("x", 1, [2])],
            [oh.make_tensor_value_info("y", 1, [2])],
        )
        return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)

    assert diff_models(read(choice("n")), read(choice("m"))).is_empty
    changed = choice("n")
    (branch,) = (a.g for a in changed.graph.node[0].attribute if a.name == "then_branch")
    branch.node[0].op_type = "Exp"
    assert [a.attribute for a in diff_models(read(choice("n")), read(changed)).attributes] == [
        "then_branch"
    ]
