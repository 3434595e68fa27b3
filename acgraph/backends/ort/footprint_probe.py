"""The process that ``measure_footprint`` starts: reads a request from stdin, prints the result."""

import json
import sys
import time
from pathlib import Path

from acgraph.backends.ort.inputs import random_inputs
from acgraph.backends.ort.session import Session, SessionSettings

_RUNS = 5


def peak_bytes() -> int:
    """Return the peak resident memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # The maximum of getrusage survives exec, so it could be that of the parent process.
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Load and run the model of the request, and print the measurement as JSON."""
    request = json.load(sys.stdin)
    settings = SessionSettings(
        threads=request["threads"],
        nchwc=request["nchwc"],
        optimisation=request["optimisation"],
    )
    base = peak_bytes()
    start = time.perf_counter()
    session = Session(request["path"], settings)
    loaded = time.perf_counter()
    listed = request["bounds"].items()
    bounds = {name: tuple(b) if isinstance(b, list) else b for name, b in listed}
    feeds = random_inputs(session, shapes=request["shapes"], bounds=bounds)
    before = time.perf_counter()
    session.run(feeds)
    ran = time.perf_counter()
    for _ in range(_RUNS - 1):
        session.run(feeds)
    result = {
        "load_ms": (loaded - start) * 1e3,
        "first_run_ms": (ran - before) * 1e3,
        "peak_bytes": peak_bytes(),
        "base_bytes": base,
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
