"""The check on an emulated Arm: what it says where it is right, wrong, or not possible.

The emulation itself runs where ``ACGRAPH_ARM`` names the folder that ``benchmarks/arm.py`` filled.
"""

import importlib
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from acgraph.backends.ort.mobile import write_ort
from acgraph.backends.ort.session import Session
from acgraph.models.demo import model_path

BENCHMARKS = Path(__file__).resolve().parents[4] / "benchmarks"
FOLDER = os.environ.get("ACGRAPH_ARM")


@pytest.fixture(scope="module")
def arm() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module("arm")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("arm") / "demo.ort"
    write_ort(model_path(), target)
    return target


class ThisMachine:
    """Stands for the emulated one: it computes what ONNX Runtime does here, and errs as told."""

    def __init__(self, error: float = 0.0, rc: int = 0) -> None:
        self.error, self.rc = error, rc

    def run(self, script: Path, *arguments: str, timeout_s: float) -> SimpleNamespace:
        assert script.name == "arm_probe.py"
        if self.rc:
            return SimpleNamespace(returncode=self.rc, stdout="", stderr="warning\nIllegal op\n")
        model, inputs, outputs = arguments
        session = Session(model)
        with np.load(inputs) as stored:
            made = session.run({info.name: stored[str(n)] for n, info in enumerate(session.inputs)})
        values: dict[str, Any] = {
            str(n): np.multiply(value, 1 + self.error, dtype=np.float32)
            for n, value in enumerate(made.values())
        }
        np.savez(outputs, **values)
        said = '{"machine": "aarch64", "onnxruntime": "1.0"}'
        return SimpleNamespace(returncode=0, stdout=said, stderr="")


@pytest.mark.parametrize(("error", "code"), [(0.0, 0), (2e-6, 0), (1e-4, 1)])
def test_a_difference_is_told(
    arm: ModuleType,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: float,
    code: int,
) -> None:
    monkeypatch.setattr(arm, "arm_python", lambda folder: ThisMachine(error))
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- results:arm -->\n<!-- /results:arm -->\nb\n", encoding="utf-8")
    assert arm.main([str(model), "--folder", str(tmp_path), "--doc", str(page)]) == code
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[2].startswith(f"**{1 - code} of 1** files compute on aarch64")
    assert lines[-3].endswith("| NOT the same |" if code else "| same |")


def test_what_is_missing_is_said_in_one_line(
    arm: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert arm.main(["m.ort", "--folder", str(tmp_path / "kept")]) == arm.MISSING
    assert capsys.readouterr().err == (
        "not checked on Arm: no qemu-aarch64-static or qemu-aarch64 is installed, "
        "and there is no apt-get\n"
    )
    for name in ("qemu-aarch64", "apt-get"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho E: no such release >&2; exit 100\n", encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert arm.main(["m.ort", "--folder", str(tmp_path / "kept")]) == arm.MISSING
    assert capsys.readouterr().err == (
        "not checked on Arm: lists of Arm packages cannot be had: E: no such release\n"
    )


def test_an_arm_is_not_compared_with_itself(
    arm: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert arm.main(["m.ort", "--folder", str(tmp_path)]) == arm.MISSING
    assert "this machine is an Arm itself" in capsys.readouterr().err


def test_a_file_that_does_not_run_there_is_a_failure(
    arm: ModuleType,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(arm, "arm_python", lambda folder: ThisMachine(rc=132))
    assert arm.main([str(model)]) == 1
    assert "does not run demo.ort: Illegal op" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_an_error(
    arm: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(arm, "arm_python", lambda folder: ThisMachine())
    assert arm.main(["no.ort"]) == 1
    assert (
        capsys.readouterr().err == "error: no.ort: no such file; give the path of an .onnx file\n"
    )


def test_the_probe_computes_what_a_session_does(
    arm: ModuleType, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script itself, run by the Python of this machine instead of an emulated one."""

    class Native:
        def run(self, script: Path, *arguments: str, timeout_s: float) -> object:
            command = [sys.executable, str(script), *arguments]
            return subprocess.run(
                command, capture_output=True, text=True, timeout=timeout_s, check=False
            )

    found = arm.check(model, Native())
    assert found.passed
    assert found.max_rel_error < 1e-6
    assert found.versions["machine"] == platform.machine()


@pytest.mark.skipif(FOLDER is None, reason="ACGRAPH_ARM names no folder that arm.py filled")
def test_the_demo_computes_the_same_on_arm(arm: ModuleType, model: Path) -> None:
    assert FOLDER is not None
    found = arm.check(model, arm.arm_python(Path(FOLDER)))
    assert found.passed
    assert found.versions["machine"] == "aarch64"
