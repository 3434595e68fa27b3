from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acgraph.analysis.dependency import analyse
from acgraph.config import CompressConfig, make_config
from acgraph.driver.space.space import Space
from acgraph.ir import Model, read_model
from acgraph.models.demo import load_data, model_path, normalise


@pytest.fixture(scope="module")
def model() -> Model:
    """The demo's network."""
    return read_model(model_path())


@pytest.fixture(scope="module")
def space(model: Model) -> Space:
    """What may be cut of it, by magnitude."""
    return Space(dependency=analyse(model), weights=model.constants())


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few of the demo's images as an .npz file."""
    x_train, y_train, x_test, y_test = load_data()
    path = tmp_path_factory.mktemp("images") / "some.npz"
    np.savez(
        path,
        x_train=normalise(x_train[:256]), y_train=y_train[:256].astype(np.int64),
        x_test=normalise(x_test[:120]), y_test=y_test[:120].astype(np.int64),
    )  # fmt: skip
    return path


@pytest.fixture
def configure(images: Path, tmp_path: Path) -> Callable[..., CompressConfig]:
    def make(*settings: str, **options: Any) -> CompressConfig:
        values: dict[str, Any] = {
            "model": str(model_path()),
            "target_rate": "3x",
            "data": f"{images}#x_train,y_train",
            "eval_data": f"{images}#x_test,y_test",
            "epochs": 1,
            "rounds": 1,
            "timing": False,
            "threads": 1,
            "output": tmp_path / "out",
        } | options
        fast = ("search.evaluations=2", "admm.updates=2", "train.batch_size=64",
                "train.precision=fp32", "train.channels_last=false")  # fmt: skip
        return make_config(values, settings=(*fast, *settings))

    return make
