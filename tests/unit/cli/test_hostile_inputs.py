"""What is no model, no path or no room: one line, no traceback, nothing half written."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import onnx
import pytest

from acgraph.cli.main import run
from acgraph.ir import write_model
from acgraph.models.resnet import resnet_cifar


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "m.onnx"
    write_model(resnet_cifar(8, widths=(8, 8, 16), image=8), path)
    return path


def _external(model: Path, folder: Path, weights: bytes | None) -> Path:
    """The model with its weights beside it; only so many bytes of them, or a folder for None."""
    folder.mkdir()
    path = folder / "m.onnx"
    onnx.save(
        onnx.load(model), path, save_as_external_data=True, location="m.data", size_threshold=0
    )
    (folder / "m.data").unlink()
    if weights is None:
        (folder / "m.data").mkdir()
    else:
        (folder / "m.data").write_bytes(weights)
    return path


@pytest.fixture(scope="module")
def hostile(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("hostile")
    found = {name: folder / f"{name}.onnx" for name in ("folder", "empty", "cut", "loop", "none")}
    found |= {f"{name}.ort": folder / f"{name}.ort" for name in ("folder", "empty", "cut")}
    for name in ("folder", "folder.ort"):
        found[name].mkdir()
    for name in ("empty", "empty.ort"):
        found[name].write_bytes(b"")
    found["cut"].write_bytes(model.read_bytes()[:-4000])
    assert run(["prune", str(model), "-o", str(folder / "whole.onnx")]) == 0
    found["cut.ort"].write_bytes((folder / "whole.ort").read_bytes()[:-2000])
    found["loop"].symlink_to(found["loop"])
    found["no weights"] = _external(model, folder / "zero", b"")
    found["few weights"] = _external(model, folder / "few", b"ab")
    found["folder of weights"] = _external(model, folder / "isdir", None)
    return found


NAMES = ["folder", "empty", "cut", "loop", "none", "folder.ort", "empty.ort", "cut.ort",
         "no weights", "few weights", "folder of weights"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_model_is_said_in_one_line(
    name: str,
    hostile: dict[str, Path],
    model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path, target = str(hostile[name]), str(tmp_path / "o.onnx")
    for words in (
        ["inspect", path],
        ["prune", path, "-o", target],
        ["diff", path, str(model)],
        ["diff", str(model), path],
        ["opt", path, "-p", "fold-constants", "-o", target],
        ["verify", path, "--against", str(model)],
        ["verify", str(model), "--against", path],
        ["measure", path],
        ["measure", str(model), "--against", path, "--runtime", "ort-mobile"],
    ):
        # The code 1 of diff means that the models differ.
        assert run(words) == (2 if words[0] == "diff" else 1), words
        out, err = capfd.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert "bug" not in err, err
        assert os.fspath(hostile[name]) in err
    assert not list(tmp_path.iterdir())


def test_a_name_in_any_script_is_a_name(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "ünï 模型 \U0001f600.onnx"
    path.write_bytes(model.read_bytes())
    small = tmp_path / "мало.onnx"
    assert run(["prune", str(path), "-o", str(small)]) == 0
    assert run(["verify", str(small), "--against", str(small)]) == 0
    assert run(["measure", str(small), "--against", str(path), "--runs", "2"]) == 0
    assert small.with_suffix(".ort").is_file()


@pytest.mark.parametrize("target", ["", "nul\0.onnx"])
def test_what_is_no_path_is_a_usage_error(
    target: str, model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["prune", str(model), "-o", target]) == 2
    assert "is not a path" in capfd.readouterr().err
    assert run(["opt", str(model), "-p", "fold-constants", "-o", target]) == 1
    assert "cannot be written: " in capfd.readouterr().err


def test_a_pipe_is_written_to_and_stays(model: Path, tmp_path: Path) -> None:
    """As root a rename would put a file where a device was."""
    pipe = tmp_path / "pipe.onnx"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    assert run(["prune", str(model), "-o", str(pipe)]) == 0
    reader.join(timeout=30)
    onnx.checker.check_model(onnx.load_model_from_string(read[0]))
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe.onnx"]  # nothing lies beside it


def test_a_link_is_written_through(model: Path, tmp_path: Path) -> None:
    real, link = tmp_path / "real" / "m.onnx", tmp_path / "link.onnx"
    real.parent.mkdir()
    real.write_bytes(b"old")
    link.symlink_to(real)
    assert run(["prune", str(model), "-o", str(link), "--no-ort"]) == 0
    assert link.is_symlink()
    onnx.checker.check_model(onnx.load(real))


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="the system has no /dev/full")
@pytest.mark.parametrize(
    "words", [["inspect"], ["prune", "-o", "-"], ["opt", "-p", "fold-constants"]]
)
def test_a_full_disk_is_no_bug(words: list[str], model: Path) -> None:
    command = [sys.executable, "-m", "acgraph.cli.main", words[0], str(model), *words[1:]]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if not line.startswith("remark: ")]
    assert said == [
        "error: cannot be written: No space left on device; "
        "free some disk space and run the command again"
    ]
