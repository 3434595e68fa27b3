"""What memory a run will take is said before it is taken."""

from collections.abc import Callable

import numpy as np
import pytest

from acgraph.backends.torch import backend as torch_backend
from acgraph.config import CompressConfig
from acgraph.data import ArrayDataset
from acgraph.driver.schedule import memory as needs
from acgraph.driver.schedule.memory import memory_bytes
from acgraph.ir import Model

Configure = Callable[..., CompressConfig]
BACKEND = torch_backend.TorchBackend()
DATA = ArrayDataset(np.zeros((4, 1, 28, 28), np.float32))


@pytest.fixture(autouse=True)
def _nothing_taken_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "peak_bytes", lambda: 0)


def test_a_step_takes_what_its_images_make_up_to_a_bound(
    configure: Configure, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (
        memory_bytes(
            configure(f"train.batch_size={size}", "criterion=magnitude"), BACKEND, model, DATA
        )
        for size in (20, 40)
    )
    each = torch_backend.bytes_of_an_image(model, DATA)
    assert each > 28 * 28 * 4
    assert two - one == 20 * each
    monkeypatch.setattr(torch_backend, "MAX_STEP_BYTES", 10 * each)
    assert one - memory_bytes(
        configure("train.batch_size=20", "criterion=magnitude"), BACKEND, model, DATA
    ) == 10 * each  # fmt: skip


def test_what_layers_read_is_kept_as_one_matrix_for_each(
    configure: Configure, model: Model
) -> None:
    measured = memory_bytes(configure(), BACKEND, model, DATA)
    plain = memory_bytes(configure("criterion=magnitude"), BACKEND, model, DATA)
    columns = [layer.columns for layer in needs.reconstructible_layers(model)]
    assert measured - plain >= 8 * sum(count**2 for count in columns)
