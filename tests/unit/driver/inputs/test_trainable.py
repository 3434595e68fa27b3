"""The form that a network trains in: folded BatchNormalization back, filters of a size."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from acgraph.backends.select import training_backend
from acgraph.config import CompressConfig
from acgraph.driver.inputs.data import open_data
from acgraph.driver.inputs.trainable import ready_to_train
from acgraph.ir import Model, clone_model, proto_from_model
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
