"""Which generated data is fitted to the statistics of the network, and how much of it."""

import numpy as np
import pytest

import acgraph
from acgraph.backends.torch.backend import TorchBackend
from acgraph.config import CompressConfig
from acgraph.data import load_dataset
from acgraph.driver.inputs.data import input_specs
from acgraph.driver.inputs.fitted import EVALUATIONS, fit_generated
from acgraph.driver.schedule.budget import input_macs
from acgraph.ir import model_from_proto, resolve_sizes


@pytest.fixture
def model(make_net):
    net = make_net()
    x = net.op("Relu", net.bn(net.conv(net.input("n", 3, 8, 8), 3, 4, bias=False), 4))
    found = model_from_proto(net.proto(net.conv(x, 4, 2)))
    resolve_sizes(found, None)
    return found


def fit(model, spec, images=10**6):
    said = []
    data = load_dataset(spec, inputs=input_specs(model, whole=True))
    found = fit_generated(
        data, model, TorchBackend(), lambda macs: images * EVALUATIONS * macs, said.append
    )
    return data, found, said


def test_synthetic_images_are_fitted(model):
    data, found, said = fit(model, "synthetic:40")
    rows = np.arange(40)
    assert len(found) == 40
    assert (found.layout, found.name) == ("NCHW", "synthetic:40")
    assert not np.allclose(found.batch(rows).inputs["x"], data.batch(rows).inputs["x"])
    assert said == ["inputs: 40 generated inputs are fitted to the BatchNormalization statistics"]


def test_a_smaller_budget_fits_fewer(model):
    _, found, said = fit(model, "synthetic", images=70.5)
    assert len(found) == 70
    assert said[0].startswith("inputs: 70 generated inputs")


def test_too_small_a_budget_is_stated(model):
    data, found, said = fit(model, "synthetic", images=63)
    assert found is data
    assert "would take too long" in said[0]


def test_noise_is_left_as_it_is(model):
    data, found, said = fit(model, "noise:40")
    assert found is data
    assert not said


def test_the_budget_is_a_share_of_the_training():
    timed = CompressConfig(model="m.onnx", target_rate="2x", time_budget=600.0)
    assert input_macs(timed, 10**6) == pytest.approx(3e12)
    counted = CompressConfig(model="m.onnx", target_rate="2x", epochs=2.0)
    assert input_macs(counted, 10) == pytest.approx(0.25 * 2 * 4096 * 3 * 10)


def test_prune_fits_its_generated_data(make_net, caplog):
    net = make_net()
    x = net.op("Relu", net.bn(net.conv(net.input("n", 3, 8, 8), 3, 8, bias=False), 8))
    with caplog.at_level("INFO", logger="acgraph"):
        result = acgraph.prune(net.proto(net.conv(x, 8, 2)), data="synthetic:70", sparsity=0.5)
    assert "70 generated inputs are fitted" in caplog.text
    assert result.report.measured is not None
