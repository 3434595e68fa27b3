"""Each option of a fit by its effect."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from acgraph.backends.torch import fallback, loop, runtime
from acgraph.backends.torch.checkpoint import load_checkpoint, save_checkpoint
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import Proximal
from acgraph.data import ArrayDataset
from acgraph.errors import BackendError, DataError, DivergedError, UsageError


def trained(make, model=None, data=None, *, epochs=2.0, fit=None, teacher=None, **options):
    trainer = TorchTrainer(
        model or make.linear(), data or make.blobs(), teacher=teacher, config=make.plain(**options)
    )
    trainer.fit(epochs=epochs, **(fit or {}))
    return trainer.weights()


def differ(a, b):
    return any((a[name] != b[name]).any() for name in a)


def test_one_step_is_gradient_descent(make):
    data = make.blobs(16)
    batch = data.batch(np.arange(16))
    x, y = batch.x, batch.labels
    w = make.linear().constants()["w"]
    z = x @ w.T
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    gradient = (p - np.eye(3)[y]).T @ x / 16
    after = trained(make, data=data, epochs=1)
    np.testing.assert_allclose(after["w"], w - 0.1 * gradient, rtol=1e-4, atol=1e-6)


def test_it_learns_and_the_model_stays(make):
    model, data = make.conv(), make.patterns(120)
    before = {k: v.copy() for k, v in model.constants().items()}
    trainer = TorchTrainer(model, data, config=make.plain(momentum=0.9))
    start = trainer.evaluate(data)
    losses = []
    trainer.fit(epochs=6, on_epoch=lambda stats: losses.append(stats.loss))
    assert losses[-1] < losses[0] / 2
    assert trainer.evaluate(data) > max(0.9, start)
    assert all((v == before[k]).all() for k, v in model.constants().items())
    result = trainer.model().constants()
    assert all((result[k] == v).all() for k, v in trainer.weights().items())


@pytest.mark.parametrize(
    "option",
    [
        {"learning_rate": 0.05},
        {"optimizer": "adam"},
        {"optimizer": "adamw"},
        {"schedule": "cosine"},
        {"schedule": "onecycle"},
        {"batch_size": 32},
        {"momentum": 0.9},
        {"weight_decay": 0.1},
        {"label_smoothing": 0.1},
        {"mixup": 0.5},
        {"ema": 0.9},
        {"grad_clip": 0.01},
        {"grad_clip": "auto"},
        {"precision": "bf16"},
        {"seed": 1},
    ],
    ids=str,
)
def test_every_option_changes_the_weights(make, option):
    assert differ(trained(make), trained(make, **option))


@pytest.mark.parametrize(
    "option",
    [{}, {"crop": 1}, {"crop_fill": "reflect"}, {"flip": False}, {"erase": 1.0}, {"seed": 1}],
    ids=str,
)
def test_every_augmentation_changes_the_weights(make, option):
    def run(**options):
        return trained(make, make.conv(), make.patterns(), epochs=1, **options)

    reference = run() if not option else run(augment=True)
    assert differ(reference, run(augment=True, **option))


def test_data_that_is_no_image_is_not_augmented(make):
    assert not differ(trained(make), trained(make, augment=True))


def test_the_teacher_and_its_options(make):
    teacher = make.linear(seed=5)
    base = trained(make, teacher=teacher, distill_weight=0.7)
    assert differ(base, trained(make))
    assert differ(base, trained(make, teacher=teacher, distill_weight=0.2))
    assert differ(base, trained(make, teacher=teacher, distill_weight=0.7, distill_temperature=1))
    assert not differ(trained(make), trained(make, teacher=teacher, distill_weight=0.0))
    cached = trained(make, teacher=teacher, distill_weight=0.7, cache_teacher=True)
    np.testing.assert_allclose(base["w"], cached["w"], rtol=1e-5, atol=1e-7)


def test_the_cache_runs_the_teacher_once(make, monkeypatch):
    trainer = TorchTrainer(
        make.linear(),
        make.blobs(32),
        teacher=make.linear(seed=5),
        config=make.plain(distill_weight=0.5, cache_teacher=True),
    )
    runs = []
    forward = trainer._teacher.module.forward
    monkeypatch.setattr(trainer._teacher.module, "forward", lambda x: runs.append(1) or forward(x))
    trainer.fit(epochs=4)
    assert len(runs) == 2


def test_without_labels_the_teacher_is_followed(make):
    teacher, data = make.linear(seed=5), make.blobs(labelled=False)
    trainer = TorchTrainer(
        make.linear(), data, teacher=teacher, config=make.plain(momentum=0.9, learning_rate=0.3)
    )
    before = trainer.evaluate(data)
    trainer.fit(epochs=30)
    assert before < 0.9
    assert trainer.evaluate(data) > 0.97


def test_a_network_without_classes_is_trained_on_its_teacher(make):
    from onnx import helper

    def build(seed):
        w = np.random.default_rng(seed).standard_normal((4, 3, 3, 3)) * 0.2
        node = helper.make_node("Conv", ["x", "w"], ["y"])
        return make.build([node], {"w": w}, ["n", 3, 8, 8], [("y", ["n", 4, 6, 6])])

    data = make.patterns(labelled=False)
    trainer = TorchTrainer(build(0), data, teacher=build(1), config=make.plain(momentum=0.9))
    assert trainer.evaluate(data) < 0.2
    trainer.fit(epochs=25)
    assert trainer.evaluate(data) > 0.99


def test_a_loss_of_the_users(make):
    seen = []

    def loss(outputs, y, teacher):
        seen.append((outputs[0].shape, y is None, teacher is None))
        return (outputs[0] - 3).square().mean()

    data = make.blobs(32)
    trainer = TorchTrainer(make.linear(), data, config=make.plain(), loss=loss)
    trainer.fit(epochs=100)
    assert seen[0] == (torch.Size([16, 3]), False, True)
    x = data.batch(np.arange(32)).x
    weights = trainer.weights()
    assert abs((x @ weights["w"].T + weights["b"]).mean() - 3) < 0.1
    for option in ({"mixup": 0.2}, {"label_smoothing": 0.1}):
        with pytest.raises(UsageError, match="custom loss"):
            TorchTrainer(make.linear(), data, config=make.plain(**option), loss=loss)


def test_weight_decay_spares_biases_and_scales(make):
    """A loss without a gradient leaves the decay alone."""
    trainer = TorchTrainer(
        make.conv(),
        make.patterns(32),
        config=make.plain(weight_decay=0.1),
        loss=lambda outputs, y, teacher: outputs[0].sum() * 0.0,
    )
    before = trainer.weights()
    trainer.fit(epochs=1)
    after = trainer.weights()
    for name in ("conv1.w", "conv2.w", "fc.w"):
        np.testing.assert_allclose(after[name], before[name] * 0.99**2, rtol=1e-5)
    for name in ("bn.scale", "bn.bias", "fc.b"):
        np.testing.assert_array_equal(after[name], before[name])


def test_grad_clip_bounds_a_step(make):
    before = make.linear().constants()["w"]
    after = trained(make, data=make.blobs(16), epochs=1, grad_clip=0.01, learning_rate=1.0)
    step = math.sqrt(((after["w"] - before) ** 2).sum() + (after["b"] ** 2).sum())
    assert step == pytest.approx(0.01, rel=1e-3)


def test_ema_is_the_average_of_the_weights(make):
    data = make.blobs(16)
    path = [trained(make, data=data, epochs=n)["w"] for n in (1, 2, 3)]
    expected = make.linear().constants()["w"].astype(np.float64)
    for step, w in enumerate(path, 1):
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * w
    averaged = trained(make, data=data, epochs=3, ema=0.9)["w"]
    np.testing.assert_allclose(averaged, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("epochs", "steps"), [(1, 7), (2, 14), (0.5, 4), (0.3, 2), (1.4, 10), (0, 0)]
)
def test_fractional_epochs(make, epochs, steps):
    trainer = TorchTrainer(make.linear(), make.blobs(100), config=make.plain())
    stats = []
    result = trainer.fit(epochs=epochs, on_epoch=stats.append)
    assert result.steps == steps
    assert result.epochs == pytest.approx(steps / 7)
    assert [s.epoch for s in stats] == sorted({*range(1, int(steps / 7) + 1), steps / 7} - {0})
    assert not result.is_stopped


def test_rates_of_a_fit_replace_the_configured(make):
    rates = []
    trainer = TorchTrainer(make.linear(), make.blobs(16), config=make.plain())
    trainer.fit(
        epochs=4,
        learning_rate=0.02,
        schedule="cosine",
        on_epoch=lambda stats: rates.append(stats.learning_rate),
    )
    expected = [0.01 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_masked_entries_are_zero_at_all_times(make, optimizer):
    rng = np.random.default_rng(0)
    masks = {
        "conv1.w": rng.random((6, 1, 1, 1)) < 0.5,
        "conv2.w": rng.random((1, 6, 3, 3)) < 0.5,
        "bn.scale": rng.random(6) < 0.5,
    }
    trainer = TorchTrainer(
        make.conv(),
        make.patterns(),
        config=make.plain(optimizer=optimizer, momentum=0.9, weight_decay=0.1, ema=0.5),
    )
    seen = []

    def look(*_):
        weights = trainer.weights()
        for name, keep in masks.items():
            removed = weights[name][np.broadcast_to(~keep, weights[name].shape)]
            assert removed.size
            assert not removed.any()
            assert not np.signbit(removed).any()
        seen.append(1)

    trainer._fits.progress = SimpleNamespace(start=look, update=look, finish=look)
    trainer.fit(epochs=2, masks=masks)
    look()
    assert len(seen) == 2 * 4 + 3
    kept = np.broadcast_to(masks["conv2.w"], (8, 6, 3, 3))
    assert (trainer.weights()["conv2.w"][kept] != make.conv().constants()["conv2.w"][kept]).all()


def test_a_mask_of_ones_changes_nothing(make):
    masks = {"w": np.ones((3, 4), bool)}
    assert not differ(trained(make), trained(make, fit={"masks": masks}))


def test_masks_hold_without_steps(make):
    masks = {"w": np.array([True, True, False, True])}
    assert not trained(make, epochs=0, fit={"masks": masks})["w"][:, 2].any()


def test_the_proximal_term_pulls_to_the_closed_form(make):
    """minimise 1/2 |W - A|^2 + rho/2 |W - T|^2: W = (A + rho T) / (1 + rho)."""
    rng = np.random.default_rng(0)
    wanted, target = rng.standard_normal((2, 3, 4)).astype(np.float32)
    model = make.linear(bias=False)

    def loss(outputs, y, teacher):
        weight = trainer.module.parameter("w")
        return 0.5 * (weight - torch.from_numpy(wanted)).square().sum() + outputs[0].sum() * 0

    trainer = TorchTrainer(model, make.blobs(16), config=make.plain(), loss=loss)
    for rho in (0.0, 0.5, 4.0):
        proximal = Proximal(targets={"w": target}, rho={"w": rho})
        result = trainer.fit(epochs=120, proximal=proximal)
        best = (wanted + rho * target) / (1 + rho)
        np.testing.assert_allclose(trainer.weights()["w"], best, atol=1e-4)
        value = ((best - wanted) ** 2).sum() / 2 + rho * ((best - target) ** 2).sum() / 2
        assert result.loss == pytest.approx(value, rel=1e-4, abs=1e-6)


def test_masks_and_proximal_terms_that_do_not_fit(make):
    trainer = TorchTrainer(make.linear(), make.blobs(), config=make.plain())
    with pytest.raises(BackendError, match="nope"):
        trainer.fit(epochs=1, masks={"nope": np.ones(3, bool)})
    with pytest.raises(BackendError, match=r"mask of shape \[5\] does not fit"):
        trainer.fit(epochs=1, masks={"w": np.ones(5, bool)})
    with pytest.raises(BackendError, match=r"target of shape \[5\]"):
        trainer.fit(epochs=1, proximal=Proximal(targets={"w": np.ones(5)}, rho={"w": 1.0}))
    with pytest.raises(BackendError, match="only a target or only a rho for b, w"):
        trainer.fit(epochs=1, proximal=Proximal(targets={"w": np.ones(4)}, rho={"b": 1.0}))


def test_same_seed_same_weights(make):
    def run():
        return trained(
            make,
            make.conv(dropout=True),
            make.patterns(),
            augment=True,
            erase=0.5,
            mixup=0.3,
            momentum=0.9,
        )

    first = run()
    torch.manual_seed(99)
    np.random.seed(99)
    assert not differ(first, run())


def test_two_fits_see_different_orders(make):
    trainer = TorchTrainer(make.linear(), make.blobs(), config=make.plain())
    start = trainer.weights()
    trainer.fit(epochs=1)
    first = trainer.weights()
    trainer.load_weights(start)
    trainer.fit(epochs=1)
    assert differ(first, trainer.weights())


def test_the_global_generator_and_threads_are_left_alone(make):
    torch.manual_seed(5)
    expected = torch.rand(1)
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    inside = []
    trainer = TorchTrainer(make.conv(dropout=True), make.patterns(), config=make.plain(threads=3))
    trainer.fit(epochs=1, on_epoch=lambda _: inside.append(torch.get_num_threads()))
    assert torch.rand(1) == expected
    assert inside == [3]
    assert torch.get_num_threads() == threads


def kept_denormals():
    """How many of many denormal numbers the threads of PyTorch keep in a multiplication."""
    x = torch.from_numpy(np.full(1 << 18, 1 << 16, np.int32).view(np.float32))
    return int((x * 0.5).view(torch.int32).count_nonzero())


@pytest.mark.parametrize("threads", [1, 2])
def test_denormals_are_zero_while_training_and_only_then(make, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        # Threads that another test left flushing are started anew.
        runtime._set_flush(False)
        assert kept_denormals() == 1 << 18
        trainer = TorchTrainer(make.linear(), make.blobs(), config=make.plain())
        left = []
        trainer.fit(epochs=1, on_epoch=lambda _: left.append(kept_denormals()))
        trainer.evaluate(make.blobs())
        assert left == [0]
        assert kept_denormals() == 1 << 18
    finally:
        torch.set_num_threads(before)


def test_whoever_flushes_denormals_goes_on_doing_so(make):
    torch.set_flush_denormal(True)
    try:
        trainer = TorchTrainer(make.linear(), make.blobs(), config=make.plain())
        trainer.fit(epochs=1)
        assert kept_denormals() == 0
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize(("name", "node"), [("conv2.w", "Conv"), ("bn.var", "BatchNormalization")])
@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_weight_that_is_not_finite_is_named_before_training(make, name, node, value):
    model = make.conv()
    for reader in model.graph.nodes:
        for tensor in reader.inputs:
            if tensor.name == name:
                tensor.values = _spoilt(tensor.values, value)
    with pytest.raises(
        BackendError, match=rf"\({node}\): weight '{name}' contains {value} in 1 of"
    ):
        TorchTrainer(model, make.patterns(), config=make.plain())


def _spoilt(values, value):
    values = np.array(values)
    values.flat[5] = value
    return values


def test_a_fit_that_breaks_off_keeps_the_last_good_checkpoint(make, tmp_path):
    file, calls = tmp_path / "last.pt", []

    def loss(outputs, y, _):
        calls.append(y)
        return outputs[0].square().mean() * (math.nan if len(calls) > 9 else 1.0)

    trainer = TorchTrainer(make.conv(), make.patterns(), config=make.plain(), loss=loss)
    with pytest.raises(BackendError, match=r"the loss is nan at step 10 \(batch 2 of pass 3\)"):
        trainer.fit(epochs=4, on_epoch=lambda _: save_checkpoint(file, trainer.state_dict()))
    state = load_checkpoint(file)
    assert state["fit"]["step"] == 8
    assert all(bool(v.isfinite().all()) for v in state["module"].values())
    resumed = TorchTrainer(make.conv(), make.patterns(), config=make.plain())
    resumed.load_state_dict(state)
    assert resumed.fit(epochs=4).steps == 16


def test_nan_in_an_image_names_it(make):
    batch = make.blobs(64).batch(np.arange(64))
    x, y = batch.x, batch.labels
    x[37, 1] = np.nan
    trainer = TorchTrainer(make.linear(), ArrayDataset(x, y), config=make.plain())
    with pytest.raises(
        BackendError, match=r"loss is nan at step \d \(batch \d of pass 1, in which"
    ):
        trainer.fit(epochs=1)
    assert all(np.isfinite(w).all() for w in trainer.weights().values())


def test_a_fit_that_diverges_at_any_rate_keeps_the_weights_before_it(make):
    trainer = TorchTrainer(make.conv(), make.patterns(), config=make.plain(learning_rate=1e30))
    before = trainer.weights()
    with pytest.raises(DivergedError, match=r"at step .* 5 more times .* lower the learning rate"):
        trainer.fit(epochs=20)
    assert not differ(before, trainer.weights())


def test_a_weight_that_grows_beyond_all_bounds_is_named_at_once(make):
    config = make.plain(learning_rate=1e9)
    trainer = TorchTrainer(make.linear(), make.blobs(), config=config)
    before = trainer.weights()
    with pytest.raises(DivergedError, match=r"weight '[wb]' has grown .* at step 1 "):
        trainer.fit(epochs=1 / 6)  # the loss of a next step would tell: there is none
    assert not differ(before, trainer.weights())


def test_a_weight_that_overflows_is_named(make):
    def loss(outputs, y, teacher):
        return outputs[0].sum() * 1e10

    trainer = TorchTrainer(
        make.linear(), make.blobs(), config=make.plain(learning_rate=1e38), loss=loss
    )
    with pytest.raises(DivergedError, match=r"weight '[wb]' is no longer finite at step 1"):
        trainer.fit(epochs=1)


@pytest.mark.parametrize("bad", [math.nan, 1e9])
def test_after_a_step_that_diverged_training_goes_on_with_half_the_rate(make, monkeypatch, bad):
    monkeypatch.setattr(fallback, "MAX_RETRIES", 1)
    monkeypatch.setattr(loop, "SNAPSHOT_STEPS", 1)
    calls, rates, path = [], [], []

    def loss(outputs, y, teacher):
        calls.append(1)
        return outputs[0].square().mean() * (bad if len(calls) == 4 else 1.0)

    trainer = TorchTrainer(make.linear(), make.blobs(), config=make.plain(), loss=loss)

    def update(step, *_):
        path.append(trainer.weights())
        rates.append(trainer._fits.running.optimizer.param_groups[0]["lr"])

    trainer._fits.progress = SimpleNamespace(start=lambda *_: 0, update=update, finish=lambda: 0)
    result = trainer.fit(epochs=1)
    assert len(calls) == len(path) + 1 == 7
    assert rates == pytest.approx([0.1] * 3 + [0.05] * 3)
    assert re.match(
        r"the loss is .* at step 4 .*: training continued .* 1/2 of the learning rate",
        result.trouble,
    )
    # Step 4 was taken from the weights after step 3, at half the rate: half as far as at the whole.
    monkeypatch.setattr(fallback, "MAX_RETRIES", 0)
    twin = TorchTrainer(
        make.linear(), make.blobs(), config=make.plain(),
        loss=lambda outputs, y, teacher: outputs[0].square().mean(),
    )  # fmt: skip
    whole = []
    twin._fits.progress = SimpleNamespace(
        start=lambda *_: 0, update=lambda *_: whole.append(twin.weights()), finish=lambda: 0
    )
    assert not twin.fit(epochs=1).trouble
    np.testing.assert_array_equal(path[2]["w"], whole[2]["w"])
    np.testing.assert_allclose(
        path[3]["w"] - path[2]["w"], (whole[3]["w"] - whole[2]["w"]) / 2, rtol=1e-3, atol=1e-7
    )


def test_good_weights_are_taken_along(make, monkeypatch):
    monkeypatch.setattr(loop, "SNAPSHOT_STEPS", 1)
    calls = []

    def loss(outputs, y, teacher):
        calls.append(1)
        return outputs[0].square().mean() * (math.nan if len(calls) > 3 else 1.0)

    trainer = TorchTrainer(make.linear(), make.blobs(), config=make.plain(), loss=loss)
    before = trainer.weights()
    with pytest.raises(DivergedError, match="at step 4"):
        trainer.fit(epochs=1)
    assert len(calls) == 3 + 1 + fallback.MAX_RETRIES
    assert not differ(before, trainer.weights())  # not those after step 3


class _Slow(ArrayDataset):
    def batch(self, indices):
        import time

        time.sleep(0.02)
        return super().batch(indices)


def test_a_time_budget_stops_early_with_the_schedule_ended(make):
    batch = make.blobs(32).batch(np.arange(32))
    x, y = batch.x, batch.labels
    rates = []
    trainer = TorchTrainer(make.linear(), _Slow(x, y), config=make.plain(schedule="cosine"))
    result = trainer.fit(
        epochs=1000, time_budget_s=0.5, on_epoch=lambda stats: rates.append(stats.learning_rate)
    )
    assert result.is_stopped
    assert 3 < result.steps < 30
    assert result.seconds == pytest.approx(0.5, abs=0.3)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.03


def test_a_generous_budget_changes_nothing(make):
    assert not differ(trained(make), trained(make, fit={"time_budget_s": 1e9}))


def test_progress_is_told(make):
    calls = []

    class Sink:
        def start(self, total_steps, description):
            calls.append((total_steps, description))

        def update(self, step, loss, images_per_second):
            assert loss > 0
            assert images_per_second > 0
            calls.append(step)

        def finish(self):
            calls.append("end")

    trainer = TorchTrainer(make.linear(), make.blobs(64), config=make.plain(), progress=Sink())
    trainer.fit(epochs=1, description="retraining")
    assert calls == [(4, "retraining"), 1, 2, 3, 4, "end"]
    calls.clear()

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(epochs=1, on_epoch=stop)
    assert calls[-1] == "end"


@pytest.mark.parametrize(
    "arguments",
    [
        {"epochs": -1},
        {"epochs": math.nan},
        {"epochs": 1, "learning_rate": 0.0},
        {"epochs": 1, "time_budget_s": -1.0},
    ],
)
def test_numbers_that_cannot_be_meant(make, arguments):
    trainer = TorchTrainer(make.linear(), make.blobs(), config=make.plain())
    with pytest.raises(UsageError, match=r"epochs is|learning_rate is|time_budget_s is"):
        trainer.fit(**arguments)


def test_what_does_not_go_together_is_said_at_once(make):
    with pytest.raises(BackendError, match="neither labels nor a teacher"):
        TorchTrainer(make.linear(), make.blobs(labelled=False), config=make.plain())
    batch = make.blobs().batch(np.arange(9))
    x, y = batch.x, batch.labels
    with pytest.raises(DataError, match="labels run from 1 to 3"):
        TorchTrainer(make.linear(), ArrayDataset(x, y + 1), config=make.plain())
    for option in ({"augment": True}, {"mixup": 0.2}):
        with pytest.raises(UsageError, match="cache_teacher"):
            TorchTrainer(
                make.conv(), make.patterns(), config=make.plain(cache_teacher=True, **option)
            )
    with pytest.raises(BackendError, match="no training data"):
        TorchTrainer(make.linear(), None).fit(epochs=1)


def test_a_mode_is_chosen_once_by_measurement(make):
    trainer = TorchTrainer(
        make.conv(), make.patterns(), config=make.plain(precision="auto", channels_last="auto")
    )
    before = trainer.weights()
    trainer.fit(epochs=0)
    assert not differ(before, trainer.weights())
    mode = trainer.mode
    trainer.fit(epochs=1)
    assert trainer.mode == mode


def test_channels_last_trains_the_same(make):
    model, data = make.conv(), make.patterns()
    plain = trained(make, model, data)
    moved = trained(make, model, data, channels_last=True)
    for name, value in plain.items():
        np.testing.assert_allclose(moved[name], value, rtol=1e-3, atol=1e-5)


def test_a_fit_can_keep_the_statistics_of_batchnormalization(make):
    model, data = make.conv(), make.patterns(64)
    statistics = {"bn.mean": np.full(6, 0.4, "f4"), "bn.var": np.full(6, 2.5, "f4")}
    trainer = TorchTrainer(model, data, config=make.plain(batch_size=64, learning_rate=1e-9))
    trainer.load_weights(statistics)
    losses = []
    for keep in (True, False):
        trainer.fit(
            epochs=1, keep_statistics=keep, on_epoch=lambda stats: losses.append(stats.loss)
        )
        found = trainer.weights()
        is_same = [np.array_equal(found[name], value) for name, value in statistics.items()]
        assert is_same == [keep, keep]
    trainer.load_weights(statistics)
    with torch.no_grad():
        batch = data.batch(np.arange(64))
        logits = trainer.module.eval()(torch.from_numpy(batch.x))[0]
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(batch.labels))
    assert losses[0] == pytest.approx(float(expected), rel=1e-4)
    assert abs(losses[1] - losses[0]) > 1e-3
