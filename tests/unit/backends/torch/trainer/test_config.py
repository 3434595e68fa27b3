import pytest

from acgraph.backends.training import TrainConfig
from acgraph.errors import UsageError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "lion"}, "optimizer is 'lion'.*sgd, adam, adamw"),
        ({"schedule": "step"}, "schedule"),
        ({"precision": "fp16"}, "precision"),
        ({"channels_last": "yes"}, "channels_last"),
        ({"crop_fill": "edge"}, "crop_fill"),
        ({"device": "tpu"}, "device"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"batch_size": 0}, "batch_size"),
        ({"momentum": 1.0}, "momentum"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"mixup": -0.1}, "mixup"),
        ({"distill_weight": 1.5}, "distill_weight"),
        ({"feature_weight": -1}, "feature_weight"),
        ({"distill_temperature": 0}, "distill_temperature"),
        ({"ema": 1.0}, "ema"),
        ({"grad_clip": -1}, "grad_clip"),
        ({"crop": -1}, "crop"),
        ({"erase": 2}, "erase"),
        ({"threads": 0}, "threads"),
        ({"seed": -1}, "seed"),
    ],
)
def test_values_that_cannot_be_meant(options, message):
    with pytest.raises(UsageError, match=message):
        TrainConfig(**options)


def test_no_backend_is_loaded():
    import subprocess
    import sys

    code = "import sys, acgraph.backends.training; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
