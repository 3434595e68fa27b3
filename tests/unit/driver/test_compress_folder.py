"""What a run reads is never written over."""

import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.errors import AcgraphError, UsageError
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
    with pytest.raises(UsageError, match="would lie in it"):
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
