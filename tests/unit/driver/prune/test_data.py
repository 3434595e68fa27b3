"""``prune`` with data: ranked by measurement, fitted in order, nothing trained."""

import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import acgraph
from acgraph.backends.torch.backend import TorchBackend
from acgraph.driver.prune.calibration import DataRequest, open_calibration
from acgraph.errors import UsageError
from acgraph.ir import model_from_proto, proto_from_model
from tests.conftest import run_ort


def residual(make_net: Any, batch: int | str = "n") -> onnx.ModelProto:
    """A residual network with a depthwise layer, whose channels depend on each other."""
    net = make_net()
    x = net.op("Relu", net.conv(net.input(batch, 3, 8, 8), 3, 16))
    for _ in range(2):
        y = net.op("Relu", net.bn(net.conv(x, 16, 16, bias=False), 16))
        y = net.bn(net.conv(y, 16, 16, bias=False), 16)
        x = net.op("Relu", net.op("Add", x, y))
    x = net.op("Relu", net.conv(x, 16, 16, group=16, name="depthwise"))
    x = net.op("GlobalAveragePool", net.conv(x, 16, 24, 1))
    return net.proto(net.gemm(net.op("Flatten", x), 24, 12))


@pytest.fixture
def images() -> np.ndarray:
    rng = np.random.default_rng(3)
    base = rng.standard_normal((240, 3, 4, 4)).repeat(2, 2).repeat(2, 3)
    return (base + 0.3 * rng.standard_normal((240, 3, 8, 8))).astype(np.float32)


def _error(ours: Any, theirs: onnx.ModelProto, x: np.ndarray, at_once: int = 40) -> float:
    """Mean squared difference of the outputs, as a share of the variance of the original's."""
    parts = [x[n : n + at_once] for n in range(0, len(x), at_once)]
    mine, other = (
        np.concatenate([run_ort(proto, {"x": part})[0] for part in parts])
        for proto in (proto_from_model(ours), theirs)
    )
    return float(((mine - other) ** 2).mean() / other.var(axis=0).mean())


def test_fitted_layers_keep_more_than_a_cut_by_magnitude(make_net, images):
    proto = residual(make_net)
    fitted = acgraph.prune(proto, sparsity=0.4, data=images[:200])
    plain = acgraph.prune(proto, sparsity=0.4)
    assert fitted.report.after.params == plain.report.after.params
    fresh = images[200:]
    ours, magnitude = (_error(r.model, proto, fresh) for r in (fitted, plain))
    assert ours < 0.3 * magnitude
    assert fitted.report.verify.passed
    found = fitted.report.measured
    assert found is not None
    assert found.kept is not None
    assert (found.examples, found.kept.examples) == (180, 20)
    assert [fit.name for fit in found.fits] == [
        node.name for node in proto.graph.node if node.op_type in ("Conv", "Gemm")
    ]
    assert not found.left


def test_the_file_that_was_given_stays_and_the_same_seed_gives_the_same_model(make_net, images):
    proto = residual(make_net)
    before = proto.SerializeToString()
    first, second = (acgraph.prune(proto, data=images, sparsity=0.3, seed=5) for _ in range(2))
    assert proto.SerializeToString() == before
    weights = [first.model.constants(), second.model.constants()]
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][name])


@pytest.mark.parametrize("metric", ["params", "macs"])
def test_a_rate_is_reached_and_hardly_exceeded(make_net, images, metric):
    result = acgraph.prune(residual(make_net), data=images[:64], target_rate=2, metric=metric)
    rate = result.report.rate(metric)
    assert rate is not None
    assert 2 <= rate < 2.2
    assert result.is_met
    kept = {1 - gone.mean() for gone in result.report.plan.sets.values()}
    assert len(kept) > 1 or len(result.report.plan.sets) < len(result.report.families)


def test_a_rate_that_cannot_be_reached_is_missed(make_net, images):
    result = acgraph.prune(residual(make_net), data=images[:32], target_rate=1000)
    assert not result.is_met
    assert result.report.after.params < result.report.before.params / 4


def test_a_batch_that_the_file_fixes_is_obeyed(make_net, images):
    proto = residual(make_net, batch=1)
    fitted = acgraph.prune(proto, sparsity=0.4, data=images[:40])
    plain = acgraph.prune(proto, sparsity=0.4)
    ours, magnitude = (_error(r.model, proto, images[200:], 1) for r in (fitted, plain))
    assert ours < 0.5 * magnitude


