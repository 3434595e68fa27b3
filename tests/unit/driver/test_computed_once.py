"""What is known of a graph is found once in a run, and one trainer works on it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import acgraph.driver
from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.analysis.reuse import with_weights
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.config import CompressConfig
from acgraph.driver import network as module
from acgraph.driver.compress import compress
from acgraph.driver.network import Network
from acgraph.driver.stages.rehearse import rehearse
from acgraph.driver.state.context import Context
from acgraph.driver.state.state import State
from acgraph.ir import Model, clone_model, model_from_proto, replace_constants
from acgraph.pruning.select import magnitude_plan
from acgraph.pruning.shrink import shrink


def structure(model: Model) -> str:
    """Describe a graph without its weights."""
    nodes = [
        (n.op, n.name, [t.name for t in n.inputs], [t.name for t in n.outputs])
        for n in model.graph.nodes
    ]
    return repr((nodes, sorted(model.constant_forms().items())))


@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("criterion", ["reconstruction", "magnitude"])
def test_each_graph_is_analysed_once_and_has_one_trainer(
    configure: Callable[..., CompressConfig],
    swap_stage: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    rounds: int,
    criterion: str,
) -> None:
    analysed: list[str] = []
    trained: list[str] = []
    cut_early: list[str] = []
    real, make = module.analyse, TorchTrainer.__init__

    def counted(model: Model) -> DependencyGraph:
        analysed.append(structure(model))
        return real(model)

    def made(self: TorchTrainer, model: Model, *arguments: Any, **options: Any) -> None:
        trained.append(structure(model))
        make(self, model, *arguments, **options)

    def rehearsed(context: Context, state: State) -> State:
        known = [structure(each.model) for each in (context.untied, state.network)]
        after = rehearse(context, state)
        # What it cuts may look like what a round cuts later, but is a graph of its own.
        cut_early.extend(graph for graph in analysed if graph not in known)
        analysed[:] = known
        return after

    swap_stage(monkeypatch, "rehearse", rehearsed)
    monkeypatch.setattr(module, "analyse", counted)
    monkeypatch.setattr(TorchTrainer, "__init__", made)
    compress(configure(rounds=rounds, criterion=criterion, columns={"enabled": False}))
    assert len(cut_early) == 1
    assert max(Counter(analysed).values()) == 1
    assert max(Counter(trained).values()) == 1
    # The original, what each round begins with, what the last leaves; purification may cut that.
    assert rounds + 2 <= len(trained) <= rounds + 3


def test_nothing_else_of_a_run_analyses_graphs() -> None:
    folder = Path(acgraph.driver.__file__).parent
    callers = {
        str(file.relative_to(folder))
        for file in folder.rglob("*.py")
        if "import DependencyGraph, analyse" in file.read_text()
        or "import analyse" in file.read_text()
    }
    # Neither pruning without data nor repeating a plan is part of a run.
    others = ("prune/", "cut_plan/")
    assert {name for name in callers if not name.startswith(others)} == {"network.py"}


def _two_layers(computed: bool = False) -> Model:
    """Two convolutions; with weights that are computed from stored ones, if asked for."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "u", "b"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "w" if computed else "v"], ["y"], "second"),
    ]
    if computed:
        nodes.insert(0, helper.make_node("Mul", ["v", "half"], ["w"], "scaled"))
    values = {
        "u": rng.standard_normal((6, 3, 3, 3)), "b": rng.standard_normal(6),
        "v": rng.standard_normal((4, 6, 1, 1)), "half": np.array(0.5),
    }  # fmt: skip
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "two",
        [helper.make_tensor_value_info("x", floats, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", floats, [1, 4, 6, 6])],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in values.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    return model_from_proto(helper.make_model(graph, opset_imports=opset, ir_version=8))


def _retrained(model: Model) -> Model:
    other = clone_model(model)
    changed = {n: v + 1 for n, v in other.constants().items() if n != "half"}
    replace_constants(other, changed)
    return other


@pytest.mark.parametrize("computed", [False, True])
def test_a_graph_with_other_weights_is_cut_as_if_it_was_analysed_anew(computed: bool) -> None:
    model = _two_layers(computed)
    network = Network(model)
    dependency = network.dependency
    other = network.trained(_retrained(model))
    anew = analyse(other.model)
    plan = magnitude_plan(anew, other.model.constants(), 0.5)
    assert plan.sets
    ours, theirs = (shrink(each, plan).model for each in (other.dependency, anew))
    assert structure(ours) == structure(theirs)
    for name, value in theirs.constants().items():
        assert np.array_equal(ours.constants()[name], value), name
    assert other.dependency.model is other.model
    assert dependency.model is model


def test_another_graph_is_not_taken_for_the_same() -> None:
    model = _two_layers()
    dependency = analyse(model)
    small = shrink(dependency, magnitude_plan(dependency, model.constants(), 0.5)).model
    assert with_weights(dependency, small) is None
    assert with_weights(dependency, _retrained(model)) is not None
