"""When a command began: a time budget counts from there, imports included."""

import os
import time
from pathlib import Path

_noted: list[float] = []


def note_start() -> None:
    """Take the start of this process for that of its command; called once, by its entry point."""
    _noted[:] = [time.perf_counter() - process_age()]


def began() -> float:
    """When the command began, on the clock of ``time.perf_counter``; now where nobody noted it."""
    return _noted[0] if _noted else time.perf_counter()


def process_age() -> float:
    """Seconds since this process started; 0 where the system does not say."""
    status, uptime = Path("/proc/self/stat"), Path("/proc/uptime")
    if not (status.is_file() and uptime.is_file()):
        return 0.0
    fields = status.read_text().rpartition(")")[2].split()
    started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return max(float(uptime.read_text().split()[0]) - started_s, 0.0)
