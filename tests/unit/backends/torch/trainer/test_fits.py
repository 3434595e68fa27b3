"""Fits one after another: resumed from a saved state, and broadcast to other processes."""

import numpy as np
import pytest

from acgraph.backends.torch.checkpoint import load_checkpoint, save_checkpoint
from acgraph.backends.torch.fit_parts import FitOptions
from acgraph.backends.torch.team import Team
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.errors import BackendError

EVERYTHING = {
    "augment": True,
    "crop": 1,
    "erase": 0.5,
    "mixup": 0.3,
    "ema": 0.9,
    "momentum": 0.9,
    "weight_decay": 0.01,
    "schedule": "onecycle",
    "distill_weight": 0.5,
    "learning_rate": 0.05,
}
MASKS = {"conv2.w": np.arange(6).reshape(1, 6, 1, 1) % 2 == 0}


def new(make, **options):
    return TorchTrainer(
        make.conv(dropout=True),
        make.patterns(),
        teacher=make.conv(seed=1),
        config=make.plain(**{**EVERYTHING, **options}),
    )


def fit_two(trainer, **first):
    trainer.fit(epochs=3, masks=MASKS, **first)
    trainer.fit(epochs=1.5, learning_rate=0.01)
    return trainer.weights()


class _InterruptedError(Exception):
    pass


@pytest.mark.parametrize(
    "options", [{}, {"optimizer": "adamw"}, {"precision": "bf16"}, {"feature_weight": 0.5}], ids=str
)
@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_resumed_run_is_bit_exact(make, tmp_path, options, stop_after):
    whole = fit_two(new(make, **options))
    file = tmp_path / "state.pt"
    stopped = new(make, **options)

    def save_and_stop(stats):
        if stats.epoch == stop_after:
            save_checkpoint(file, stopped.state_dict())
            raise _InterruptedError

    with pytest.raises(_InterruptedError):
        fit_two(stopped, on_epoch=save_and_stop)
    resumed = new(make, **options)
    resumed.load_state_dict(load_checkpoint(file))
    stats = []
    weights = fit_two(resumed, on_epoch=stats.append)
    assert [s.epoch for s in stats] == list(range(stop_after + 1, 4))
    assert weights.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(weights[name], value, err_msg=name)


@pytest.mark.parametrize("stop_at", [1, 2])
def test_a_long_pass_is_saved_within_and_goes_on_there(make, tmp_path, monkeypatch, stop_at):
    whole = fit_two(new(make, batch_size=8))
    monkeypatch.setattr("acgraph.backends.torch.loop.SAVE_SECONDS", 0.0)
    stopped, calls = new(make, batch_size=8), []

    def save_and_stop(stats):
        calls.append(stats.epoch)
        if len(calls) == stop_at:
            save_checkpoint(tmp_path / "state.pt", stopped.state_dict())
            raise _InterruptedError

    with pytest.raises(_InterruptedError):
        fit_two(stopped, on_epoch=save_and_stop)
    assert 0 < calls[-1] < 1
    resumed = new(make, batch_size=8)
    resumed.load_state_dict(load_checkpoint(tmp_path / "state.pt"))
    weights = fit_two(resumed)
    for name, value in whole.items():
        np.testing.assert_array_equal(weights[name], value, err_msg=name)


def test_resuming_between_fits(make, tmp_path):
    whole = new(make)
    whole.fit(epochs=1)
    save_checkpoint(tmp_path / "state.pt", whole.state_dict())
    resumed = new(make)
    resumed.load_state_dict(load_checkpoint(tmp_path / "state.pt"))
    for trainer in (whole, resumed):
        trainer.fit(epochs=1)
    for name, value in whole.weights().items():
        np.testing.assert_array_equal(resumed.weights()[name], value)


def test_a_state_is_a_copy(make):
    trainer = new(make)
    states = []
    trainer.fit(epochs=2, on_epoch=lambda _: states.append(trainer.state_dict()))
    first, second = (state["fit"]["average"]["values"]["w_conv1_w"] for state in states)
    assert (first != second).any()
    assert (states[0]["module"]["w_conv1_w"] != states[1]["module"]["w_conv1_w"]).any()


def test_states_that_do_not_belong(make):
    trainer = new(make)
    state = {}
    trainer.fit(epochs=2, on_epoch=lambda s: s.epoch == 1 and state.update(trainer.state_dict()))
    with pytest.raises(BackendError, match="seed 0, not 1"):
        new(make, seed=1).load_state_dict(state)
    other = TorchTrainer(make.linear(), make.blobs(), config=make.plain())
    with pytest.raises(BackendError, match="belongs to another model"):
        other.load_state_dict(state)
    resumed = new(make)
    resumed.load_state_dict(state)
    with pytest.raises(BackendError, match="belongs to another fit"):
        resumed.fit(epochs=3)
    assert resumed.fit(epochs=2).steps == 8


class Recording(Team):
    """The leader of two processes, which records what it sends to the other one."""

    size = 2

    def __init__(self):
        self.sent = []

    def broadcast(self, what):
        self.sent.append(what)
        return what


def test_the_leader_broadcasts_the_fit_with_its_state(make, monkeypatch):
    team = Recording()
    monkeypatch.setattr("acgraph.backends.torch.trainer.team", lambda: team)
    leader = new(make)
    start = leader.weights()
    leader.fit(epochs=1, learning_rate=0.02, masks=MASKS)
    job = team.sent[0]
    assert job.images == len(make.patterns())
    assert job.options == FitOptions(epochs=1, learning_rate=0.02, masks=MASKS)
    assert job.state["fits"] == 0
    np.testing.assert_array_equal(job.state["module"]["w_conv1_w"].numpy(), start["conv1.w"])


def test_an_error_is_raised_before_the_fit_is_broadcast(make, monkeypatch):
    team = Recording()
    monkeypatch.setattr("acgraph.backends.torch.trainer.team", lambda: team)
    with pytest.raises(BackendError, match="not a trainable constant"):
        new(make).fit(epochs=1, masks={"nowhere": np.ones(1, bool)})
    assert team.sent == []


def test_a_process_with_other_data_does_not_join(make):
    trainer = new(make)
    images = len(make.patterns())
    with pytest.raises(
        BackendError, match=f"has {images} training images, the leader {images + 1}"
    ):
        trainer.join(images + 1, FitOptions(epochs=1))


def test_a_process_that_joins_trains_as_the_leader(make):
    leader, other = new(make), new(make)
    images = len(make.patterns())
    leader.fit(epochs=1, masks=MASKS)
    other.join(images, FitOptions(epochs=1, masks=MASKS))
    for name, value in leader.weights().items():
        np.testing.assert_array_equal(other.weights()[name], value, err_msg=name)
