"""Measure load time and peak memory of a model in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from acgraph.backends.ort.bounds import Bounds
from acgraph.backends.ort.session import SessionSettings
from acgraph.diagnostics import Location
from acgraph.errors import BackendError
from acgraph.ir.model import Shape

_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Load time and memory of a model.

    Attributes:
        load_ms: Milliseconds to create the session from the file.
        first_run_ms: Milliseconds of the first run, which allocates memory.
        peak_bytes: Peak resident memory of the process after loading and five runs.
        base_bytes: Peak resident memory before loading: Python, NumPy and ONNX Runtime.
    """

    load_ms: float
    first_run_ms: float
    peak_bytes: int
    base_bytes: int

    @property
    def model_bytes(self) -> int:
        """Peak memory in addition to that of the process before loading."""
        return self.peak_bytes - self.base_bytes


def measure_footprint(
    path: str | os.PathLike[str],
    settings: SessionSettings | None = None,
    *,
    shapes: Mapping[str, Shape] | None = None,
    bounds: Bounds | None = None,
) -> Footprint:
    """Load and run a model file in a process of its own.

    Args:
        path: The file.
        settings: Settings of the session.
        shapes: Shapes of the inputs; None uses the default shapes.
        bounds: Valid values of integer inputs, see ``random_inputs``.

    Raises:
        BackendError: The process failed; the error quotes its last line.
    """
    used = settings or SessionSettings()
    request = {
        "path": os.fspath(path),
        "threads": used.threads,
        "nchwc": used.nchwc,
        "optimisation": used.optimisation,
        "shapes": None if shapes is None else dict(shapes),
        "bounds": dict(bounds or {}),
    }
    where = Location(model=os.fspath(path))
    command = [sys.executable, "-m", "acgraph.backends.ort.footprint_probe"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(f"the memory probe failed: {error}", location=where) from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        last = lines[-1] if lines else f"exit status {done.returncode}"
        raise BackendError(f"the memory probe failed: {last}", location=where)
    return Footprint(**json.loads(done.stdout))
