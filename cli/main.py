"""The ``acgraph`` command: global options, subcommands, exit codes.

Commands import what they need when they run, so that ``acgraph --help`` is quick.
"""

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, cast

import typer

from acgraph.cli.check import check
from acgraph.cli.compress import compress
from acgraph.cli.demo import demo
from acgraph.cli.diff import diff
from acgraph.cli.failure import INTERRUPTED, Failure
from acgraph.cli.inspect import inspect
from acgraph.cli.measure import measure
from acgraph.cli.opt import opt
from acgraph.cli.prune import prune
from acgraph.cli.started import note_start
from acgraph.cli.streams import log_warnings, open_streams
from acgraph.cli.verify import verify
from acgraph.version import __version__

#: The base class of the parser's errors; typer exports only its subclasses.
_ParserError: type[Exception] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)

#: Options that the parser adds.
_COMPLETION = frozenset({"--install-completion", "--show-completion"})

app = typer.Typer(
    name="acgraph",
    help="Make trained ONNX networks smaller and faster, check that the result is equivalent, and "
    "measure it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (compress, prune, inspect, diff, measure, verify, check, opt, demo):
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
    fail = Failure(debug, is_json=_asks_for_json(words), code=_error_code(words))
    try:
        command = typer.main.get_command(app)
        code = command.main(args=words, prog_name="acgraph", standalone_mode=False)
    except _ParserError as error:
        return fail.usage(cast(Any, error))
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and _is_completion(words):
            return int(error.code or 0)
        return fail.of(error)
    if code == INTERRUPTED:  # newer versions of the parser handle an interrupt themselves
        return fail.plain("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    debug = "--debug" in words[:end]
    kept = [word for word in words[:end] if word != "--debug"] + words[end:]
    return (["--debug", *kept] if debug else kept), debug


def _is_completion(words: Sequence[str]) -> bool:
    """Return whether a shell asks for completions, or the user for their script.

    The parser then ends the process itself.
    """
    return bool(os.environ.get("_ACGRAPH_COMPLETE")) or not _COMPLETION.isdisjoint(words)


def _asks_for_json(words: Sequence[str]) -> bool:
    """Return whether a command line has ``--format json``; it may be invalid otherwise."""
    end = words.index("--") if "--" in words else len(words)
    given = list(words[:end])
    return "--format=json" in given or ("--format", "json") in pairwise(given)


def _error_code(words: Sequence[str]) -> int:
    """Return the exit code of errors: 1, but 2 for ``diff``, where 1 means different models."""
    # No global option takes a value, so the first other word is the command.
    command = next((word for word in words if not word.startswith("-")), "")
    return 2 if command == "diff" else 1


def main() -> None:
    """Run the command line of this process and exit with its exit code."""
    note_start()
    open_streams()
    log_warnings()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = Failure(debug=False, code=_error_code(sys.argv[1:])).pipe_closed()
    except OSError as error:
        code = Failure(debug=False, code=_error_code(sys.argv[1:])).full(error)
    sys.exit(code)


if __name__ == "__main__":
    main()
