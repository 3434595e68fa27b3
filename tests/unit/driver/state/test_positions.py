"""Which cuts of a run are inexact, told from the positions that are left."""

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.driver.state.positions import inexact_cuts
from acgraph.ir import model_from_proto
from acgraph.pruning.plan import Plan
from acgraph.pruning.shrink import shrink

HEADS, FEATURES = 2, 4
WIDTH = HEADS * FEATURES


def _attention_over_features() -> ModelProto:
    """Attention whose Softmax runs over the features of a head: these are cut inexactly only."""
    rng = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)

    split = numpy_helper.from_array(np.array([0, 0, HEADS, FEATURES], np.int64), "split")
    joined = numpy_helper.from_array(np.array([0, 0, WIDTH], np.int64), "joined")
    nodes = []
    for part, perm in (("q", (0, 2, 3, 1)), ("k", (0, 2, 1, 3)), ("v", (0, 2, 3, 1))):
        nodes += [
            helper.make_node("MatMul", ["x", f"w{part}"], [f"{part}0"], f"make_{part}"),
            helper.make_node("Reshape", [f"{part}0", "split"], [f"{part}1"]),
            helper.make_node("Transpose", [f"{part}1"], [part], perm=perm),
        ]
    nodes += [
        helper.make_node("MatMul", ["q", "k"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], "softmax", axis=-1),
        helper.make_node("MatMul", ["shares", "v"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["turned"], perm=(0, 3, 1, 2)),
        helper.make_node("Reshape", ["turned", "joined"], ["flat"]),
        helper.make_node("MatMul", ["flat", "wo"], ["y"], "out"),
    ]
    weights = [*(constant(f"w{part}", 6, WIDTH) for part in "qkv"), constant("wo", WIDTH, 6)]
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 5, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5, 6])],
        [*weights, split, joined],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def dependency() -> DependencyGraph:
    return analyse(model_from_proto(_attention_over_features(), "attention"))


def _cut(dependency: DependencyGraph, *, exact: bool) -> list[str]:
    """Cut the first set of the first family of a kind, and say what is called inexact."""
    family = next(
        f for f in dependency.prunable(allow_inexact=True)
        if f.is_exact is exact and any(m.tensor == "wk" for m in f.members)
    )  # fmt: skip
    plan = Plan({family.name: np.arange(family.size) == 0})
    return inexact_cuts(dependency, shrink(dependency, plan).kept)


def test_a_head_that_goes_is_no_cut_of_the_features_inside_it(dependency: DependencyGraph) -> None:
    assert _cut(dependency, exact=True) == []


def test_a_feature_that_goes_from_every_head_is_inexact(dependency: DependencyGraph) -> None:
    assert len(_cut(dependency, exact=False)) == 1