def test_several_inputs_and_layers_that_multiply_tokens(make_net):
    """Tokens and a mask: wide layers of an MLP lose a half, and the rest makes up for it."""
    net = make_net()
    net.input("n", 6, 12, name="x")
    net.input("n", 6, 1, name="mask")
    x = net.op("Mul", "x", "mask")
    for _ in range(2):
        y = net.op("Relu", net.op("Add", net.op("MatMul", x, net.w(12, 40)), net.w(40)))
        x = net.op("Add", net.op("Add", net.op("MatMul", y, net.w(40, 12)), net.w(12)), x)
    proto = net.proto(net.op("ReduceMean", x, axes=[1], keepdims=0))
    rng = np.random.default_rng(0)
    data = {
        "x": (rng.standard_normal((300, 6, 4)) @ rng.standard_normal((4, 12))).astype("f4"),
        "mask": rng.integers(0, 2, (300, 6, 1)).astype("f4"),
    }
    result = acgraph.prune(proto, data=data, sparsity=0.5)
    assert {gone.sum() for gone in result.report.plan.sets.values()} == {20}
    found = result.report.measured
    assert found is not None
    assert found.kept is not None
    assert found.kept.refitted > 0.9
    assert found.kept.measured < 0.5
    assert len(found.fits) == 4


def test_layers_that_share_a_weight_are_left_with_the_reason(make_net, images):
    net = make_net()
    x, whole = net.input("n", 3, 8, 8), net.w(3, 3, 1, 1, name="whole")
    for _ in range(2):  # what loses nothing is not told of
        x = net.op("Conv", x, whole)
    x = net.op("Relu", net.conv(x, 3, 16))
    shared = net.w(16, 16, 3, 3, name="shared")
    for number in range(2):
        x = net.op("Relu", net.op("Conv", x, shared, pads=[1] * 4, name=f"same{number}"))
    proto = net.proto(net.op("GlobalAveragePool", net.conv(x, 16, 4)))
    found = acgraph.prune(proto, data=images[:40], sparsity=0.4).report.measured
    assert found is not None
    assert found.left == dict.fromkeys(("same0", "same1"), "other layers share the weight")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"columns": 0.5}, "--columns"),
        ({"target_rate": 2, "sparsity": 0.5}, "--sparsity and --target-rate"),
        ({"metric": "macs"}, "--metric"),
        ({"target_rate": 2, "metric": "bytes"}, "--metric is bytes"),
        ({"importance": lambda name, filters: np.ones(len(filters))}, "importance"),
    ],
)
def test_options_that_contradict_data_are_refused(make_net, images, options, words):
    with pytest.raises(UsageError, match=words):
        acgraph.prune(residual(make_net), data=images, **options)


@pytest.mark.parametrize("name", ["target_rate", "seed", "scale"])
def test_options_of_data_are_refused_without_it(make_net, name):
    with pytest.raises(UsageError, match="without --data"):
        acgraph.prune(residual(make_net), **{name: 2})


def test_the_first_line_states_the_agreement(make_net, images):
    result = acgraph.prune(residual(make_net), data=images[:64], sparsity=0.4)
    assert re.search(r"fewer MACs, [\d.]+ % agreement with the original \(asked", str(result))


def test_one_example_is_too_little(make_net, images):
    with pytest.raises(UsageError, match="at least 2"):
        acgraph.prune(residual(make_net), data=images[:1])


def test_calibration_data_has_no_labels_and_no_example_twice(make_net, tmp_path, images):
    file = tmp_path / "calib.npz"
    np.savez(file, x=images, y=np.zeros(len(images), np.int64))
    model = model_from_proto(residual(make_net))
    found = open_calibration(model, DataRequest(spec=str(file)), TorchBackend())
    assert found.fitted.labels is None
    assert found.held_out.labels is None
    rows = np.concatenate([
        part.batch(np.arange(len(part))).x.reshape(len(part), -1)
        for part in (found.fitted, found.held_out)
    ])  # fmt: skip
    assert len(np.unique(rows, axis=0)) == len(images)


def test_weights_that_are_removed_are_zero_in_the_masked_model(make_net, images):
    proto = residual(make_net)
    result = acgraph.prune(proto, data=images[:64], sparsity=0.4)
    before = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    masked = result.masked.constants()
    changed = [name for name, value in masked.items() if not np.array_equal(value, before[name])]
    assert len(changed) > 8
    for cut in result.plan.axes:
        if before[cut.tensor].ndim == 4:
            assert not np.take(masked[cut.tensor], cut.removed, axis=cut.axis).any()


def test_transposed_convolutions_are_fitted(make_net, images):
    net = make_net()
    x = net.op("Relu", net.conv(net.input("n", 3, 8, 8), 3, 16, strides=[2, 2]))
    up = net.op("ConvTranspose", x, net.w(16, 12, 2, 2), net.w(12), strides=[2, 2], name="up")
    proto = net.proto(net.conv(net.op("Relu", up), 12, 2))
    result = acgraph.prune(proto, data=images[:120], sparsity=0.4)
    found = result.report.measured
    assert found is not None
    assert not found.left
    (fit,) = (fit for fit in found.fits if fit.name == "up")
    assert fit.after < 0.7 * fit.before
    plain = acgraph.prune(proto, sparsity=0.4)
    ours, magnitude = (_error(r.model, proto, images[200:]) for r in (result, plain))
    assert ours < 0.5 * magnitude
