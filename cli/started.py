"""The start time of a command, from which a time budget counts; it includes the imports."""

import os
import time
from pathlib import Path

_noted: list[float] = []


def note_start() -> None:
    """Record the start of this process as that of its command; called once by the entry point."""
    _noted[:] = [time.perf_counter() - process_age()]


def start_time() -> float:
    """Return the start of the command in seconds of ``time.perf_counter``; now if not recorded."""
    return _noted[0] if _noted else time.perf_counter()


def process_age() -> float:
    """Return the seconds since this process started; 0 if the system does not provide them."""
    status, uptime = Path("/proc/self/stat"), Path("/proc/uptime")
    if not (status.is_file() and uptime.is_file()):
        return 0.0
    fields = status.read_text().rpartition(")")[2].split()
    started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return max(float(uptime.read_text().split()[0]) - started_s, 0.0)
