import numpy as np
import pytest
import torch

from acgraph.backends.torch.modes import Mode
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import TrainConfig
from acgraph.data import ArrayDataset
from acgraph.errors import BackendError
from acgraph.models.lenet5 import lenet5


def test_mode_is_chosen_before_a_fit_and_kept() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 1, 28, 28)).astype(np.float32)
    y = rng.integers(0, 10, 64)
    data = ArrayDataset(x, y)
    config = TrainConfig(precision="bf16", channels_last=True, batch_size=32)
    trainer = TorchTrainer(lenet5(), data, config=config)
    assert trainer.mode.precision == "fp32"
    chosen = trainer.choose_mode()
    assert (chosen.precision, chosen.channels_last) == ("bf16", True)
    trainer.fit(epochs=0.5)
    assert trainer.mode == chosen


def test_what_is_said_before_a_fit_is_how_it_runs() -> None:
    data = ArrayDataset(np.zeros((64, 1, 28, 28), np.float32), np.zeros(64, np.int64))
    config = TrainConfig(precision="bf16", channels_last=True, batch_size=32, threads=1)
    trainer = TorchTrainer(lenet5(), data, config=config)
    said = trainer.describe()
    assert said == "bf16, channels last, 1 thread; batch 32"
    trainer.fit(epochs=0.5)
    assert trainer.describe() == said


def test_a_fit_runs_on_the_threads_that_were_chosen(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    data = ArrayDataset(
        rng.standard_normal((64, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, 64)
    )
    chosen = Mode(threads=3)
    asked = []

    def choose(*_, choose_threads, **__):
        asked.append(choose_threads)
        return chosen

    monkeypatch.setattr("acgraph.backends.torch.setup.choose_mode", choose)
    before = torch.get_num_threads()
    trainer = TorchTrainer(lenet5(), data, config=TrainConfig(batch_size=32))
    seen = []
    for _ in range(2):
        trainer.fit(epochs=1, on_epoch=lambda _: seen.append(torch.get_num_threads()))
    assert seen == [3, 3]
    assert torch.get_num_threads() == before
    resumed = TorchTrainer(lenet5(), data, config=TrainConfig(batch_size=32))
    resumed.load_state_dict(trainer.state_dict())
    assert resumed.mode == chosen
    TorchTrainer(lenet5(), data, config=TrainConfig(threads=1)).choose_mode()
    assert asked == [True, False]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_missed() -> None:
    with pytest.raises(BackendError, match="cuda"):
        TorchTrainer(lenet5(), None, config=TrainConfig(device="cuda"))
