"""Load time and peak memory of a model, in a fresh process that does nothing else."""

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
    """What loading and running a model takes.

    Attributes:
        load_ms: Milliseconds from the file to a session that is ready.
        first_run_ms: Milliseconds of the first run, which allocates.
        peak_bytes: Largest resident memory of the process after loading and five runs.
        base_bytes: The same before the model was touched: Python, numpy and ONNX Runtime.
    """

    load_ms: float
    first_run_ms: float
    peak_bytes: int
    base_bytes: int

    @property
    def model_bytes(self) -> int:
        """Memory that the model added."""
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
        settings: How to run it.
        shapes: Of its inputs; the likeliest unless given.
        bounds: Of its integer inputs, as ``random_inputs`` takes them.

    Raises:
        BackendError: the process failed, with its last line.
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
