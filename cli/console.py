"""Output on the terminal: results on stdout, the log and the progress on stderr."""

import logging
import sys
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from acgraph.backends.training import ProgressSink
from acgraph.diagnostics import counted


@dataclass(slots=True)
class StageLines:
    """Progress for a file or a pipe: one line at the end of each stage."""

    console: Console
    _stage: str = field(default="", init=False)
    _last: tuple[int, float, float] = field(default=(0, float("nan"), 0.0), init=False)

    def start(self, total_steps: int, description: str) -> None:
        """Store the name of the stage."""
        self._stage, self._last = description, (0, float("nan"), 0.0)

    def update(self, step: int, loss: float, images_per_second: float) -> None:
        """Store the current numbers."""
        self._last = (step, loss, images_per_second)

    def finish(self) -> None:
        """Print the line once, unless the stage had no steps."""
        step, loss, speed = self._last
        if not self._stage or step == 0:
            return
        text = f"{self._stage}: {counted(step, 'step')}, loss {loss:.4f}, {speed:,.0f} images/s"
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
        self._stage = ""


@dataclass(slots=True)
class ProgressBar:
    """Progress for a terminal: one bar with loss, speed and remaining time."""

    console: Console
    _progress: Progress | None = field(default=None, init=False)
    _task: TaskID = field(default=TaskID(0), init=False)

    def start(self, total_steps: int, description: str) -> None:
        """Start the bar."""
        self.finish()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}", style="dim", markup=False),
            TimeRemainingColumn(),
            console=self.console,
            refresh_per_second=4,
        )
        self._progress.start()
        self._task = self._progress.add_task(description, total=total_steps, numbers="")

    def update(self, step: int, loss: float, images_per_second: float) -> None:
        """Update the bar."""
        if self._progress is not None:
            numbers = f"loss {loss:.4f}  {images_per_second:,.0f} images/s"
            self._progress.update(self._task, completed=step, numbers=numbers)

    def finish(self) -> None:
        """Stop the bar; it remains on the terminal."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def stderr_console() -> Console:
    """Make the console for the log and the progress."""
    return Console(file=sys.stderr)


def stdout_console() -> Console:
    """Make the console for results; without a terminal, it is as wide as the tables."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160)


def progress_sink(console: Console) -> ProgressSink:
    """Return a progress bar for a terminal, and lines otherwise."""
    return ProgressBar(console) if console.is_terminal else StageLines(console)


def is_quiet() -> bool:
    """Return whether only errors are logged, see ``set_up_log``."""
    return not logging.getLogger("acgraph").isEnabledFor(logging.WARNING)


#: Format of log lines with ``--verbose``, which includes the module.
_VERBOSE = "%(levelname)s %(name)s: %(message)s"


class _PlainFormatter(logging.Formatter):
    """Formats log records like errors, ``warning: ...``, without the module."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return f"{record.levelname.lower()}: {super().format(record)}"


def set_up_log(verbosity: int) -> None:
    """Send the log of the package to stderr.

    Args:
        verbosity: -1 shows only errors, 0 also warnings, 1 also information, 2 all messages.
    """
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainFormatter() if verbosity <= 0 else logging.Formatter(_VERBOSE))
    logger = logging.getLogger("acgraph")
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(levels.get(verbosity, logging.DEBUG))
    logger.propagate = False
