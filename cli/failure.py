"""Report why a command failed: one line on standard error and, if asked for, JSON."""

import errno
import json
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer

from acgraph.diagnostics import first_line, on_one_line, printable
from acgraph.errors import AcgraphError

INTERRUPTED = 130
#: Error numbers of the system for a full disk.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Failure:
    """Reports an error: one line on standard error and, for ``--format json``, JSON as the result.

    Attributes:
        debug: Whether the traceback is printed.
        is_json: Whether the result is JSON.
        code: Exit code of errors other than wrong command lines and interrupts.
    """

    debug: bool
    is_json: bool = False
    code: int = 1

    def of(self, error: BaseException) -> int:
        """Report what ended a command, and return its exit code."""
        match error:
            case AcgraphError():
                return self.known(error)
            case BrokenPipeError():
                return self.pipe_closed()
            case OSError() if error.errno in _FULL:
                return self.full(error)
            case MemoryError():
                found = on_one_line(error) or "an allocation failed"
                return self.plain(
                    f"there is not enough memory: {found}; use a machine with more memory, a "
                    "smaller batch or less data"
                )
            case SystemExit() if isinstance(error.__context__, BrokenPipeError):
                return self.pipe_closed()  # the parser turns the one into the other
            case SystemExit():  # acgraph itself never exits below this function
                return self.plain(
                    f"code that acgraph called ended the process with exit code {error.code!r}; "
                    "remove sys.exit from the function that --data names, or see --debug"
                )
            case KeyboardInterrupt() | typer.Abort():
                return self.plain("interrupted", INTERRUPTED)
            case _:
                return self.unexpected(error)

    def known(self, error: AcgraphError) -> int:
        """Report an error that the user can act on."""
        found = error.diagnostic
        parts = {"message": found.message, "location": str(found.location), "hint": found.hint}
        code = self.code if error.exit_code == 1 else error.exit_code
        return self._report(str(error), code, type(error).__name__, parts)

    def usage(self, error: Any) -> int:
        """Report an error of the parser."""
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "acgraph"
        message = error.format_message().strip().rstrip(".").replace("\n", " ")
        if not message:  # no arguments: the help was printed instead
            return int(error.exit_code)
        text = printable(f"{message}; see {path} --help")
        return self._report(text, int(error.exit_code), "UsageError")

    def unexpected(self, error: BaseException) -> int:
        """Report an error that acgraph does not know."""
        hint = "this is a bug in acgraph; run the command again with --debug and report the"
        text = f"{type(error).__name__}: {first_line(error)}; {hint} traceback"
        return self._report(text, self.code, type(error).__name__)

    def full(self, error: OSError) -> int:
        """Report a full disk; if standard output is on it, its buffer is discarded."""
        is_stdout = False
        try:
            sys.stdout.flush()
        except OSError:
            is_stdout = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        where = f"{error.filename}: " if error.filename else "standard output: " * is_stdout
        return self.plain(
            f"{where}cannot be written: {error.strerror}; free some disk space and run the "
            "command again"
        )

    def plain(self, message: str, code: int | None = None) -> int:
        """Report an error of one line."""
        return self._report(message, self.code if code is None else code, "Error")

    def pipe_closed(self) -> int:
        """Return the exit code where the reader closed the pipe, as ``| head`` does.

        Nothing is reported.
        """
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return self.code

    def _report(
        self, text: str, code: int, kind: str, parts: Mapping[str, str] | None = None
    ) -> int:
        if self.debug:
            traceback.print_exc()
        if self.is_json:
            entry = {"kind": kind, "text": text, "exit_code": code, **(parts or {"message": text})}
            sys.stdout.write(json.dumps({"schema": 1, "error": entry}, indent=2) + "\n")
        sys.stdout.flush()
        sys.stderr.write(f"error: {text}\n")
        return code
