"""A run that was interrupted goes on, as itself and as nothing else."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import acgraph.driver.compress as module
from acgraph.config import CompressConfig
from acgraph.driver.checkpoints import Saved, load, save
from acgraph.driver.compress import compress
from acgraph.errors import UsageError
from acgraph.ir import read_model
from acgraph.models.demo import model_path

Configure = Callable[..., CompressConfig]


def interrupt(config: CompressConfig, patch: pytest.MonkeyPatch, stage: str) -> None:
    """Run until a stage begins."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with patch.context() as changed:
        changed.setattr(module, stage, stop)
        with pytest.raises(KeyboardInterrupt):
            compress(config)


def again(config: CompressConfig, **options: object) -> CompressConfig:
    return config.model_copy(update={"resume": config.output, **options})


def test_resume_goes_on_after_the_last_stage(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure()
    interrupt(config, monkeypatch, "fine_tune")
    lines: list[str] = []
    report = compress(again(config), say=lines.append)
    assert any("going on after stage 2" in line for line in lines)
    assert not any(line.startswith("round 1") for line in lines)
    assert report.verify.passed
    assert len(report.rounds) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_rate": "2x"}, "target_rate 3x, not 2x"),
        ({"seed": 5}, "seed 0, not 5"),
        ({"rounds": None}, "rounds 1, not unset"),
        ({"admm": {"rho": 0.25}}, r"admm.rho [\d.]+, not 0.25"),
        ({"train": {"learning_rate": 0.25}}, "train.learning_rate 0.05, not 0.25"),
    ],
)
def test_resume_refuses_other_options(
    configure: Configure, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    config = configure()
    run = Saved(done=1, model=read_model(model_path()), positions={})
    save(tmp_path, config, {}, run)
    assert load(tmp_path, config, {}) is not None
    with pytest.raises(UsageError, match=f"started with {message};") as caught:
        load(tmp_path, configure(**change), {})
    assert "\n" not in str(caught.value)


def test_resume_allows_another_host(configure: Configure, tmp_path: Path) -> None:
    save(tmp_path, configure(), {}, Saved(done=1, model=read_model(model_path()), positions={}))
    elsewhere = {"threads": 2, "output": tmp_path / "other", "max_drop": 3.0}
    for change in ({"train": {"device": "cpu"}}, elsewhere):
        assert load(tmp_path, configure(**change), {}) is not None


def test_a_new_run_forgets_the_one_before(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(epochs=0.5)
    compress(config)
    checkpoints = config.output / "checkpoints"
    assert (checkpoints / "fine-tune.pt").is_file()
    (checkpoints / "stage7.onnx.data").write_bytes(b"")
    (checkpoints / "mine.txt").write_text("kept")
    interrupt(config, monkeypatch, "_round")
    left = [p.name for p in checkpoints.iterdir()]
    assert not [n for n in left if n.startswith("stage") or n == "fine-tune.pt"]
    assert "mine.txt" in left


def test_a_refused_run_leaves_the_one_before(configure: Configure) -> None:
    config = configure(epochs=0)
    compress(config)
    before = {p.name for p in (config.output / "checkpoints").iterdir()}
    assert before
    with pytest.raises(UsageError, match="no data"):
        compress(configure(data=None))
    assert {p.name for p in (config.output / "checkpoints").iterdir()} == before


def test_resume_refuses_another_model(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tmp_path / "net.onnx"
    shutil.copy(model_path(), model)
    config = configure(model=str(model), epochs=0)
    interrupt(config, monkeypatch, "fine_tune")
    proto = onnx.load(str(model))
    weight = proto.graph.initializer[0]
    changed = numpy_helper.to_array(weight).copy()
    changed.flat[0] += 1
    weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    onnx.save(proto, str(model))
    with pytest.raises(UsageError, match="a model of other content"):
        compress(again(config))
    shutil.copy(model_path(), tmp_path / "moved.onnx")
    assert compress(again(config, model=str(tmp_path / "moved.onnx"))).verify.passed


@pytest.mark.parametrize(
    ("array", "place", "what"),
    [("y_train", 3, "training"), ("y_test", 3, "evaluation"), ("x_test", 0, "evaluation")],
)
def test_resume_refuses_other_data(
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    images: Path,
    tmp_path: Path,
    array: str,
    place: int,
    what: str,
) -> None:
    data = tmp_path / "some.npz"
    shutil.copy(images, data)
    config = configure(data=f"{data}#x_train,y_train", eval_data=f"{data}#x_test,y_test", epochs=0)
    interrupt(config, monkeypatch, "fine_tune")
    with np.load(images) as archive:
        arrays = dict(archive)
    arrays[array][place] = 9 - arrays[array][place]
    np.savez(data, **arrays)
    with pytest.raises(UsageError, match=f"{what} data of other content"):
        compress(again(config))


@pytest.mark.parametrize(("text", "what"), [('{"format": 3,', "damaged"), ("{}", "version")])
def test_resume_refuses_a_state_that_it_cannot_read(
    configure: Configure, text: str, what: str
) -> None:
    config = configure()
    state = config.output / "checkpoints" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text(text)
    with pytest.raises(UsageError, match=what):
        compress(again(config))


def test_fine_tuning_of_an_earlier_stage_is_forgotten(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "fine-tune.pt").write_bytes(b"of another graph")
    (tmp_path / "stage1.onnx.data").write_bytes(b"")
    run = Saved(done=2, model=read_model(model_path()), positions={})
    save(tmp_path, configure(), {}, run)
    assert {p.name for p in tmp_path.iterdir()} == {"stage2.onnx", "state.json"}
