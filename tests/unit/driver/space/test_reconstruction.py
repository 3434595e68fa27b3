"""Reconstructed cuts of the demo's network, judged by ONNX Runtime on images."""

import functools
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from acgraph.analysis.dependency import analyse
from acgraph.backends.torch import grams
from acgraph.backends.torch import trainer as backend_trainer
from acgraph.backends.torch.export import export_model
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.data import ArrayDataset
from acgraph.driver.evaluation.proxy import masked_weights
from acgraph.driver.space import reconstruction as module
from acgraph.driver.space.reconstruction import measure_layers
from acgraph.driver.space.space import Space
from acgraph.ir import model_from_proto, proto_from_model, read_model
from acgraph.models.demo import load_data, model_path, normalise
from acgraph.pruning.plan import zeroed_elements


@pytest.fixture(scope="module")
def setting():
    model = read_model(model_path())
    x, _, test, _ = load_data()
    trainer = TorchTrainer(model, None)
    dependency = analyse(model)
    data = ArrayDataset(normalise(x[:512]).astype(np.float32))
    reconstruction = measure_layers(dependency, trainer, data)
    weights = model.constants()
    return (
        model,
        trainer,
        {
            "reconstructed": Space(
                dependency=dependency, weights=weights, reconstruction=reconstruction
            ),
            "magnitude": Space(dependency=dependency, weights=weights),
        },
        normalise(test[:200]).astype(np.float32),
    )


