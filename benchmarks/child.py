"""Run a command as a child with a time limit; say how long it took and what memory it held."""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Seconds between two looks at the memory of the child and its workers.
LOOK_S = 0.1
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code; None where it ran out of time and was killed.
        seconds: From start to end.
        peak_mib: The most memory that it and its workers held at once, in MiB.
    """

    code: int | None
    stdout: str
    stderr: str
    seconds: float
    peak_mib: float

    @property
    def first_line(self) -> str:
        """The first line of the result, or of the error where there is no result."""
        lines = (self.stdout.strip() or self.stderr.strip()).splitlines()
        return lines[0] if lines else ""

    @property
    def error_line(self) -> str:
        """The last line on stderr: where an error is said."""
        lines = self.stderr.strip().splitlines()
        return lines[-1] if lines else ""


def run(command: Sequence[str], limit_s: float, cwd: Path | None = None) -> Ended:
    """Run a command in a process group of its own; after ``limit_s`` seconds kill the group."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.monotonic()
        child = subprocess.Popen(command, stdout=out, stderr=err, cwd=cwd, start_new_session=True)
        done = threading.Event()
        peaks: list[float] = [0.0]
        watcher = threading.Thread(target=_watch, args=(child.pid, done, peaks))
        watcher.start()
        try:
            code: int | None = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _kill_group(child.pid)
            child.wait()
            done.set()
            watcher.join()
        out.seek(0)
        err.seek(0)
        seconds = time.monotonic() - start
        return Ended(code, out.read(), err.read(), round(seconds, 1), round(max(peaks)))


def _kill_group(group: int) -> None:
    """End the child and the workers that outlived it."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _watch(group: int, done: threading.Event, peaks: list[float]) -> None:
    while not done.wait(LOOK_S):
        peaks.append(_resident_mib(group))


def _resident_mib(group: int) -> float:
    total = 0.0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended in the meantime
            continue
        if int(fields[2]) == group:
            total += int(fields[21]) * PAGE_MIB
    return total
