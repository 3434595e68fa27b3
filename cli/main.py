"""The ``acgraph`` command: global options, subcommands, exit codes.

Commands import what they need when they run, so that ``acgraph --help`` is quick.
"""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, cast

import typer

from acgraph.cli.compress import compress
from acgraph.cli.demo import demo
from acgraph.cli.diff import diff
from acgraph.cli.inspect import inspect
from acgraph.cli.measure import measure
from acgraph.cli.opt import opt
from acgraph.cli.prune import prune
from acgraph.cli.started import note_start
from acgraph.cli.verify import verify
from acgraph.diagnostics import first_line
from acgraph.errors import AcgraphError
from acgraph.version import __version__

INTERRUPTED = 130
#: Error numbers of the system for a full disk.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: The base class of the parser's errors; typer exports only its subclasses.
_ParserError: type[Exception] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)

app = typer.Typer(
    name="acgraph",
    help="Make trained ONNX networks smaller and faster, check that the result is equivalent, and "
    "measure it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (compress, prune, inspect, diff, measure, verify, opt, demo):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"acgraph {__version__}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            help="Show more log messages. Give it twice to show all of them.",
        ),
    ] = 0,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the result and errors.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Show a traceback for errors. May appear anywhere on the command line."
        ),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Set up the log."""
    from acgraph.cli.console import set_up_log

    set_up_log(2 if debug else -1 if quiet else verbose)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; errors are printed, not raised."""
    words, debug = _without_debug(arguments)
    try:
        command = typer.main.get_command(app)
        code = command.main(args=words, prog_name="acgraph", standalone_mode=False)
    except AcgraphError as error:
        return _fail(str(error), error.exit_code, debug)
    except _ParserError as error:
        return _fail_usage(cast(Any, error), debug)
    except BrokenPipeError:
        # The reader closed the pipe, as `| head` does: this is not an error, and is not reported.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in _FULL:
            return _fail_unexpected(error, debug)
        return _fail_full(error, debug)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED, debug)
    except Exception as error:
        return _fail_unexpected(error, debug)
    if code == INTERRUPTED:  # newer versions of the parser handle an interrupt themselves
        return _fail("interrupted", INTERRUPTED, debug)
    return code if isinstance(code, int) else 0


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    debug = "--debug" in words[:end]
    kept = [word for word in words[:end] if word != "--debug"] + words[end:]
    return (["--debug", *kept] if debug else kept), debug


def _fail_unexpected(error: Exception, debug: bool) -> int:
    hint = "this is a bug in acgraph; run the command again with --debug and report the traceback"
    return _fail(f"{type(error).__name__}: {first_line(error)}; {hint}", 1, debug)


def _fail_full(error: OSError, debug: bool) -> int:
    """Report a full disk; if standard output is on it, its buffer is discarded."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    where = f"{error.filename}: " if error.filename else ""
    return _fail(
        f"{where}cannot be written: {error.strerror}; free some disk space and run the command "
        "again",
        1,
        debug,
    )


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.write(f"error: {message}\n")
    return code


def _fail_usage(error: Any, debug: bool) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "acgraph"
    message = error.format_message().strip().rstrip(".").replace("\n", " ")
    if not message:  # no arguments: the help was printed instead
        return int(error.exit_code)
    return _fail(f"{message}; see {path} --help", int(error.exit_code), debug)


def main() -> None:
    """Run the command line of this process and exit with its exit code."""
    note_start()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        code = _fail_full(error, debug=False)
    sys.exit(code)


if __name__ == "__main__":
    main()
