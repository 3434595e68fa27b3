"""An interrupted ``compress`` names the command that goes on, and that command does."""

import re
import shlex
from dataclasses import replace

import numpy as np
import pytest

from acgraph.cli.main import run
from acgraph.driver.pipeline import TRAINING
from acgraph.models.demo import load_data, model_path, normalise


@pytest.fixture
def interrupted(tmp_path, monkeypatch, capfd):
    """Run until fine-tuning begins; return the words of the command line and what was said."""
    x, y, _, _ = load_data()
    data = tmp_path / "some.npz"
    np.savez(data, x=normalise(x[:128]), y=y[:128].astype(np.int64))

    def stop(*_):
        raise KeyboardInterrupt

    stages = (replace(s, run=stop) if s.name == "fine-tune" else s for s in TRAINING)

    words = [
        "compress", str(model_path()), "--target-rate", "2x", "--data", str(data), "--epochs", "0",
        "--rounds", "1", "--evaluations", "1", "--no-timing", "--set", "train.precision=fp32",
        "-o", str(tmp_path / "my results"),
    ]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr("acgraph.driver.compress.TRAINING", tuple(stages))
        assert run(words) == 130
    return words, capfd.readouterr().err


def test_the_command_of_the_message_goes_on(interrupted, tmp_path, capfd):
    _, said = interrupted
    match = re.search(
        r"^error: interrupted; continue it with: acgraph (compress --resume .*)$", said, re.M
    )
    assert match is not None
    assert run(shlex.split(match[1])) == 0
    out, err = capfd.readouterr()
    assert "continuing after stage 'purify'" in err
    assert "round 1" not in err
    assert f"written to {tmp_path / 'my results'}:" in out
    assert (tmp_path / "my results" / "model.onnx").is_file()


def test_another_folder_or_another_result_is_refused(interrupted, tmp_path, capfd):
    words, _ = interrupted
    resume = ["compress", "--resume", words[-1]]
    assert run([*resume, "-o", str(tmp_path / "elsewhere")]) == 2
    assert "cannot be continued in" in capfd.readouterr().err
    assert run([*resume, "--seed", "1"]) == 2
    assert "started with seed 0, not 1" in capfd.readouterr().err
    assert run([*words, "--resume", words[-1], "--threads", "1"]) == 0


def test_without_a_run_there_is_nothing_to_go_on_with(tmp_path, capfd):
    assert run(["compress", "--resume", str(tmp_path)]) == 2
    assert "there is no run to continue" in capfd.readouterr().err
