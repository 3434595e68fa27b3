"""Compiled training steps; without a C++ compiler, by the backends that only trace."""

import logging
import shutil
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from acgraph.backends.torch import compiled, loop, setup
from acgraph.backends.torch.checkpoint import load_checkpoint, save_checkpoint
from acgraph.backends.torch.modes import Mode
from acgraph.backends.torch.remembered import remember, signature
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import Proximal
from acgraph.errors import BackendError

MASKS = {"conv2.w": np.arange(6).reshape(1, 6, 1, 1) % 2 == 0}
EVERYTHING = {
    "ema": 0.9,
    "momentum": 0.9,
    "mixup": 0.3,
    "weight_decay": 0.01,
    "distill_weight": 0.5,
    "learning_rate": 0.02,
    "schedule": "onecycle",
}


@pytest.fixture
def graphs(monkeypatch):
    """Trace instead of compiling; note what batch each traced function runs on."""
    seen = []

    def trace(module, inputs):
        def run(*args):
            seen.append(len([a for a in args if isinstance(a, torch.Tensor)]))
            return module.forward(*args)

        return run

    monkeypatch.setattr(compiled, "BACKEND", trace)
    yield seen
    torch.compiler.reset()


def new(make, **options):
    return TorchTrainer(
        make.conv(),
        make.patterns(50),  # batches of 13 and 12
        teacher=make.conv(seed=1),
        config=make.plain(batch_size=13, **{**EVERYTHING, **options}),
    )


def train(trainer, **first):
    trainer.fit(epochs=2, masks=MASKS, **first)
    trainer.recalibrate(2)
    trainer.fit(
        epochs=1,
        proximal=Proximal(targets={"fc.w": np.ones((3, 8))}, rho={"fc.w": 0.1}),
    )
    return trainer.weights()


@pytest.mark.parametrize(
    "options", [{}, {"micro_batch": 7}, {"channels_last": True}, {"feature_weight": 0.5}], ids=str
)
def test_compiled_steps_train_as_others_do(make, graphs, options):
    plain = train(new(make, **options))
    assert not graphs
    assert "compiled" not in new(make, **options).describe()
    trainer = new(make, compile=True, **options)
    assert ", compiled; batch 13" in trainer.describe()  # as is printed before the first fit
    found = train(trainer)
    assert len(graphs) >= 12  # every step, and those that tried it
    assert ", compiled; batch 13" in trainer.describe()
    for name, value in plain.items():
        np.testing.assert_allclose(found[name], value, atol=2e-5, err_msg=name)
    assert trainer.evaluate(make.patterns(50)) == pytest.approx(
        evaluated(make, found, options), abs=0.021
    )


def evaluated(make, weights, options):
    trainer = new(make, **options)
    trainer.load_weights(weights)
    return trainer.evaluate(make.patterns(50))


def test_masks_hold_in_compiled_steps(make, graphs):
    trainer = new(make, compile=True)
    trainer.fit(epochs=2, masks=MASKS)
    assert graphs
    assert not trainer.weights()["conv2.w"][:, 1::2].any()


def test_a_compiled_run_goes_on_after_an_interruption(make, graphs, tmp_path):
    whole = train(new(make, compile=True))
    file = tmp_path / "state.pt"
    stopped = new(make, compile=True)

    class StopError(Exception):
        pass

    def stop(_):
        save_checkpoint(file, stopped.state_dict())
        raise StopError

    with pytest.raises(StopError):
        train(stopped, on_epoch=stop)
    resumed = new(make, compile=True)
    resumed.load_state_dict(load_checkpoint(file))
    for name, value in train(resumed).items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)


def test_many_networks_may_be_compiled(make, graphs):
    """PyTorch gives up on code that it compiles more than eight times."""
    for seed in range(10):
        trainer = TorchTrainer(
            make.linear(features=3 + seed),
            make.blobs(32, features=3 + seed),
            config=make.plain(compile=True),
        )
        before = len(graphs)
        trainer.fit(epochs=1)
        assert len(graphs) > before


def broken(module, inputs):
    raise RuntimeError("no compiler\nin the second line")


def test_what_does_not_compile_ends_the_run_where_it_must(make, monkeypatch):
    monkeypatch.setattr(compiled, "BACKEND", broken)
    with pytest.raises(BackendError, match=r"torch\.compile: .*no compiler") as caught:
        new(make, compile=True).fit(epochs=1)
    assert "\n" not in str(caught.value.diagnostic.message)
    torch.compiler.reset()


def test_what_does_not_compile_goes_on_without_where_it_may(make, monkeypatch, caplog):
    monkeypatch.setattr(compiled, "BACKEND", broken)
    monkeypatch.setattr(compiled, "SECONDS_PER_NODE", 0.0)
    plain = train(new(make))
    trainer = new(make, compile="auto")
    with caplog.at_level(logging.WARNING, logger="acgraph"):
        found = train(trainer)
    assert "compiled" not in trainer.describe()
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == 1  # once, though there are two fits
    assert told[0].startswith("training goes on uncompiled: ")
    assert "no compiler" in told[0]
    for name, value in plain.items():
        np.testing.assert_array_equal(found[name], value)
    torch.compiler.reset()


@pytest.fixture
def clock(monkeypatch):
    """Let plain and compiled steps take stated times."""
    seconds = {"plain": 1.0, "compiled": 0.7}

    def timed(module, x, mode, forward=None):
        is_compiled = isinstance(forward, compiled.Compiled)
        if is_compiled:
            forward(x)
        return 1.0, seconds["compiled" if is_compiled else "plain"]

    monkeypatch.setattr(compiled, "time_step", timed)
    return seconds


