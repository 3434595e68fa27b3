"""Check on an emulated Arm processor that .ort files compute there what they compute here.

    python benchmarks/arm.py MODEL.ort... [--folder DIR] [--doc docs/mobile.md]

Exit codes: 0 every output is the same up to 1e-5, 1 one is not or a file does not run there, 77
something that the emulation needs cannot be had, which one line says. The first run gets it, some
60 MB, see ``arm_root.py``.
The same file, the same inputs, one thread; the kernels are those of the Arm build. How long the
emulation takes says nothing about a phone, so no time is stated.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from arm_root import PROCESSOR, ArmPython, MissingError, arm_python
from pages import rewrite

from acgraph.backends.ort.compare import array_errors
from acgraph.backends.ort.inputs import random_inputs
from acgraph.backends.ort.session import Session
from acgraph.errors import AcgraphError, BackendError
from acgraph.ir import Array

PROBE = Path(__file__).with_name("arm_probe.py")
#: Largest difference of an output, of its largest magnitude.
TOLERANCE = 1e-5
#: Sets of random inputs for each model.
SEEDS = 3
TIMEOUT_S = 1800
MISSING = 77


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One file on both processors: its worst output over all inputs.

    ``versions`` are what the Arm build says of itself.
    """

    name: str
    bytes: int
    max_abs_error: float
    max_rel_error: float
    reason: str
    versions: dict[str, str]

    @property
    def passed(self) -> bool:
        return not self.reason and self.max_rel_error <= TOLERANCE


def check(path: Path, arm: ArmPython) -> Checked:
    """Run a file here and there.

    Raises:
        AcgraphError: it does not run here, or not there.
        MissingError: the emulator does not start.
    """
    session = Session(path)
    errors: list[tuple[float, float, str]] = []
    versions: dict[str, str] = {}
    for seed in range(SEEDS):
        feeds = random_inputs(session, seed=seed)
        made, versions = _on_arm(path, feeds, [info.name for info in session.inputs], arm)
        expected = list(session.run(feeds).values())
        if len(made) != len(expected):
            errors.append((np.inf, np.inf, f"{len(made)} outputs instead of {len(expected)}"))
            continue
        errors += [array_errors(*pair) for pair in zip(made, expected, strict=True)]
    return Checked(
        name=path.name,
        bytes=path.stat().st_size,
        max_abs_error=max(absolute for absolute, _, _ in errors),
        max_rel_error=max(relative for _, relative, _ in errors),
        reason=next((reason for _, _, reason in errors if reason), ""),
        versions=versions,
    )


def _on_arm(
    path: Path, feeds: dict[str, Array], names: list[str], arm: ArmPython
) -> tuple[list[Array], dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="acgraph-arm-") as folder:
        inputs, outputs = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        named: dict[str, Any] = {str(number): feeds[name] for number, name in enumerate(names)}
        np.savez(inputs, **named)
        arguments = [str(path.resolve()), str(inputs), str(outputs)]
        try:
            done = arm.run(PROBE, *arguments, timeout_s=TIMEOUT_S)
        except OSError as error:
            raise MissingError(f"the emulator does not start: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise BackendError(f"the emulation of {path.name} does not end: {error}") from error
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines()
            said = lines[-1] if lines else f"exit status {done.returncode}"
            raise BackendError(f"the emulated ONNX Runtime does not run {path.name}: {said}")
        with np.load(outputs) as stored:
            return [stored[str(number)] for number in range(len(stored))], json.loads(done.stdout)


def page(found: list[Checked]) -> str:
    """The result in words, and one row for each file."""
    passed = sum(one.passed for one in found)
    versions = found[0].versions
    lines = [
        f"**{passed} of {len(found)}** files compute on {versions['machine']} what they compute on "
        f"{platform.machine()}, up to {TOLERANCE:.0e} of the largest output, on {SEEDS} random "
        f"inputs each: ONNX Runtime {versions['onnxruntime']} for Linux on Arm, an emulated "
        f"{PROCESSOR} (qemu-user), one thread. Written by `python benchmarks/arm.py`.",
        "",
        "| file | bytes | largest difference | of the largest output | |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{one.name}` | {one.bytes:,} | {one.max_abs_error:.1e} | {one.max_rel_error:.1e} "
        f"| {'same' if one.passed else one.reason or 'NOT the same'} |"
        for one in found
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Check all files; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL.ort")
    default = Path(tempfile.gettempdir()) / "acgraph-arm"
    parser.add_argument("--folder", type=Path, default=default, help="keeps what it gets")
    parser.add_argument("--doc", type=Path)
    asked = parser.parse_args(arguments)
    try:
        arm = arm_python(asked.folder)
        found = [check(path, arm) for path in asked.models]
    except MissingError as missing:
        sys.stderr.write(f"not checked on Arm: {missing}\n")
        return MISSING
    except AcgraphError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    text = page(found)
    print(text)
    if asked.doc is not None:
        rewrite(asked.doc, "arm", text)
    return 0 if all(one.passed for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
