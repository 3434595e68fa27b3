"""The standard streams of the process: closed ones, and warnings of libraries."""

import logging
import os
import sys
from typing import IO, Any

_NAMES = ("stdin", "stdout", "stderr")


def open_streams() -> None:
    """Open the null device in place of standard streams that are closed.

    Otherwise the next file that is opened would get the descriptor of the closed stream, and what a
    library prints would be written into that file.
    """
    for descriptor, name in enumerate(_NAMES):
        try:
            os.fstat(descriptor)
        except OSError:
            mode = os.O_RDONLY if name == "stdin" else os.O_WRONLY
            opened = os.open(os.devnull, mode)
            if opened != descriptor:
                os.dup2(opened, descriptor)
        if getattr(sys, name) is None:
            setattr(sys, name, _text(descriptor, name))


def _text(descriptor: int, name: str) -> IO[Any]:
    mode = "r" if name == "stdin" else "w"
    return open(descriptor, mode, encoding="utf-8", closefd=False)


def log_warnings() -> None:
    """Send the warnings of libraries to the log, which shows them with ``-v`` only.

    An error then remains one line on standard error.
    """
    logging.captureWarnings(True)
    logger = logging.getLogger("py.warnings")
    logger.addHandler(_Relay())
    logger.propagate = False


class _Relay(logging.Handler):
    """Passes a warning on to the log of the package, as information on one line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the warning."""
        text = " ".join(record.getMessage().split())
        logging.getLogger("acgraph.warnings").info("%s", text)
