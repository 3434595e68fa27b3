"""The form that a network trains in: folded BatchNormalization back, filters of a size."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from acgraph.backends.select import training_backend
from acgraph.config import CompressConfig
from acgraph.data import ArrayDataset
from acgraph.driver.inputs.data import open_data
from acgraph.driver.inputs.trainable import ready_to_train
from acgraph.ir import Model, clone_model, model_from_proto, proto_from_model
from acgraph.passes.insert_batchnorm import FILTER_NORM, filter_factors

Norms = dict[str, npt.NDArray[np.float64]]


def filter_norms(model: Model) -> Norms:
    found, constants = {}, model.constants()
    for node in model.graph.nodes:
        if node.op == "Conv":
            weights = constants[node.inputs[1].name]
            found[node.name] = np.linalg.norm(weights.reshape(len(weights), -1), axis=1)
    return found


def test_filters_are_of_the_size_that_learning_rates_are_for(
    model: Model, configure: Callable[..., CompressConfig]
) -> None:
    data = open_data(configure(), model).train
    trainable = ready_to_train(model, data, training_backend())
    ready, inserted = trainable.model, trainable.inserted
    norms, before = filter_norms(ready), filter_norms(model)
    assert {f"{name}/bn" for name in norms} == set(inserted)
    for name, norm in norms.items():
        assert np.sqrt(np.mean(norm**2)) == pytest.approx(FILTER_NORM, rel=1e-5)
        # What is large stays large: magnitude chooses within the layer as before.
        np.testing.assert_allclose(norm / before[name], norm[0] / before[name][0], rtol=1e-5)
    x = data.batch(np.arange(32)).x
    ours, theirs = (
        onnxruntime.InferenceSession(proto_from_model(m).SerializeToString()).run(
            None, {m.graph.inputs[0].name: x}
        )[0]
        for m in (ready, model)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_what_is_zero_or_shared_keeps_its_size(model: Model) -> None:
    changed = clone_model(model)
    first, second, third = [n for n in changed.graph.nodes if n.op == "Conv"][:3]
    zero = first.inputs[1]
    zero.values = np.zeros_like(zero.values)
    third.inputs[1] = second.inputs[1]
    names = [first.name, second.name, third.name]
    assert filter_factors(changed, names) == {}
    assert set(filter_factors(model, names)) == set(names)


def test_what_handed_on_a_bias_is_gone_once_the_normalisation_holds_it() -> None:
    """The exporter stores equal biases once, and hands them on by Identity.

    A node that nothing reads any more made a family of its own, of constants that are not trained.
    """
    parsed = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3,6,6] x) => (float[N,8,2,2] y) '
        "{ c = Identity(b) h = Conv(x, u, b) r = Relu(h) y = Conv(r, v, c) }"
    )
    rng = np.random.default_rng(0)
    for name, shape in {"u": (8, 3, 3, 3), "v": (8, 8, 3, 3), "b": (8,)}.items():
        value = rng.standard_normal(shape).astype(np.float32)
        parsed.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    net = model_from_proto(parsed)
    data = ArrayDataset(rng.standard_normal((64, 3, 6, 6)).astype(np.float32), None)
    ready = ready_to_train(net, data, training_backend()).model
    assert "BatchNormalization" in [node.op for node in ready.graph.nodes]
    read = {tensor.name for node in ready.graph.nodes for tensor in node.inputs} | {"y"}
    assert all(read & {t.name for t in node.outputs} for node in ready.graph.nodes)
