"""A checkpoint that is damaged, or another's, is refused or left for the stage before it."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from acgraph.cli.main import run
from acgraph.config import CompressConfig
from acgraph.driver.checkpoint.checkpoints import (
    Saved,
    load,
    next_fine_tune,
    read_original,
    record_fine_tune,
    save,
    start,
)
from acgraph.driver.checkpoint.state_file import STATE
from acgraph.errors import CheckpointError
from acgraph.ir import read_model
from acgraph.models.demo import model_path

Configure = Callable[..., CompressConfig]
Damage = Callable[[Path, random.Random], None]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a run of a model from standard input, two stages and some fine-tuning."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def config(configure: Configure, kept: Path, tmp_path: Path) -> CompressConfig:
    """A run whose folder holds a copy of these checkpoints."""
    made = configure(model="-")
    folder = made.output / "checkpoints"
    if not any(kept.iterdir()):
        folder.mkdir(parents=True)
        model = read_model(model_path())
        start(made, {"a model": "1"}, model)
        for done in (1, 2):
            save(made, Saved(done=done, model=model, positions={}, is_purified=done == 2))
        for state in (b"first" * 99, b"second" * 99):
            file = next_fine_tune(made, 2)
            file.write_bytes(state)
            record_fine_tune(made, 2, file, 7.0)
        shutil.copytree(folder, kept, dirs_exist_ok=True)
    else:
        shutil.copytree(kept, folder)
    return made


FILES = ("state.json", "stage1.onnx", "stage2.onnx", "fine-tune-b.pt", "original.onnx")


def flip(file: Path, rng: random.Random) -> None:
    data = bytearray(file.read_bytes())
    place = rng.randrange(len(data))
    data[place] ^= 1 << rng.randrange(8)
    file.write_bytes(data)


def truncate(file: Path, rng: random.Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: rng.randrange(len(data))])


def lengthen(file: Path, rng: random.Random) -> None:
    file.write_bytes(file.read_bytes() + bytes([rng.randrange(256)]))


def lose(file: Path, rng: random.Random) -> None:
    file.unlink()


def test_the_files_are_those_that_a_run_writes(config: CompressConfig) -> None:
    assert {f.name for f in (config.output / "checkpoints").iterdir()} == set(FILES)
    saved = load(config, {"a model": "1"})
    assert saved is not None
    assert (saved.done, saved.is_purified, saved.remarks) == (2, True, ())
    assert saved.fine_tune is not None
    assert saved.fine_tune.read_bytes() == b"second" * 99
    assert saved.elapsed_s == 7.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("damage", [flip, truncate, lengthen, lose])
@pytest.mark.parametrize("name", FILES)
def test_no_damage_goes_unseen(
    config: CompressConfig, name: str, damage: Damage, seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    damage(config.output / "checkpoints" / name, random.Random(f"{name} {seed}"))
    again = config.model_copy(update={"resume": config.output})
    if name in (STATE, "original.onnx"):
        words = ["compress", "--resume", str(config.output)]
        assert run(words) == (2 if damage is lose and name == STATE else 1)
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith(f"error: {config.output}")
        assert "damaged" in line or "no run" in line
        return
    assert read_original(again).graph.nodes
    saved = load(config, {"a model": "1"})
    assert saved is not None
    if name == "stage1.onnx":  # a later one is whole
        assert (saved.done, saved.remarks) == (2, ())
    elif name == "stage2.onnx":
        said = "checkpoint stage2.onnx is damaged, so the stage before it is used"
        assert (saved.done, saved.remarks) == (1, (said,))
        assert saved.fine_tune is None
    else:
        said = "checkpoint fine-tune-b.pt is damaged, so fine-tuning begins again"
        assert (saved.done, saved.remarks, saved.fine_tune) == (2, (said,), None)


def test_files_of_another_stage_or_run_are_damage(config: CompressConfig, tmp_path: Path) -> None:
    folder = config.output / "checkpoints"
    model = read_model(model_path())
    bias = next(name for name, value in model.constants().items() if value.ndim == 1)
    constant = next(t for t in model.graph.tensors().values() if t.name == bias)
    constant.values = constant.values + 1
    save(config, Saved(done=3, model=model, positions={}, is_purified=True, is_trained=True))
    names = [folder / "stage2.onnx", folder / "stage3.onnx"]
    texts = [file.read_bytes() for file in names]
    for file, text in zip(names, reversed(texts), strict=True):
        file.write_bytes(text)
    with pytest.raises(CheckpointError, match=r"stage2\.onnx: is damaged or missing; start anew"):
        load(config, {"a model": "1"})


def test_what_is_damaged_is_left_out_when_the_run_goes_on(config: CompressConfig) -> None:
    folder = config.output / "checkpoints"
    (folder / "stage2.onnx").write_bytes(b"")
    saved = load(config, {"a model": "1"})
    assert saved is not None
    save(config, Saved(done=2, model=saved.model, positions={}))
    again = load(config, {"a model": "1"})
    assert again is not None
    assert (again.done, again.remarks, again.is_purified, again.fine_tune) == (2, (), False, None)
    assert {f.name for f in folder.iterdir()} == set(FILES) - {"fine-tune-b.pt"}


def test_a_state_of_fine_tuning_half_written_is_not_used(config: CompressConfig) -> None:
    file = next_fine_tune(config, 2)
    assert file.name == "fine-tune-a.pt"
    file.write_bytes(b"half of it")  # and then the process was killed
    saved = load(config, {"a model": "1"})
    assert saved is not None
    assert saved.fine_tune is not None
    assert saved.fine_tune.read_bytes() == b"second" * 99
