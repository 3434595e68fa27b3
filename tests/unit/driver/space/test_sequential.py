"""Layers fitted in order, of a network and the same network cut, run side by side."""

import numpy as np
import pytest

from acgraph.backends.select import training_backend
from acgraph.data import ArrayDataset
from acgraph.driver.space import sequential
from acgraph.driver.space.sequential import refit_in_order
from acgraph.ir import model_from_proto


def _mlp(make_net):
    net = make_net()
    x = net.op("Relu", net.gemm(net.input("n", 10), 10, 40))
    return model_from_proto(net.proto(net.gemm(x, 40, 6)))


def _refit(model, x, zeroed, weights=None):
    data = ArrayDataset(x)
    backend = training_backend()
    run = backend.side_by_side(
        model, lambda n: data.batch(np.arange(40 * n, 40 * n + 40)), len(x) // 40
    )
    return refit_in_order(run, model, weights or model.constants(), zeroed)


@pytest.fixture
def setting(make_net):
    model = _mlp(make_net)
    x = np.random.default_rng(1).standard_normal((400, 10)).astype("f4")
    weights = model.constants()
    gone = np.arange(40) % 3 == 0
    first = np.broadcast_to(gone[:, None], weights["c0"].shape)
    second = np.broadcast_to(gone[None], weights["c2"].shape)
    return model, x, {"c0": first, "c1": gone, "c2": second}


def _outputs(weights, x):
    hidden = np.maximum(x @ weights["c0"].T + weights["c1"], 0)
    return hidden @ weights["c2"].T + weights["c3"]


def test_a_wide_layer_is_fitted_in_parts(setting, monkeypatch):
    model, x, zeroed = setting
    weights = model.constants()
    whole = _refit(model, x, zeroed)
    monkeypatch.setattr(sequential, "MAX_WIDTH", 20)
    monkeypatch.setattr(sequential, "PART", 16)
    parts = _refit(model, x, zeroed)
    target = _outputs(weights, x)
    cut = {
        name: np.where(zeroed[name], 0, v) if name in zeroed else v for name, v in weights.items()
    }
    errors = [
        float(((_outputs(w, x) - target) ** 2).mean()) for w in (cut, parts.weights, whole.weights)
    ]
    assert errors[1] < 0.35 * errors[0]
    assert errors[2] <= errors[1] * 1.01
    for found in (whole, parts):
        assert not found.weights["c2"][zeroed["c2"]].any()
        assert not found.left
        assert found.fits[1].after < 0.7 * found.fits[1].before
    assert parts.fits[1].before == pytest.approx(whole.fits[1].before, rel=0.05)


def test_a_layer_repairs_what_the_one_before_it_lost(setting):
    """Rows of the first layer are gone: the second is fitted to the original's output."""
    model, x, zeroed = setting
    found = _refit(model, x, zeroed)
    once = _refit(model, x, {"c2": zeroed["c2"]})  # the second alone is cut
    target = _outputs(model.constants(), x)
    first, second = (
        float(((_outputs(w, x) - target) ** 2).mean()) for w in (found.weights, once.weights)
    )
    assert first == pytest.approx(second, rel=1e-3)


def test_numbers_that_are_not_finite_leave_a_layer_as_it_is(setting):
    model, x, zeroed = setting
    x[0, 0] = np.inf
    found = _refit(model, x, zeroed)
    assert set(found.left.values()) == {"the layer reads or computes values that are not finite"}


def test_a_scale_that_is_not_trained_belongs_to_the_output(make_net):
    net = make_net()
    hidden = net.op("Relu", net.gemm(net.input("n", 10), 10, 40))
    y = net.op("Mul", net.gemm(hidden, 40, 6), net.const(np.array([2.5], "f4")))
    model = model_from_proto(net.proto(y))
    x = np.random.default_rng(1).standard_normal((400, 10)).astype("f4")
    gone = np.arange(40) % 3 == 0
    zeroed = {
        "c0": np.broadcast_to(gone[:, None], (40, 10)),
        "c1": gone,
        "c2": np.broadcast_to(gone[None], (6, 40)),
    }
    trainable = {name: value for name, value in model.constants().items() if value.size > 1}
    found = _refit(model, x, zeroed, trainable)
    assert not found.left
    assert found.fits[1].after < 0.7 * found.fits[1].before


def test_without_time_the_layers_keep_the_weights_that_they_start_with(setting):
    model, x, zeroed = setting
    data = ArrayDataset(x)
    run = training_backend().side_by_side(model, lambda n: data.batch(np.arange(40)), 1)
    weights = model.constants()
    start = {"c2": np.where(zeroed["c2"], 0, 2 * weights["c2"])}
    found = refit_in_order(run, model, weights, zeroed, start=start, until_s=0.0)
    assert not found.fits
    assert len(found.late) == 2
    np.testing.assert_array_equal(found.weights["c2"], start["c2"])


def test_a_layer_that_is_refitted_forgets_the_bias_that_it_starts_with(setting):
    model, x, zeroed = setting
    data = ArrayDataset(x)
    weights = model.constants()
    fits = []
    for start in (None, {"c1": weights["c1"] + 100, "c3": weights["c3"] - 100}):
        run = training_backend().side_by_side(
            model, lambda n: data.batch(np.arange(40 * n, 40 * n + 40)), 10
        )
        fits.append(refit_in_order(run, model, weights, zeroed, start=start))
    for name, value in fits[0].weights.items():
        np.testing.assert_array_equal(fits[1].weights[name], value)
