"""Layers are paired by their order and size where nothing else agrees."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.difference import diff_models, match_nodes
from acgraph.difference.align import common_sequence
from acgraph.ir import Model
from acgraph.ir.load import load_model

SIZES = [(8, 4), (8, 8), (8, 8), (4, 8)]


def chain(prefix: str, seed: int, *, is_split: bool = False, sizes=SIZES) -> Model:
    """Make a chain of products; ``is_split`` adds the bias by a node of its own."""
    rng = np.random.default_rng(seed)
    nodes, weights, last = [], [], "x"
    for k, (out, into) in enumerate(sizes):
        for name, shape in ((f"{prefix}w{k}", (into, out)), (f"{prefix}b{k}", (out,))):
            value = rng.standard_normal(shape).astype(np.float32)
            weights.append(numpy_helper.from_array(value, name))
        read = [last, f"{prefix}w{k}"]
        end = f"{prefix}h{k}"
        if is_split:
            nodes.append(helper.make_node("MatMul", read, [f"{prefix}m{k}"], name=f"{prefix}p{k}"))
            nodes.append(helper.make_node("Add", [f"{prefix}m{k}", f"{prefix}b{k}"], [end],
                                          name=f"{prefix}a{k}"))  # fmt: skip
        else:
            nodes.append(helper.make_node("Gemm", [*read, f"{prefix}b{k}"], [end],
                                          name=f"{prefix}g{k}"))  # fmt: skip
        last = end
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, sizes[0][1]])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [2, sizes[-1][0]])], weights,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    return load_model(model)


def test_layers_of_other_names_weights_and_operators_are_paired_in_order() -> None:
    first, second = chain("one/", 0), chain("two/", 1, is_split=True)
    found = match_nodes(first, second).pairs
    assert [found.get(f"one/g{k}") for k in range(4)] == [f"two/p{k}" for k in range(4)]
    diff = diff_models(first, second)
    assert {(x.name, x.after) for x in diff.retyped} >= {("one/g0", "MatMul")}


def test_a_layer_of_another_size_is_left_out() -> None:
    wide = [(8, 4), (8, 8), (6, 8), (8, 6), (4, 8)]
    found = match_nodes(chain("one/", 0), chain("two/", 1, is_split=True, sizes=wide)).pairs
    assert found.get("one/g0") == "two/p0"
    assert found.get("one/g3") == "two/p4"
    assert not {"two/p2", "two/p3"} & set(found.values())


@pytest.mark.parametrize(
    ("first", "second", "pairs"),
    [
        ("", "abc", []),
        ("abc", "abc", [(0, 0), (1, 1), (2, 2)]),
        ("abcd", "acd", [(0, 0), (2, 1), (3, 2)]),
        ("axbxc", "abc", [(0, 0), (2, 1), (4, 2)]),
        ("ab", "ba", [(1, 0)]),
        ("aab", "ab", [(0, 0), (2, 1)]),
    ],
)
def test_common_sequence(first: str, second: str, pairs: list[tuple[int, int]]) -> None:
    found = common_sequence(first, second)
    assert len(found) == len(pairs)
    assert all(first[a] == second[b] for a, b in found)
    assert found == sorted(found)
    assert found == pairs
