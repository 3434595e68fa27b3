import numpy as np

from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import TrainConfig
from acgraph.data import ArrayDataset
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
