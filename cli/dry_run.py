"""``acgraph compress --dry-run``: print what a run would do and need."""

from typing import TYPE_CHECKING

import typer

from acgraph.cli.runtime_options import OutputFormat

if TYPE_CHECKING:
    from acgraph.config import CompressConfig


def print_forecast(config: "CompressConfig", output_format: OutputFormat) -> None:
    """Prepare, rehearse and plan a run, and print the forecast."""
    from acgraph.cli.started import start_time

    begin = start_time()
    from acgraph.cli.console import is_quiet, stderr_console, stdout_console
    from acgraph.driver.dry_run import dry_run
    from acgraph.report.forecast import render_forecast

    log = stderr_console()

    def status(line: str) -> None:
        log.print(line, highlight=False, markup=False, soft_wrap=True)

    forecast = dry_run(config, None if is_quiet() else status, begin)
    if output_format is OutputFormat.JSON:
        typer.echo(forecast.to_json(), nl=False)
        return
    stdout_console().print(render_forecast(forecast), crop=False)
