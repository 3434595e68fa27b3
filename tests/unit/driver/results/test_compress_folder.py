"""What a run reads is never written over."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.driver.results.folder import LOCK, claimed
from acgraph.errors import AcgraphError, OutputError, UsageError
from acgraph.models.demo import model_path

Configure = Callable[..., CompressConfig]


def _refused(config: CompressConfig, file: Path, what: str) -> None:
    before = file.read_bytes()
    with pytest.raises(UsageError, match=what) as caught:
        compress(config)
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["model.onnx", "masked.onnx", "model.ort", "checkpoints/a.onnx"])
def test_the_model_is_not_overwritten(configure: Configure, tmp_path: Path, name: str) -> None:
    model = tmp_path / "in" / name
    model.parent.mkdir(parents=True)
    shutil.copy(model_path(), model)
    config = configure(model=str(model), output=tmp_path / "in", epochs=0, target_rate="1x")
    _refused(config, model, "-o")


def test_a_link_to_the_model_is_not_overwritten(configure: Configure, tmp_path: Path) -> None:
    model, link = tmp_path / "store.onnx", tmp_path / "in" / "model.onnx"
    link.parent.mkdir()
    shutil.copy(model_path(), model)
    link.symlink_to(model)
    config = configure(model=str(model), output=link.parent, epochs=0, target_rate="1x")
    _refused(config, model, "overwritten")
    assert link.is_symlink()


def test_weights_beside_the_model_are_not_overwritten(configure: Configure, tmp_path: Path) -> None:
    model = tmp_path / "in" / "net.onnx"
    model.parent.mkdir()
    onnx.save_model(
        onnx.load(model_path()), str(model), save_as_external_data=True, location="plan.json"
    )
    config = configure(model=str(model), output=model.parent, epochs=0, target_rate="1x")
    _refused(config, model.parent / "plan.json", "overwritten")


@pytest.mark.parametrize("option", ["data", "eval_data"])
def test_data_is_not_overwritten(
    configure: Configure, images: Path, tmp_path: Path, option: str
) -> None:
    data = tmp_path / "out" / "checkpoints" / "some.npz"
    data.parent.mkdir(parents=True)
    shutil.copy(images, data)
    config = configure(**{option: f"{data}#x_train,y_train"})
    _refused(config, data, "checkpoints")


def test_results_are_not_put_among_the_data(configure: Configure, tmp_path: Path) -> None:
    from PIL import Image

    for name in map(str, range(10)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("L", (28, 28)).save(tmp_path / "photos" / name / "a.png")
    photos = tmp_path / "photos"
    config = configure(
        data=str(photos), eval_data=None, mean="0.5", std="0.5", output=photos / "out"
    )
    with pytest.raises(UsageError, match="would be written into it"):
        compress(config)
    assert not (photos / "out").exists()


def test_nothing_else_in_the_folder_is_touched(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".acgraph").write_text("mine")
    compress(configure(target_rate="1.01x", epochs=0))
    assert (tmp_path / "out" / ".acgraph").read_text() == "mine"


def test_folder_that_cannot_be_written_is_refused_before_training(
    configure: Configure, tmp_path: Path
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(AcgraphError, match="cannot be written"):
        compress(configure(output=blocker / "out"))


_HOLD = """
import sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_two_runs_into_one_folder_are_kept_apart(configure: Configure, tmp_path: Path) -> None:
    """One line for the second; and nothing is left of a process that was killed."""
    config = configure(output=tmp_path / "out")
    config.output.mkdir()
    command = [sys.executable, "-c", _HOLD, str(config.output / LOCK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=f"{config.output}: another run is writing") as caught:
            compress(config)
        assert "\n" not in str(caught.value)
        assert not (config.output / "checkpoints" / "state.json").exists()
        other.kill()
    assert (config.output / LOCK).exists()
    with claimed(config):
        pass


def test_a_run_that_ended_leaves_the_folder_free(configure: Configure, tmp_path: Path) -> None:
    config = configure(output=tmp_path / "out")
    with pytest.raises(KeyboardInterrupt), claimed(config):
        raise KeyboardInterrupt
    with claimed(config):
        pass