def is_compiled_with(make, **options):
    trainer = new(make, compile="auto", **options)
    trainer.fit(epochs=1)  # 4 steps of a network of 8 nodes
    return ", compiled;" in trainer.describe()


def test_auto_compiles_where_the_steps_pay_for_it(make, graphs, clock, monkeypatch):
    monkeypatch.setattr(compiled, "SECONDS_PER_NODE", 1.0)
    assert not is_compiled_with(make)  # 8 s to save 4 * 0.3
    assert not graphs
    monkeypatch.setattr(compiled, "SECONDS_PER_NODE", 0.1)
    assert is_compiled_with(make)
    assert graphs


def test_auto_takes_what_was_measured(make, graphs, clock, monkeypatch):
    trainer = new(make, compile="auto")
    assert ", compiled where it pays;" in trainer.describe()
    x = torch.from_numpy(make.patterns(50).batch(np.arange(13))[0])
    key = signature(trainer.module, x, asdict(Mode()))

    def with_known(plain_s, compiled_s, compiling_s):
        known = {"plain_s": plain_s, "compiled_s": compiled_s, "compiling_s": compiling_s}
        remember(compiled.KIND, key, known)
        return is_compiled_with(make)

    assert with_known(1.0, 0.7, 1.0)
    assert not with_known(1.0, 0.7, 2.0)  # more than 4 * 0.3
    assert not with_known(1.0, 0.99, 0.01)  # within the noise
    assert not with_known(1.0, 1.5, 0.0)


def test_auto_stays_uncompiled_where_it_is_not_faster(make, graphs, clock, monkeypatch):
    monkeypatch.setattr(compiled, "SECONDS_PER_NODE", 0.1)
    clock["compiled"] = 0.97
    assert not is_compiled_with(make)
    assert graphs


def test_auto_compiles_only_where_the_time_budget_pays_for_it(make, graphs, clock, monkeypatch):
    """A step takes 1 s, 0.7 s compiled; compiling takes 8 * 0.1 s by the estimate."""
    monkeypatch.setattr(compiled, "SECONDS_PER_NODE", 0.1)
    for budget, expected in ((2.0, False), (1e6, True)):
        trainer = new(make, compile="auto")
        trainer.fit(epochs=1, time_budget_s=budget)  # 4 steps, 2 of them within 2 s
        assert (", compiled;" in trainer.describe()) == expected


@pytest.fixture
def ticks(monkeypatch):
    """A clock that ticks once a step; choosing whether to compile takes 60 ticks, and 1 around."""
    now = [0.0]

    def perf_counter():
        now[0] += 1.0
        return now[0]

    def choose(*_, **__):
        now[0] += 60.0

    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=perf_counter))
    monkeypatch.setattr(setup, "time", SimpleNamespace(perf_counter=perf_counter))
    monkeypatch.setattr(setup, "choose_compiled", choose)


def test_compiling_counts_against_the_time_budget(make, ticks):
    config = make.plain(compile="auto", schedule="cosine")
    trainer = TorchTrainer(make.conv(), make.patterns(16), config=config)
    stats = []
    result = trainer.fit(epochs=1000, time_budget_s=71.0, on_epoch=stats.append)
    assert (result.steps, result.seconds, result.is_stopped) == (10, 71.0, True)
    assert [s.seconds for s in stats] == [62.0 + step for step in range(10)]
    # The schedule is that of the ten steps that are left, and their speed that of the network.
    rates = [0.05 * (1 + np.cos(np.pi * step / 10)) for step in range(10)]
    assert [s.learning_rate for s in stats] == pytest.approx(rates)
    assert result.images_per_second == 16.0
    assert trainer.fit(epochs=1000, time_budget_s=61.0).steps == 1  # nothing is left


def test_each_part_of_an_interrupted_fit_counts_its_compiling(make, ticks):
    config, states = make.plain(compile="auto"), []
    first = TorchTrainer(make.conv(), make.patterns(16), config=config)
    first.fit(epochs=4, time_budget_s=140.0, on_epoch=lambda _: states.append(first.state_dict()))
    resumed = TorchTrainer(make.conv(), make.patterns(16), config=config)
    resumed.load_state_dict(states[2])
    with pytest.raises(BackendError, match="inside another fit"):
        resumed.fit(epochs=1000, time_budget_s=140.0)
    result = resumed.fit(epochs=4, time_budget_s=140.0)
    assert (result.steps, result.seconds) == (4, 61.0 + 3 + 61 + 1)
    assert result.images_per_second == 16.0


def test_a_fit_that_goes_on_is_compiled_as_it_was(make, graphs, clock, monkeypatch, tmp_path):
    states = []
    first = new(make, compile="auto")
    first.fit(epochs=2, on_epoch=lambda _: states.append(first.state_dict()))
    monkeypatch.setattr(compiled, "SECONDS_PER_NODE", 0.0)
    resumed = new(make, compile="auto")
    resumed.load_state_dict(states[0])
    resumed.fit(epochs=2)
    assert not graphs
    resumed.fit(epochs=2)
    assert graphs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Inductor's own imports
@pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler")
def test_inductor_trains_as_pytorch_does(make, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    plain, trainer = train(new(make)), new(make, compile=True)
    for name, value in train(trainer).items():
        np.testing.assert_allclose(value, plain[name], atol=1e-4, err_msg=name)
    assert "compiled" in trainer.describe()
    torch.compiler.reset()
