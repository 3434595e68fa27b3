"""Run ``compress``, or its dry run, and print the result."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from acgraph.cli.pass_output import PassOutput, report_passes
from acgraph.cli.runtime_options import OutputFormat

if TYPE_CHECKING:
    from rich.console import Console

    from acgraph.config import CompressConfig


def run_compress(
    config: "CompressConfig", output_format: OutputFormat, watched: PassOutput | None = None
) -> None:
    """Run the driver, print the result, and exit with the exit code of the report.

    In distributed training, only the first process does this; the others join its training.
    """
    from acgraph.cli.started import start_time

    begin = start_time()
    from acgraph.api.compress import run
    from acgraph.cli.console import is_quiet, progress_sink, stderr_console, stdout_console
    from acgraph.driver.checkpoint.checkpoints import can_resume
    from acgraph.driver.checkpoint.resuming import resume_command
    from acgraph.driver.training.follow import follow, is_follower, leading
    from acgraph.errors import InterruptedRunError
    from acgraph.report import render_summary, verdict

    if is_follower():
        follow(config)
        return
    log = stderr_console()
    try:
        quiet = is_quiet()
        with leading():
            sink = None if quiet else progress_sink(log)
            passes = None if watched is None else watched.settings()
            report = run(config, sink, None if quiet else _status(log), begin, passes).report
            if watched is not None and passes is not None and watched.times:
                report_passes(passes.runs, statistics=False, times=True)
    except KeyboardInterrupt as stop:
        if not can_resume(config):
            raise
        raise InterruptedRunError(
            "interrupted", hint=f"continue it with: {resume_command(config)}"
        ) from stop
    if output_format is OutputFormat.JSON:
        typer.echo(report.to_json(), nl=False)
    elif quiet:
        typer.echo(verdict(report))
    else:
        stdout_console().print(render_summary(report), crop=False)
        typer.echo(f"\nwritten to {config.output}: model.onnx, masked.onnx, report.html and more")
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def print_forecast(config: "CompressConfig", output_format: OutputFormat) -> None:
    """Prepare, rehearse and plan a run, and print the forecast."""
    from acgraph.cli.started import start_time

    begin = start_time()
    from acgraph.cli.console import is_quiet, stderr_console, stdout_console
    from acgraph.driver.dry_run import dry_run
    from acgraph.report.forecast import render_forecast

    forecast = dry_run(config, None if is_quiet() else _status(stderr_console()), begin)
    if output_format is OutputFormat.JSON:
        typer.echo(forecast.to_json(), nl=False)
        return
    stdout_console().print(render_forecast(forecast), crop=False)


def _status(log: "Console") -> Callable[[str], None]:
    def status(line: str) -> None:
        log.print(line, highlight=False, markup=False, soft_wrap=True)

    return status
