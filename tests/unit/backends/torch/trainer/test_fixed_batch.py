"""Networks whose batch cannot be left train, are judged and are measured in parts of it."""

from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

from acgraph.backends.ort.accuracy import accuracy
from acgraph.backends.ort.session import Session
from acgraph.backends.torch.batchnorm import channel_statistics
from acgraph.backends.torch.fixed_batch import describe_fixed_batch
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.torch.visit import visit
from acgraph.backends.training import TrainConfig
from acgraph.data import ArrayDataset, Batch
from acgraph.ir import Model, model_from_proto

CONFIG: dict[str, Any] = {"batch_size": 8, "threads": 1, "precision": "fp32"}


def mixing(batch: int) -> Model:
    """Conv, BatchNormalization, and what is taken off: the mean over the batch."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((6, 3, 3, 3)), "g": np.ones(6), "b": np.zeros(6),
        "m": rng.standard_normal(6), "v": np.full(6, 2.0), "h": rng.standard_normal((5, 6)),
        "half": np.array(0.5),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["c"], "conv"),
        node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], "bn"),
        node("Relu", ["n"], ["r"], "relu"),
        node("GlobalAveragePool", ["r"], ["p"], "pool"),
        node("Flatten", ["p"], ["f"], "flatten"),
        node("ReduceMean", ["f"], ["mean"], "mean", axes=[0], keepdims=1),
        node("Mul", ["mean", "half"], ["part"], "half"),
        node("Sub", ["f", "part"], ["d"], "less"),
        node("Gemm", ["d", "h"], ["y"], "head", transB=1),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", 1, [batch, 3, 6, 6])],
        [helper.make_tensor_value_info("y", 1, [batch, 5])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    return model_from_proto(helper.make_model(graph, opset_imports=opset, ir_version=8))


@pytest.fixture
def images() -> ArrayDataset:
    """22 examples: no whole number of batches of 4 or 8."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((22, 3, 6, 6)).astype(np.float32)
    return ArrayDataset(x, rng.integers(0, 5, 22))


def trainer(model: Model, images: ArrayDataset, **options: Any) -> TorchTrainer:
    config = TrainConfig(**{**CONFIG, **options})
    return TorchTrainer(model, images, teacher=model, config=config)


@pytest.mark.parametrize("batch", [1, 4])
def test_accuracy_is_that_of_onnx_runtime_the_last_examples_included(
    images: ArrayDataset, batch: int
) -> None:
    model = mixing(batch)
    ours = trainer(model, images)
    assert ours.module.fixed_batch == batch
    assert ours.evaluate(images) == pytest.approx(accuracy(Session(model), images))
    assert ours.evaluate(images, 7) == pytest.approx(accuracy(Session(model), images, limit=7))


def test_without_labels_the_original_agrees_with_itself(images: ArrayDataset) -> None:
    x = images.batch(np.arange(22)).x
    assert trainer(mixing(4), images).evaluate(ArrayDataset(x)) == 1.0


def test_gradients_of_parts_are_those_of_their_examples(images: ArrayDataset) -> None:
    module = trainer(mixing(1), images).module.train()
    x = torch.from_numpy(images.batch(np.arange(5)).x)
    module(x)[0].square().mean().backward()
    found = module.parameter("w").grad.clone()
    module.zero_grad()
    torch.cat([module(one[None])[0] for one in x]).square().mean().backward()
    torch.testing.assert_close(module.parameter("w").grad, found)


def test_what_fills_a_part_up_has_no_gradient(images: ArrayDataset) -> None:
    module = trainer(mixing(4), images).module.train()
    x = torch.from_numpy(images.batch(np.arange(6)).x)
    out = module(x)[0]
    assert out.shape == (6, 5)
    whole = module(x[:4])[0]
    torch.testing.assert_close(out[:4], whole)


@pytest.mark.parametrize("batch", [1, 4])
def test_it_trains_and_keeps_its_statistics(images: ArrayDataset, batch: int) -> None:
    model = mixing(batch)
    ours = trainer(model, images, distill_weight=0.0, crop=0, flip=False)
    before = ours.weights()
    ours.recalibrate(2)
    assert f"in parts of {batch}" in ours.describe()
    first = ours.fit(epochs=1, learning_rate=0.05)
    last = ours.fit(epochs=12, learning_rate=0.05)
    after = ours.weights()
    assert last.loss < first.loss
    assert not np.allclose(after["w"], before["w"])
    for name in "mv":
        np.testing.assert_array_equal(after[name], before[name])
    said = describe_fixed_batch(ours.module)
    assert f"training runs {batch} image" in said
    assert "node 'mean'" in said
    assert said.endswith("and BatchNormalization keeps its running statistics")


def test_a_batch_that_can_be_left_has_no_reservation(images: ArrayDataset) -> None:
    model = mixing(1)
    (mean,) = (node for node in model.graph.nodes if node.name == "mean")
    mean.attrs["axes"] = [1]
    ours = trainer(model, images)
    before = ours.weights()
    assert (ours.module.fixed_batch, describe_fixed_batch(ours.module)) == (None, "")
    ours.recalibrate(2)
    assert not np.allclose(ours.weights()["m"], before["m"])


def test_statistics_inside_are_those_of_all_examples(images: ArrayDataset) -> None:
    module = trainer(mixing(1), images).module
    x = images.batch(np.arange(22)).x
    found = channel_statistics(module, ["c"], [Batch({"x": x[:9]}), Batch({"x": x[9:]})])["c"]
    with torch.no_grad():
        weight = module.parameter("w").detach()
        conv = torch.nn.functional.conv2d(torch.from_numpy(x), weight)
    np.testing.assert_allclose(found[0], conv.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], conv.var((0, 2, 3), unbiased=False), rtol=1e-4)
    seen = []
    visit(module, ["c"], lambda name, value: seen.append(len(value)), torch.from_numpy(x))
    assert seen == [1] * 22
