"""A checkpoint that is damaged, or another's, is refused or left for the stage before it."""

import random
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from acgraph.cli.main import run
from acgraph.config import CompressConfig
from acgraph.driver.checkpoint.checkpoints import (
    load,
    next_fine_tune,
    read_original,
    record_fine_tune,
    save,
    start,
    stored_seconds,
)
from acgraph.driver.checkpoint.state_file import STATE
from acgraph.driver.network import Network
from acgraph.driver.schedule.plan import Pace, plan_schedule
from acgraph.driver.state.records import (
    AdmmRecord,
    FitRecord,
    Mode,
    PassRecord,
    RateRecord,
    Rehearsal,
    RoundRecord,
    SearchRecord,
)
from acgraph.driver.state.state import State
from acgraph.errors import CheckpointError
from acgraph.ir import Model, read_model
from acgraph.ir.check import fingerprint
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
        for checkpoint in ("round-1", "purify"):
            save(made, state_of(model, checkpoint), 0.0)
        for state in (b"first" * 99, b"second" * 99):
            file = next_fine_tune(made, "purify")
            file.write_bytes(state)
            record_fine_tune(made, "purify", file, 7.0)
        shutil.copytree(folder, kept, dirs_exist_ok=True)
    else:
        shutil.copytree(kept, folder)
    return made


#: The positions of two constants, as a round leaves them.
KEPT = {"a/w": {0: np.array([0, 2], np.int64), 1: np.array([1], np.int64)}, "b": {0: np.arange(3)}}
FILES = (
    "state.json", "prepared.onnx", "stage-round-1.onnx", "stage-round-1.npz",
    "stage-purify.onnx", "stage-purify.npz", "fine-tune-b.pt", "original.onnx",
)  # fmt: skip


def state_of(model: Model, checkpoint: str) -> State:
    """Make the state of a run that tries rates, with something in every field of it."""
    return State(
        network=Network(model), prepared=Network(model), checkpoint=checkpoint, positions=KEPT,
        inserted=("a/bn",), mode=Mode(precision="bf16", channels_last=True, threads=None),
        pace=Pace(pass_s=3.0, evaluation_s=0.5), schedule=plan_schedule(None, epochs=3.0),
        rehearsal=Rehearsal(cut_s=1.0, check_s=2.0, export_s=3.0),
        rounds=(RoundRecord(rate=2.0, accuracy=0.5, epochs=1.0, seconds=9.0, evaluations=4,
                            admm=(AdmmRecord(primal=0.1, dual=float("inf"), rho=1.0),),
                            fits=(FitRecord(name="conv", before=0.5, after=0.25),)),),
        history=(SearchRecord(round=1, score=0.25, best=0.5, cost=0.9, accepted=True,
                              temperature=0.1, chosen=False),),
        training=(PassRecord(stage="fine-tune", epoch=1.0, loss=0.5, learning_rate=0.1,
                             seconds=2.0),),
        frontier=(RateRecord(rate=2.0, accuracy=0.5, epochs=1.0),), aimed=(2.0,),
        warnings=("few images",), number=1, stage="plan",
    )  # fmt: skip


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
    assert saved.partial_fit is not None
    assert saved.partial_fit.read_bytes() == b"second" * 99
    assert stored_seconds(config) == 7.0


def test_a_state_is_read_as_it_was_saved(config: CompressConfig) -> None:
    saved = load(config, {"a model": "1"})
    assert saved is not None
    wanted = state_of(saved.network.model, "purify")
    for field in fields(State):
        if field.name not in ("network", "prepared", "partial_fit", "positions"):
            assert getattr(saved, field.name) == getattr(wanted, field.name), field.name
    assert {n: set(axes) for n, axes in saved.positions.items()} == {"a/w": {0, 1}, "b": {0}}
    for name, axes in KEPT.items():
        for axis, kept in axes.items():
            assert np.array_equal(saved.positions[name][axis], kept)
    assert fingerprint(saved.prepared.model) == fingerprint(read_model(model_path()))


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
    if name == "prepared.onnx":  # attempts at other rates begin with it
        with pytest.raises(CheckpointError, match=r"prepared\.onnx: is damaged or missing"):
            load(config, {"a model": "1"})
        return
    saved = load(config, {"a model": "1"})
    assert saved is not None
    known, *said = saved.warnings
    assert known == "few images"
    if name.startswith("stage-round-1"):  # a later one is whole
        assert (saved.checkpoint, said) == ("purify", [])
    elif name.startswith("stage-purify"):
        assert said == [f"checkpoint {name} is damaged; the run continues from the stage before it"]
        assert (saved.checkpoint, saved.partial_fit) == ("round-1", None)
    else:
        assert said == [
            "checkpoint fine-tune-b.pt is damaged; fine-tuning starts again from its beginning"
        ]
        assert (saved.checkpoint, saved.partial_fit) == ("purify", None)


def test_files_of_another_stage_or_run_are_damage(config: CompressConfig, tmp_path: Path) -> None:
    folder = config.output / "checkpoints"
    model = read_model(model_path())
    bias = next(name for name, value in model.constants().items() if value.ndim == 1)
    constant = next(t for t in model.graph.tensors().values() if t.name == bias)
    constant.values = constant.values + 1
    save(config, state_of(model, "fine-tune"), 0.0)
    names = [folder / "stage-purify.onnx", folder / "stage-fine-tune.onnx"]
    texts = [file.read_bytes() for file in names]
    for file, text in zip(names, reversed(texts), strict=True):
        file.write_bytes(text)
    with pytest.raises(
        CheckpointError, match=r"stage-purify\.onnx: is damaged or missing; start a new run"
    ):
        load(config, {"a model": "1"})


def test_what_is_damaged_is_left_out_when_the_run_goes_on(config: CompressConfig) -> None:
    folder = config.output / "checkpoints"
    (folder / "stage-purify.onnx").write_bytes(b"")
    saved = load(config, {"a model": "1"})
    assert saved is not None
    save(config, replace(saved, checkpoint="purify", warnings=()), 0.0)
    again = load(config, {"a model": "1"})
    assert again is not None
    assert (again.checkpoint, again.warnings, again.partial_fit) == ("purify", (), None)
    assert {f.name for f in folder.iterdir()} == set(FILES) - {"fine-tune-b.pt"}


def test_a_state_of_fine_tuning_half_written_is_not_used(config: CompressConfig) -> None:
    file = next_fine_tune(config, "purify")
    assert file.name == "fine-tune-a.pt"
    file.write_bytes(b"half of it")  # and then the process was killed
    saved = load(config, {"a model": "1"})
    assert saved is not None
    assert saved.partial_fit is not None
    assert saved.partial_fit.read_bytes() == b"second" * 99
