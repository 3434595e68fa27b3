"""A run that is killed at any moment goes on, and ends with the results of one that was not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_killed_runs_end_as_whole_ones(tmp_path: Path) -> None:
    """Moments in the first round, in fine-tuning, and while results are written."""
    program = Path(__file__).with_name("killed_runs.py")
    command = [sys.executable, "-W", "ignore", str(program), str(tmp_path), "9", "37"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) >= 3, done.stderr
    for line in lines:
        assert line == {"moment": line["moment"], "killed": -9, "code": 0, "other": [], "left": []}
    stages = {p.name for p in (tmp_path / "whole" / "checkpoints").glob("stage*.onnx")}
    assert stages == {"stage-purify.onnx", "stage-fine-tune.onnx"}