def _run(model, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    data = proto_from_model(model).SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def _error(setting, kind, keep, kinds):
    """Mean squared change of the logits after a cut that nothing retrains."""
    model, trainer, spaces, x = setting
    module = trainer.module
    space = spaces[kind]
    point = tuple(
        max(knob.floor, round(keep * knob.size)) if knob.kind in kinds else knob.size
        for knob in space.knobs
    )
    families = {f.name: f for f in space.families}
    zeroed = zeroed_elements(
        families, space.plan(point, space.weights), space.dependency.facts.shapes
    )
    before = module.weights()
    module.load_weights(masked_weights(space, space.weights, zeroed))
    try:
        cut = export_model(module, model)
    finally:
        module.load_weights(before)
    constants = cut.constants()
    for name, mask in zeroed.items():
        if name in constants:
            assert not constants[name][np.broadcast_to(mask, constants[name].shape)].any(), name
    return float(((_run(cut, x) - _run(model, x)) ** 2).mean())


@pytest.mark.parametrize("kinds", [("columns",), ("filters",), ("filters", "columns")])
@pytest.mark.parametrize("keep", [0.75, 0.5])
def test_a_reconstructed_cut_changes_the_outputs_less(setting, kinds, keep):
    assert _error(setting, "reconstructed", keep, kinds) < 0.5 * _error(
        setting, "magnitude", keep, kinds
    )


def test_nothing_cut_changes_nothing(setting):
    assert _error(setting, "reconstructed", 1.0, ("filters", "columns")) == 0.0


def test_losses_rise_with_the_cut_and_end_at_the_readers(setting):
    space = setting[2]["reconstructed"]
    for index, knob in enumerate(space.knobs):
        losses = [space.sensitivity(index, kept) for kept in range(knob.size, 0, -1)]
        assert losses[0] == 0.0
        assert (np.diff(losses) >= 0).all()


def test_a_layer_too_wide_is_cut_by_magnitude(setting, monkeypatch):
    _, trainer, spaces, x = setting
    monkeypatch.setattr(module, "MAX_COLUMNS", 1)
    reconstruction = measure_layers(spaces["reconstructed"].dependency, trainer, ArrayDataset(x))
    assert not reconstruction.layers
    assert (
        len(reconstruction.wide) == len(spaces["reconstructed"].dependency.model.constants()) // 2
    )
    assert not reconstruction.unmeasured
    wide = Space(
        dependency=spaces["reconstructed"].dependency,
        weights=spaces["reconstructed"].weights,
        reconstruction=reconstruction,
    )
    point = tuple(max(k.floor, k.size // 2) for k in wide.knobs)
    plans = [s.plan(point, s.weights) for s in (wide, spaces["magnitude"])]
    for name, gone in plans[1].columns.items():
        assert np.array_equal(plans[0].columns[name], gone)
    for name, gone in plans[1].sets.items():
        assert np.array_equal(plans[0].sets[name], gone)


def test_layers_whose_moments_are_too_many_together_are_cut_by_magnitude(setting, monkeypatch):
    _, trainer, spaces, x = setting
    model = spaces["reconstructed"].dependency.model
    whole = module.reconstructible_layers(model)
    widest = max(whole, key=lambda layer: layer.columns)
    most = sum(module.moment_bytes(layer) for layer in whole) - 1
    monkeypatch.setattr(module, "MAX_BYTES", most)
    reconstruction = measure_layers(spaces["reconstructed"].dependency, trainer, ArrayDataset(x))
    assert reconstruction.wide == (widest.name,)
    assert set(reconstruction.layers) == {layer.weight for layer in whole} - {widest.weight}


def test_moments_summed_in_parts_are_those_summed_at_once(setting, monkeypatch):
    _, trainer, spaces, x = setting
    space, data = spaces["reconstructed"], ArrayDataset(x[:64])
    # Every position counts, so that no draw differs.
    every = functools.partial(grams.input_grams, positions=10**6)
    monkeypatch.setattr(backend_trainer, "input_grams", every)
    whole = measure_layers(space.dependency, trainer, data)
    monkeypatch.setattr(module, "MAX_SUMMED_BYTES", 1)
    monkeypatch.setattr(module, "FLOAT32_COLUMNS", 100)
    parts = measure_layers(space.dependency, trainer, data)
    assert set(parts.layers) == set(whole.layers)
    for name, read in whole.inputs.items():
        other = parts.inputs[name]
        is_wide = len(read.moments) > 100
        assert other.moments.dtype == (np.float32 if is_wide else np.float64)
        scale = np.trace(read.moments) / len(read.moments)
        np.testing.assert_allclose(other.moments / scale, read.moments / scale, atol=1e-5)
        np.testing.assert_allclose(other.mean, read.mean, atol=1e-6)
    wide = [read for read in parts.inputs.values() if read.moments.dtype == np.float32]
    assert 0 < len(wide) < len(parts.inputs)


def test_a_reconstruction_without_time_ranks_by_what_each_unit_alone_loses(setting):
    space = setting[2]["reconstructed"]
    fresh = replace(space.reconstruction, until=0.0, _sets={}, _columns={})
    truncated_rankings = replace(space, reconstruction=fresh)
    truncated_rankings.importances()
    assert fresh.truncated_rankings == len(space.knobs)
    space.importances()
    assert space.reconstruction.truncated_rankings == 0
    point = tuple(max(k.floor, k.size // 2) for k in space.knobs)
    plan = truncated_rankings.plan(point, space.weights)
    assert sorted(plan.sets) == sorted(space.plan(point, space.weights).sets)


def test_a_layer_that_reads_no_numbers_is_named_and_cut_by_magnitude(setting):
    _, trainer, spaces, x = setting
    space = spaces["reconstructed"]
    broken = x.copy()
    broken[3, 0, 2, 2] = np.inf  # what every layer reads of this image is no number
    reconstruction = measure_layers(space.dependency, trainer, ArrayDataset(broken))
    assert set(reconstruction.unmeasured) == {
        layer.name for layer in space.reconstruction.layers.values()
    }
    assert not reconstruction.layers
    assert all(reconstruction.sets(family, space.weights) is None for family in space.families)


def test_images_that_are_all_the_same_leave_layers_that_can_be_reconstructed(setting):
    _, trainer, spaces, x = setting
    space = spaces["reconstructed"]
    reconstruction = measure_layers(
        space.dependency, trainer, ArrayDataset(np.repeat(x[:1], 70, axis=0))
    )
    assert set(reconstruction.layers) == set(space.reconstruction.layers)
    for family in space.families:
        found = reconstruction.sets(family, space.weights)
        assert sorted(found.order) == list(range(family.size))
        assert np.isfinite(found.loss).all()


def _attention(make_net, queries, keys):
    """One head whose scores are the output: ``(x Q) (x K)^T``."""
    net = make_net()
    x = net.input("n", 5, 12)
    q = net.op("MatMul", x, net.const(queries, "q"))
    k = net.op("MatMul", x, net.const(keys, "k"))
    return net.proto(net.op("MatMul", q, net.op("Transpose", k, perm=[0, 2, 1])))


def test_features_of_queries_and_keys_are_ranked_by_the_moments_of_their_product(make_net):
    """Weights are large where inputs are small, so that magnitude takes the wrong features."""
    rng = np.random.default_rng(0)
    queries, keys = (rng.standard_normal((12, 8)).astype("f4") for _ in range(2))
    x = rng.standard_normal((64, 5, 12)).astype("f4")
    x[..., 6:] *= 0.01
    queries[:6, :4] *= 0.05  # what these features see is small
    queries[6:, :4] *= 3
    model = model_from_proto(_attention(make_net, queries, keys))
    dependency = analyse(model)
    (family,) = dependency.prunable()
    measured = measure_layers(dependency, TorchTrainer(model, None), ArrayDataset(x))
    order = measured.sets(family, model.constants())
    assert set(order.order[:4]) == {0, 1, 2, 3}
    q, k = x @ queries, x @ keys
    energies = (q**2).mean(axis=(0, 1)) * (k**2).mean(axis=(0, 1))
    np.testing.assert_array_equal(order.order, np.argsort(energies))
    assert order.is_whole
