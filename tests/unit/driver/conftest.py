import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acgraph.analysis.dependency import analyse
from acgraph.config import CompressConfig
from acgraph.config_merge import make_config
from acgraph.driver import pipeline
from acgraph.driver.opening import first_state, open_context, open_inputs
from acgraph.driver.space.space import Space
from acgraph.driver.stages.prepare import prepare
from acgraph.driver.state.context import Clock, Context, Reporter
from acgraph.driver.state.state import State
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


@pytest.fixture
def begin() -> Callable[..., tuple[Context, State]]:
    """Open a run and prepare its network, as before the first round."""

    def begun(
        config: CompressConfig, status: Callable[[str], None] = lambda _: None
    ) -> tuple[Context, State]:
        clock = Clock(time.perf_counter())
        context = open_context(config, open_inputs(config), Reporter(status), clock)
        return context, prepare(context, first_state(context))

    return begun


@pytest.fixture
def swap_stage() -> Callable[..., None]:
    """Put something else in the place of a stage."""

    def swap(patch: pytest.MonkeyPatch, name: str, run: Callable[..., State]) -> None:
        assert name in {stage.name for stage in pipeline.TRAINING}
        stages = tuple(replace(s, run=run) if s.name == name else s for s in pipeline.TRAINING)
        patch.setattr("acgraph.driver.compress.TRAINING", stages)

    return swap
