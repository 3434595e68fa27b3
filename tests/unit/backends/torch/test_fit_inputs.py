"""Generated inputs are fitted to the statistics that BatchNormalization keeps."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from acgraph.backends.torch.backend import TorchBackend
from acgraph.backends.torch.batchnorm import channel_statistics
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.data import Batch
from acgraph.ir import Model, model_from_proto
from acgraph.tasks import OutputTask

#: By layout: mean and standard deviation of the images that the network was "trained" on.
REAL = {"NCHW": (120.0, 60.0), "NHWC": (0.5, 0.25), "": (0.0, 1.0)}


def real_images(layout: str, count: int = 64) -> np.ndarray:
    """Blurred noise, whose neighbours are alike, unlike those of plain noise."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((count, 3, 8, 8))
    for axis in (2, 3):
        x = (x + np.roll(x, 1, axis) + np.roll(x, 2, axis)) / np.sqrt(3)
    mean, std = REAL[layout]
    x = (mean + std * x).astype(np.float32)
    return np.moveaxis(x, 1, 3) if layout == "NHWC" else x


def network(make_net, layout: str) -> Model:
    """A classifier whose statistics are those of the real images."""
    net = make_net()
    if layout == "NHWC":
        x = net.op("Transpose", net.input("n", 8, 8, 3), perm=[0, 3, 1, 2])
    else:
        x = net.input("n", 3, 8, 8)
    names = []
    for inner, outer in ((3, 8), (8, 8)):
        x = net.conv(x, inner, outer, bias=False)
        names.append(x)
        x = net.op("Relu", net.bn(x, outer))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    proto = net.proto(net.op("Softmax", net.gemm(x, 8, 4), axis=1))
    for name in names:  # the second layer's statistics depend on those of the first
        module = GraphModule(model_from_proto(proto))
        batch = Batch({"x": real_images(layout)})
        mean, variance = channel_statistics(module, [name], [batch])[name]
        node = next(n for n in proto.graph.node if n.op_type != "Conv" and n.input[0] == name)
        for weight, value in zip(node.input[3:5], (mean, variance), strict=True):
            _set(proto, weight, value)
    return model_from_proto(proto)


def _set(proto: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    tensor = next(t for t in proto.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(value, name))


def distance(model: Model, x: np.ndarray) -> float:
    """Mean distance of the means, in standard deviations, and of the logarithms of these."""
    norms = [node for node in model.graph.nodes if node.op == "BatchNormalization"]
    names = [node.inputs[0].name for node in norms]
    found = channel_statistics(GraphModule(model), names, [Batch({"x": x})])
    errors = []
    for node, name in zip(norms, names, strict=True):
        mean, variance = (node.inputs[i].values for i in (3, 4))
        errors += [np.abs(found[name][0] - mean) / np.sqrt(variance)]
        errors += [np.abs(np.log(found[name][1] / variance)) / 2]
    return float(np.mean(errors))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", ""])
def test_fitted_inputs_have_the_statistics_of_the_training_data(make_net, layout):
    model = network(make_net, layout)
    x = np.random.default_rng(0).standard_normal(real_images(layout).shape).astype(np.float32)
    mean, std = REAL[layout]
    fitted = TorchBackend().fit_inputs(model, x, layout=layout, task=None)
    assert fitted.shape == x.shape
    assert fitted.dtype == np.float32
    # Plain noise stays far from the statistics even with the right mean and deviation.
    assert distance(model, fitted) < 0.4 * distance(model, mean + std * x)
    assert 0.6 * std < fitted.std() < 1.6 * std
    assert abs(fitted.mean() - mean) < 0.5 * std


def test_inputs_of_a_classifier_belong_to_all_classes(make_net):
    model = network(make_net, "NCHW")
    task = OutputTask(output="y", kind="classification", shape=(2, 4), axis=1, form="softmax")
    x = np.random.default_rng(0).standard_normal((64, 3, 8, 8)).astype(np.float32)
    wanted = np.arange(64) % 4

    def probability(chosen):
        fitted = TorchBackend().fit_inputs(model, x, layout="NCHW", task=chosen)
        scores = GraphModule(model).eval()(torch.from_numpy(fitted))[0]
        return float(scores.detach().numpy()[np.arange(64), wanted].mean())

    assert probability(task) > probability(None) + 0.01


def test_the_same_seed_gives_the_same_inputs(make_net):
    model = network(make_net, "NCHW")
    x = np.random.default_rng(0).standard_normal((8, 3, 8, 8)).astype(np.float32)
    first, second, other = (
        TorchBackend().fit_inputs(model, x, layout="NCHW", task=None, seed=seed)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_network_without_batch_normalization_has_no_statistics(make_net):
    net = make_net()
    folded = model_from_proto(net.proto(net.conv(net.input("n", 3, 8, 8), 3, 4)))
    assert not TorchBackend().has_statistics(folded)
    assert TorchBackend().has_statistics(network(make_net, "NCHW"))
